//! Errors of ONNX files.

use std::path::PathBuf;

/// Why an ONNX file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason given by the system.
        reason: String,
    },
    /// Not an ONNX file, or a damaged one.
    #[error("{} is not an ONNX model or is damaged: {reason}; export or copy it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An external data file of the ONNX file is missing or not acceptable.
    #[error("{} keeps weights in '{location}', which cannot be read: {reason}; put it beside the model", path.display())]
    External {
        /// The ONNX file.
        path: PathBuf,
        /// The external data file, as the ONNX file names it.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model uses operators that tract does not have.
    #[error("{} uses operators that tract lacks: {operators}; export it with other operators (opset 18)", path.display())]
    Operator {
        /// The file.
        path: PathBuf,
        /// Names of the operators.
        operators: String,
    },
    /// The model does not take one image.
    #[error("{}: {reason}, expected one f32 input [1, 3, height, width] (or one channel)", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What it takes instead.
        reason: String,
    },
    /// The graph would need more memory than any model does.
    #[error("{} is refused: {reason}", path.display())]
    Bounds {
        /// The file.
        path: PathBuf,
        /// What would need it.
        reason: String,
    },
    /// The trial of the model failed ([`set_trial`](super::set_trial)).
    #[error("{}: {reason}", path.display())]
    Trial {
        /// The file.
        path: PathBuf,
        /// The result of the trial, and what to do.
        reason: String,
    },
    /// tract refuses the model.
    #[error("tract cannot run {}: {reason}", path.display())]
    Tract {
        /// The file.
        path: PathBuf,
        /// The reason given by tract.
        reason: String,
    },
}
