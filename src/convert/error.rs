//! Errors of a conversion.

use crate::encoder::EncoderError;
use crate::kernels::linear::MAX_INPUTS;
use crate::vit::SizeError;

/// Why a model cannot be converted. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what their names say: the layer, the values compared")]
pub enum ConvertError {
    /// The graph around the backbone does not take the images.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Graph(#[from] crate::checkpoint::onnx::OnnxError),
    /// The input size of the calibration images does not suit the model.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// A layer has more inputs than the integer kernels can sum.
    #[error(
        "{layer} has {inputs} inputs, and in int8 a layer may have at most {MAX_INPUTS}; convert to fp16"
    )]
    TooWide { layer: &'static str, inputs: usize },
    /// There are no calibration images.
    #[error("no images to calibrate on; give at least one")]
    NoImages,
    /// The converted network could not be run.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The network produces a NaN or an infinity on a calibration image.
    #[error(
        "{layer}: the output on calibration image {image} holds a NaN or an infinity; these weights are unusable"
    )]
    NonFinite { layer: String, image: usize },
}
