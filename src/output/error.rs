//! Why an output could not be written.

use std::path::PathBuf;

use crate::files::WriteError;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
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
    /// The system, or a folder that is not there.
    #[error(transparent)]
    Write(#[from] WriteError),
}
