//! Why an output could not be written.

use std::io;
use std::path::PathBuf;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The folder that should hold the file does not exist.
    #[error("cannot write {path}: the folder {folder} does not exist; create it first")]
    NoFolder {
        /// The file asked for.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// The path names a folder, or ends in no file name.
    #[error("cannot write {0}: that is a folder; give a file name in it")]
    IsFolder(PathBuf),
    /// The file is one that the same command reads, under this or another name.
    #[error("cannot write {path}: it is {input}, which this command reads; give another name or folder")]
    IsInput {
        /// The file asked for.
        path: PathBuf,
        /// The input, as it was given.
        input: PathBuf,
    },
    /// A file name with an unknown ending.
    #[error("cannot write {0}: give a name that ends in .safetensors or .npz")]
    Extension(PathBuf),
    /// More than the format holds.
    #[error(
        "cannot write {path}: {bytes} bytes of patch tokens, and .npz holds 4 GiB; give a name in .safetensors"
    )]
    TooLarge {
        /// The file asked for.
        path: PathBuf,
        /// Bytes of its largest array.
        bytes: u64,
    },
    /// What is to be written does not fit the picture or volume that it belongs to.
    #[error("cannot write {path}: {problem}")]
    Content {
        /// The file asked for.
        path: PathBuf,
        /// What does not fit, and what to do.
        problem: String,
    },
    /// A DICOM file that the output is to refer to cannot be referred to.
    #[error("{path}: {problem}")]
    Source {
        /// The source file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Permissions, or a read-only file system.
    #[error(
        "cannot write {path}: the folder {folder} is not writable ({source}); choose another place or change its permissions"
    )]
    NotWritable {
        /// The file asked for.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What comes in parts, of which some are written.
    #[error("cannot write {path}: {source}; {left}")]
    Partly {
        /// The file that could not be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What is written and what is not.
        left: String,
    },
    /// Anything else that the system said, such as a full disk.
    #[error("cannot write {path}: {source}; nothing of it was left behind")]
    Io {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
