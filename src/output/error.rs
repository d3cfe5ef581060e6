//! Errors of writing outputs.

use std::path::PathBuf;

use crate::files::WriteError;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The file is also an input of the same command, under this or another name.
    #[error("cannot write {path}: it is {input}, which this command reads; give another name or folder")]
    IsInput {
        /// The requested file.
        path: PathBuf,
        /// The input, as it was given.
        input: PathBuf,
    },
    /// A file name with an unknown extension.
    #[error("cannot write {0}: give a name that ends in .safetensors or .npz")]
    Extension(PathBuf),
    /// More data than the format can hold.
    #[error(
        "cannot write {path}: {bytes} bytes of patch tokens, and .npz holds 4 GiB; give a name in .safetensors"
    )]
    TooLarge {
        /// The requested file.
        path: PathBuf,
        /// Size of its largest array in bytes.
        bytes: u64,
    },
    /// The content does not fit the image or volume that it belongs to.
    #[error("cannot write {path}: {problem}")]
    Content {
        /// The requested file.
        path: PathBuf,
        /// What does not fit, and what to do.
        problem: String,
    },
    /// The output cannot refer to one of its DICOM source files.
    #[error("{path}: {problem}")]
    Source {
        /// The source file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The system reported an error, or a folder does not exist.
    #[error(transparent)]
    Write(#[from] WriteError),
}
