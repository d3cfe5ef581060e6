//! The last frames of a stream, for heads that see several together.

use std::collections::VecDeque;

use ndarray::Array2;

use crate::features::{Geometry, ScanFeatures};

/// The feature rows of the last frames.
pub(super) struct Window {
    frames: usize,
    rows: VecDeque<Vec<f32>>,
}

impl Window {
    /// Of `frames` frames.
    pub(super) fn new(frames: usize) -> Window {
        Window { frames, rows: VecDeque::with_capacity(frames) }
    }

    /// Number of its frames.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Forgets the frames so far.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
    }

    /// Takes the row of the next frame; the features of the last frames once there are enough of them.
    pub(super) fn slide(&mut self, row: &[f32], geometry: &Geometry) -> Option<ScanFeatures> {
        let mut last =
            if self.rows.len() == self.frames { self.rows.pop_front() } else { None }.unwrap_or_default();
        last.clear();
        last.extend_from_slice(row);
        self.rows.push_back(last);
        if self.rows.len() < self.frames {
            return None;
        }
        let values = self.rows.iter().flatten().copied().collect();
        let rows = Array2::from_shape_vec((self.frames, row.len()), values).expect("rows of one width");
        Some(ScanFeatures { rows, tokens: None, geometry: *geometry })
    }
}
