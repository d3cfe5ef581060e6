//! Errors of reading a checkpoint.

use std::path::PathBuf;

use crate::vit::{ConfigError, WeightsError};

/// Why a checkpoint cannot be read. Each message is one line that names the file, and the tensor if there is one.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the fields are what their names say: the file, the tensor, the values compared"
)]
pub enum CheckpointError {
    /// The operating system reported an error.
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// Neither a folder with weights nor a safetensors file.
    #[error("{} is not a checkpoint: {problem}", path.display())]
    NotACheckpoint { path: PathBuf, problem: String },
    /// The safetensors header cannot be used.
    #[error("{}: the safetensors header {problem}; the file is damaged, fetch it again", path.display())]
    Header { path: PathBuf, problem: String },
    /// The header describes more or fewer bytes than the file has.
    #[error(
        "{}: {tensor} ends the data at byte {expected} but the file has {found} bytes; it is truncated or damaged, \
         fetch it again",
        path.display()
    )]
    Length { path: PathBuf, tensor: String, expected: u64, found: u64 },
    /// A tensor's bytes overlap another's, leave a gap, or do not match its shape.
    #[error("{}: tensor {tensor} {problem}; the header is damaged, fetch the file again", path.display())]
    Offsets { path: PathBuf, tensor: String, problem: String },
    /// A tensor of an unsupported data type.
    #[error("{}: tensor {tensor} is {found}, expected F32, F16 or BF16; save the weights in one of these", path.display())]
    Dtype { path: PathBuf, tensor: String, found: String },
    /// No tensor of this name.
    #[error("{}: tensor {tensor} is missing; is this the whole backbone?", path.display())]
    Missing { path: PathBuf, tensor: String },
    /// A tensor that this architecture does not have.
    #[error("{}: tensor {tensor} does not belong to {model}; this is another architecture", path.display())]
    Extra { path: PathBuf, tensor: String, model: String },
    /// A tensor of the wrong shape.
    #[error("{}: tensor {tensor} has shape {found:?}, expected {expected:?}; config and weights disagree", path.display())]
    Shape { path: PathBuf, tensor: String, found: Vec<usize>, expected: Vec<usize> },
    /// A NaN or an infinity among the weights.
    #[error("{}: tensor {tensor} holds a NaN or an infinity at index {index}; these weights are unusable", path.display())]
    NonFinite { path: PathBuf, tensor: String, index: usize },
    /// A value that is finite but meaningless.
    #[error("{}: tensor {tensor} holds {value} at index {index}, expected {expected}", path.display())]
    Value { path: PathBuf, tensor: String, index: usize, value: f32, expected: &'static str },
    /// The names or shapes belong to an unsupported model.
    #[error("{}: {problem}", path.display())]
    Architecture { path: PathBuf, problem: String },
    /// `config.json` or `preprocessor_config.json` cannot be used.
    #[error("{}: {problem}", path.display())]
    Json { path: PathBuf, problem: String },
    /// The values of the architecture contradict each other.
    #[error("{}: {source}", path.display())]
    Config { path: PathBuf, source: ConfigError },
    /// The assembled weights do not fit their architecture.
    #[error("{}: {source}", path.display())]
    Weights { path: PathBuf, source: WeightsError },
    /// A hint from the user is invalid, or contradicts the model's files.
    #[error("{problem}")]
    Hint { problem: String },
    /// No card of this name.
    #[error("no model is called '{name}'; the known ones are {known}")]
    UnknownCard { name: String, known: String },
}
