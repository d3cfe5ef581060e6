//! What a head says.

use crate::heads::{OodScore, Outcome};

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
}
