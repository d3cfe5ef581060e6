//! Errors of reading and writing model files.

use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::files::WriteError;
use crate::vit::WeightsError;

/// Why a model cannot be written or read. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the fields are what their names say: the file, the tensor, the values compared"
)]
pub enum QuantError {
    /// The file is not a safetensors file, or is truncated.
    #[error(transparent)]
    Container(#[from] CheckpointError),
    /// A safetensors file, but not one that [`convert`](crate::convert::convert) wrote.
    #[error("{}: not a Microraptor model file; make one with `microraptor convert`", path.display())]
    NotOurs { path: PathBuf },
    /// The file has another format version.
    #[error(
        "{}: a model file of version {found}, and this program reads version {}; convert the checkpoint again, or \
         take a newer program",
        path.display(),
        super::file::VERSION
    )]
    Version { path: PathBuf, found: String },
    /// The contents do not match the digest stored in the file.
    #[error("{}: the contents do not match the digest inside; the file is damaged, fetch or convert it again", path.display())]
    Digest { path: PathBuf },
    /// A metadata entry is missing or invalid.
    #[error("{}: the {key} in the metadata {problem}; convert the checkpoint again", path.display())]
    Metadata { path: PathBuf, key: &'static str, problem: String },
    /// A tensor is missing or unexpected, has the wrong type or shape, or holds an invalid value.
    #[error("{}: tensor {tensor} {problem}; convert the checkpoint again", path.display())]
    Tensor { path: PathBuf, tensor: String, problem: String },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The weights contradict their architecture.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}
