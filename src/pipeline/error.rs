//! Why a pipeline could not be made, or could not answer.

use crate::engine::EngineError;
use crate::features::FeatureError;
use crate::heads::HeadError;

/// Why a pipeline could not be made, or could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A head that does not fit the backbone, or features that a head cannot take.
    #[error("head {}: {source}", .head + 1)]
    Head {
        /// Its number, from 0.
        head: usize,
        /// What is wrong.
        source: HeadError,
    },
    /// The features of a frame could not be made.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The backbone lacks a block that a head reads, or cannot take its input size.
    #[error("head {}: {source}", .head + 1)]
    Engine {
        /// The head's number, from 0.
        head: usize,
        /// What the backbone cannot do.
        source: EngineError,
    },
    /// A frame of another size than the scan's: a mask could not be laid on both.
    #[error(
        "{frame} has {} x {} pixels, and the scan's frames have {} x {}: finish the scan, and begin another",
        .found.1, .found.0, .expected.1, .expected.0
    )]
    FrameSize {
        /// Which frame.
        frame: String,
        /// Its rows and columns.
        found: (usize, usize),
        /// Those of the scan.
        expected: (usize, usize),
    },
    /// What is to be kept of a scan has become too much.
    #[error(
        "{name}: {frames} frames are more than can be kept for what is said of all of them together ({limit} bytes): give \
         fewer frames"
    )]
    TooLong {
        /// The scan.
        name: String,
        /// Frames that were taken.
        frames: usize,
        /// Bytes that may be kept.
        limit: usize,
    },
    /// The session is one of another backbone.
    #[error("the session runs {found}, and the heads were made for {expected}")]
    Backbone {
        /// The heads' backbone.
        expected: String,
        /// That of the session.
        found: String,
    },
}
