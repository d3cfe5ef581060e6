//! Why an ONNX graph does not run.

use super::GraphError;
use crate::checkpoint::onnx::OnnxError;
use crate::encoder::EncoderError;
use crate::vit::{Size, SizeError};

/// Why a model could not be prepared for a size, or run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxRunError {
    /// The file cannot be used, or tract failed.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// A side is zero or too long.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The model was exported for another size.
    #[error("{model} takes images of {fixed} only, not {asked}: export it with dynamic height and width")]
    FixedSize {
        /// The file.
        model: String,
        /// The size it takes; a dynamic side shows the requested length.
        fixed: Size,
        /// The requested size.
        asked: Size,
    },
    /// An output is neither a vector, tokens nor a map.
    #[error("{model} has an output of shape {shape:?}, expected [1, d], [1, n, d] or [1, c, h, w] of f32")]
    Output {
        /// The file.
        model: String,
        /// The shape.
        shape: Vec<usize>,
    },
    /// The encoder in the graph cannot run.
    #[error("{0}")]
    Encoder(String),
    /// The network computed a NaN or an infinity.
    #[error("{model} computes NaN or infinity for this image")]
    NonFinite {
        /// The file.
        model: String,
    },
}

impl From<OnnxRunError> for GraphError {
    fn from(error: OnnxRunError) -> GraphError {
        match error {
            OnnxRunError::Size(error) => GraphError::Size(error),
            error => GraphError::Tract(error.to_string()),
        }
    }
}

impl From<EncoderError> for OnnxRunError {
    fn from(error: EncoderError) -> OnnxRunError {
        match error {
            EncoderError::Size(error) => error.into(),
            error => OnnxRunError::Encoder(error.to_string()),
        }
    }
}
