//! Why features could not be computed.

use crate::engine::EngineError;
use crate::input::InputError;

/// Why the features of an image could not be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// Masks cannot be placed on an image of which the network sees only a part.
    #[error(
        "{0} sees the middle of each picture only, by its preprocessor_config.json, so that a mask would not lie on all of \
         it: dense heads need a model without a crop"
    )]
    Cropped(String),
    /// Masks cannot be placed on tokens whose positions are not known.
    #[error(
        "nothing says which of the model's tokens are patches and where they lie, so that a mask could not be laid on the \
         picture: dense heads need a model that gives patches in a grid"
    )]
    NoGrid,
    /// An image could not be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The backbone failed on an image.
    #[error("{image}: {source}")]
    Engine {
        /// Name of the image in its data set.
        image: String,
        /// The cause.
        source: Box<EngineError>,
    },
}
