//! Which class each pixel or voxel belongs to.

use super::InputError;

/// Distance between neighbouring samples in millimetres, where the source tells it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spacing {
    /// Between the centres of neighbouring slices; none for a single image or where it is not known.
    pub slices: Option<f64>,
    /// Between the centres of neighbouring rows.
    pub rows: f64,
    /// Between the centres of neighbouring columns.
    pub columns: f64,
}

/// A class number for each pixel of an image (`depth` 1) or voxel of a volume; 0 is the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMap {
    /// Slices or frames.
    pub depth: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[depth, height, width]`
    pub labels: Vec<u8>,
}

impl LabelMap {
    /// A map from its labels, `[depth, height, width]`.
    ///
    /// # Errors
    /// [`InputError::Buffer`] when there are more or fewer labels than that.
    pub fn new(depth: usize, height: usize, width: usize, labels: Vec<u8>) -> Result<LabelMap, InputError> {
        let expected = depth.checked_mul(height).and_then(|n| n.checked_mul(width));
        if expected != Some(labels.len()) {
            return Err(InputError::Buffer {
                width,
                height: depth.saturating_mul(height),
                found: labels.len(),
            });
        }
        Ok(LabelMap { depth, height, width, labels })
    }

    /// The labels of slice `z`, `[height, width]`.
    ///
    /// # Panics
    /// When `z` is not below `depth`.
    pub fn slice(&self, z: usize) -> &[u8] {
        let area = self.height * self.width;
        &self.labels[z * area..(z + 1) * area]
    }
}
