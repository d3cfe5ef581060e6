//! The features of a scan, put together frame by frame.

use ndarray::Array2;

use super::{FeatureError, Geometry, ScanFeatures, Tokens, cls_and_mean};
use crate::vit::Features;

/// Frames on their way through the backbone, of one scan after the other.
pub struct Collector {
    rows: Vec<f32>,
    width: usize,
    /// Which of the kept layers, by place; none of them is the last layer of the network.
    layers: Option<Vec<usize>>,
    tokens: Tokens,
}

impl Collector {
    /// Nothing yet. With `layers`, the patch tokens of those of [`Features::layers`] (by place; none: of the network's last
    /// layer) are kept.
    pub fn new(layers: Option<Vec<usize>>) -> Collector {
        Collector { rows: Vec::new(), width: 0, layers, tokens: Tokens::none() }
    }

    /// Takes the features of the next frame.
    ///
    /// # Errors
    /// [`FeatureError::NoGrid`] when patch tokens are asked for and nothing says where they lie.
    pub fn add(&mut self, features: &Features) -> Result<(), FeatureError> {
        self.add_row(&cls_and_mean(&features.cls, &features.patch), features)
    }

    /// As [`Collector::add`], where the frame's [`cls_and_mean`] is at hand.
    pub(crate) fn add_row(&mut self, row: &[f32], features: &Features) -> Result<(), FeatureError> {
        if let Some(layers) = &self.layers {
            self.tokens.push(features, layers)?;
        }
        self.width = row.len();
        self.rows.extend_from_slice(row);
        Ok(())
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.rows[..]) + size_of_val(&self.tokens.values[..])
    }

    /// All frames together.
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
