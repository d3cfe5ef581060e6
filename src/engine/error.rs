//! Errors of loading and running a backbone.

use super::backend::RunError;
use crate::checkpoint::CheckpointError;
#[cfg(feature = "onnx")]
use crate::checkpoint::onnx::OnnxError;
use crate::encoder::EncoderError;
#[cfg(feature = "onnx")]
use crate::graph::GraphError;
use crate::kernels::IsaError;
use crate::quant::QuantError;
use crate::vit::{Size, SizeError};

/// Why a backbone could not be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The checkpoint is not usable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The converted model is not usable.
    #[error(transparent)]
    Model(#[from] QuantError),
    /// The ONNX file is not usable.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The build has no ONNX reader.
    #[error("{0}: this build cannot read ONNX (it was built without the feature onnx)")]
    NoOnnx(String),
    /// The input size does not suit the model.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The model takes only one size.
    #[error(
        "{model} takes {expected} px only, not {found}: export it with dynamic height and width for other sizes"
    )]
    FixedSize {
        /// Name of the model.
        model: String,
        /// The size that the model takes.
        expected: Size,
        /// The requested size.
        found: Size,
    },
    /// Running the encoder failed.
    #[error("{model}: {source}")]
    Encoder {
        /// Name of the model.
        model: String,
        /// The encoder's error.
        source: EncoderError,
    },
    /// Features of earlier layers were requested from a model that tract runs.
    #[error(
        "{0}: features of several layers need a model of the family (this one is run by tract): use the last layer"
    )]
    NoLayers(String),
    /// The requested instruction set is not available.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// Building or running tract's graph failed.
    #[cfg(feature = "onnx")]
    #[error("{model}: {source}")]
    Graph {
        /// Name of the model.
        model: String,
        /// The error of the graph, which names what tract refused.
        source: GraphError,
    },
    /// The pixels are not `[3, height, width]`.
    #[error("{found} pixel values given, expected 3 x {size} = {expected}")]
    Pixels {
        /// Values given.
        found: usize,
        /// Values expected.
        expected: usize,
        /// Input size.
        size: Size,
    },
    /// The session's threads could not be started, or moved to their cores.
    #[error("{threads} threads asked for: {reason}")]
    Threads {
        /// Number of threads requested.
        threads: usize,
        /// The reason.
        reason: String,
    },
}

impl EngineError {
    /// Converts the error of a session with `threads` threads on the backbone `model`.
    pub(super) fn of_run(error: RunError, model: &str, threads: usize) -> EngineError {
        let model = model.to_owned();
        match error {
            RunError::Encoder(EncoderError::Size(error)) => error.into(),
            RunError::Encoder(source) => EngineError::Encoder { model, source },
            #[cfg(feature = "onnx")]
            RunError::Graph(GraphError::Size(error)) => error.into(),
            #[cfg(feature = "onnx")]
            RunError::Graph(source) => EngineError::Graph { model, source },
            RunError::NoLayers => EngineError::NoLayers(model),
            RunError::Threads(reason) => EngineError::Threads { threads, reason },
        }
    }
}
