//! Averages the probabilities of the last frames.

use std::collections::VecDeque;

use crate::heads::{Head, Outcome, Prediction, Votes};

/// The mean of a head's probabilities over the last frames, and its decision on that mean.
///
/// An answer is then about a moment that lies [`Smoothing::delay_frames`] before the newest frame.
#[derive(Debug)]
pub struct Smoothing {
    frames: usize,
    last: VecDeque<Vec<f64>>,
}

impl Smoothing {
    /// Over `frames` frames; 1 changes nothing.
    ///
    /// # Panics
    /// If `frames` is 0.
    pub fn new(frames: usize) -> Smoothing {
        assert!(frames > 0, "a mean of no frames");
        Smoothing { frames, last: VecDeque::new() }
    }

    /// By how many frames an answer is behind, on average, once so many have come.
    pub fn delay_frames(&self) -> f64 {
        (self.frames - 1) as f64 / 2.0
    }

    /// Replaces the probabilities and the decision of `outcome` by those of the last frames with it; masks stay as they
    /// are.
    pub fn apply(&mut self, head: &Head, outcome: &mut Outcome) {
        let Outcome::Classes { prediction: Prediction { probabilities, .. }, .. } = outcome else { return };
        if self.frames == 1 {
            return;
        }
        if self.last.len() == self.frames {
            self.last.pop_front();
        }
        self.last.push_back(probabilities.clone());
        let mut votes = Votes::default();
        self.last.iter().for_each(|probabilities| votes.add(probabilities));
        if let Some(mean) = votes.outcome(&head.model) {
            *outcome = mean;
        }
    }

    /// Forgets the frames so far: what follows is another picture.
    pub fn clear(&mut self) {
        self.last.clear();
    }
}
