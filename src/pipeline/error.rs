//! Why a pipeline could not be created or could not run.

use crate::engine::EngineError;
use crate::features::FeatureError;
use crate::heads::HeadError;

/// Why a pipeline could not be created or could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A head that does not match the backbone, or features that a head does not accept.
    #[error("head {}: {source}", .head + 1)]
    Head {
        /// The head's index.
        head: usize,
        /// What is wrong.
        source: HeadError,
    },
    /// The features of a frame could not be computed.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The backbone lacks a block that a head reads, or does not support its input size.
    #[error("head {}: {source}", .head + 1)]
    Engine {
        /// The head's index.
        head: usize,
        /// Why the backbone cannot run the head.
        source: EngineError,
    },
    /// A frame differs in size from the scan's other frames: it belongs to another scan ([`Pipeline::begin`]), and one mask
    /// could not cover both.
    ///
    /// [`Pipeline::begin`]: super::Pipeline::begin
    #[error(
        "{frame} has {} x {} pixels, and the scan's frames have {} x {}: finish the scan, and begin another",
        .found.1, .found.0, .expected.1, .expected.0
    )]
    FrameSize {
        /// Which frame.
        frame: String,
        /// Rows and columns of the frame.
        found: (usize, usize),
        /// Rows and columns of the scan's frames.
        expected: (usize, usize),
    },
    /// The data to keep of a scan exceeds the limit.
    #[error(
        "{name}: {frames} frames are more than can be kept for what is said of all of them together ({limit} bytes): give \
         fewer frames"
    )]
    TooLong {
        /// Name of the scan.
        name: String,
        /// Number of frames taken.
        frames: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The session runs another backbone.
    #[error("the session runs {found}, and the heads were made for {expected}")]
    Backbone {
        /// The heads' backbone.
        expected: String,
        /// The session's backbone.
        found: String,
    },
}
