//! Collects the features of a scan, frame by frame.

use ndarray::Array2;

use super::{FeatureError, Geometry, ScanFeatures, Tokens, cls_and_mean};
use crate::vit::Features;

/// Accumulates the features of a scan's frames.
pub struct Collector {
    rows: Vec<f32>,
    width: usize,
    /// Indices into the kept layers, empty for the network's last layer; `None` to keep no patch tokens.
    layers: Option<Vec<usize>>,
    tokens: Tokens,
}

impl Collector {
    /// An empty collector. `Some(layers)` keeps the patch tokens of these indices into [`Features::layers`]; an empty
    /// list stands for the network's last layer.
    pub fn new(layers: Option<Vec<usize>>) -> Collector {
        Collector { rows: Vec::new(), width: 0, layers, tokens: Tokens::none() }
    }

    /// Adds the features of the next frame.
    ///
    /// # Errors
    /// [`FeatureError::NoGrid`] when patch tokens are requested and their positions are not known.
    pub fn add(&mut self, features: &Features) -> Result<(), FeatureError> {
        self.add_row(&cls_and_mean(&features.cls, &features.patch), features)
    }

    /// As [`Collector::add`], for a frame whose [`cls_and_mean`] is already computed.
    pub(crate) fn add_row(&mut self, row: &[f32], features: &Features) -> Result<(), FeatureError> {
        if let Some(layers) = &self.layers {
            self.tokens.push(features, layers)?;
        }
        self.width = row.len();
        self.rows.extend_from_slice(row);
        Ok(())
    }

    /// Size of the collected features, in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.rows[..]) + size_of_val(&self.tokens.values[..])
    }

    /// The features of all frames.
    pub fn finish(self, geometry: Geometry) -> ScanFeatures {
        let frames = self.rows.len().checked_div(self.width).unwrap_or(0);
        let rows = Array2::from_shape_vec((frames, self.width), self.rows).expect("rows of one width");
        ScanFeatures { rows, tokens: self.layers.map(|_| self.tokens), geometry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_without_a_grid_are_no_patches() {
        let features = Features { cls: vec![1.0, 2.0], patch: vec![0.5; 6], ..Features::default() };
        let mut rows = Collector::new(None);
        rows.add(&features).unwrap();
        assert!(matches!(Collector::new(Some(vec![])).add(&features), Err(FeatureError::NoGrid)));
        let mut dense = Collector::new(Some(vec![]));
        dense.add(&Features { rows: 1, cols: 3, ..features }).unwrap();
    }
}
