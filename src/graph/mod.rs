//! tract, which runs ONNX graphs: a backbone of the family within one runs on our encoder.

pub mod accelerate;
mod across;
mod around;
mod encoder_op;
pub mod head;
pub mod onnx;
mod onnx_error;
mod optimise;
mod reading;
mod resample;

use tract_core::internal::TractError;

use crate::vit::{Features, SizeError};

/// Why a graph could not be built or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The input size does not fit the model.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// tract refused the graph or an operator failed; the message names it.
    #[error("{0}")]
    Tract(String),
}

impl From<TractError> for GraphError {
    fn from(error: TractError) -> GraphError {
        // The root cause is sufficient; tract's own context lines only repeat the node's name.
        GraphError::Tract(error.root_cause().to_string())
    }
}
