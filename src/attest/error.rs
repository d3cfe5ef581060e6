//! Why an attestation could not be made.

use crate::engine::EngineError;
use crate::features::FeatureError;
use crate::heads::HeadError;

/// Why a model or a head could not be run on the pictures of the attestation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The backbone failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The features are not those that heads read.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// A head failed.
    #[error("{source}")]
    Head {
        /// Index of the head.
        head: usize,
        /// The cause.
        source: HeadError,
    },
}
