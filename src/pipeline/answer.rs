//! What a head says.

use crate::heads::{Explanation, OodScore, Outcome};
use crate::input::LabelMap;

/// A head's prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Index of the head, in the order given.
    pub head: usize,
    /// Classes, or a mask at the frame's stored size.
    pub outcome: Outcome,
    /// Out-of-distribution score of the frame, or of the mean of all frames; `None` if the head has no training
    /// statistics.
    pub ood: Option<OodScore>,
    /// Why the head says so; `None` unless [`Pipeline::explain`](crate::pipeline::Pipeline::explain) asked for it, and for
    /// the first frames of a window.
    pub explanation: Option<Explanation>,
    /// The zones of a mask, if [`Pipeline::contour`](super::Pipeline::contour) asked for contours:
    /// [`OUTSIDE`](crate::input::OUTSIDE), [`OUTER`](crate::input::OUTER) or [`INNER`](crate::input::INNER) of each pixel.
    pub contours: Option<LabelMap>,
}
