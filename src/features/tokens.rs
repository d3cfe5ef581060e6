//! Patch tokens and their positions.

use half::f16;

use super::FeatureError;
use crate::vit::Features;

/// Size of a grid of positions, `[depth, height, width]`; depth is 1 for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Slices.
    pub depth: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Grid {
    /// Number of positions.
    pub fn positions(self) -> usize {
        self.depth * self.height * self.width
    }
}

/// Patch tokens of an image, or of the slices of a volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// Slices, rows and columns of patches.
    pub grid: Grid,
    /// Length of a token: the model's width times the number of kept layers.
    pub channels: usize,
    /// `[positions, channels]`, in half precision, since training holds the tokens of a whole data set in memory.
    pub values: Vec<f16>,
}

impl Tokens {
    /// No tokens.
    pub fn none() -> Tokens {
        Tokens { grid: Grid { depth: 0, height: 0, width: 0 }, channels: 0, values: Vec::new() }
    }

    /// Removes all tokens but keeps the memory.
    pub fn clear(&mut self) {
        self.grid.depth = 0;
        self.values.clear();
    }

    /// Appends the patch tokens of the next slice: those of the layers at the indices `layers` of [`Features::layers`],
    /// concatenated, or of the network's last layer if `layers` is empty.
    ///
    /// # Errors
    /// [`FeatureError::NoGrid`] when the positions of the tokens are not known.
    pub fn push(&mut self, features: &Features, layers: &[usize]) -> Result<(), FeatureError> {
        let (rows, cols, dim) = (features.rows, features.cols, features.dim());
        if rows * cols == 0 {
            return Err(FeatureError::NoGrid);
        }
        let layer = |place: usize| match layers {
            [] => &features.patch,
            places => &features.layers[places[place]],
        };
        let count = layers.len().max(1);
        self.grid = Grid { depth: self.grid.depth + 1, height: rows, width: cols };
        self.channels = count * dim;
        self.values.reserve(rows * cols * self.channels);
        for token in (0..rows * cols).map(|position| position * dim..(position + 1) * dim) {
            for place in 0..count {
                self.values.extend(layer(place)[token.clone()].iter().map(|&v| f16::from_f32(v)));
            }
        }
        Ok(())
    }

    /// The tokens of slice `z` alone.
    pub fn slice(&self, z: usize) -> Tokens {
        let len = self.grid.height * self.grid.width * self.channels;
        let grid = Grid { depth: 1, ..self.grid };
        Tokens { grid, channels: self.channels, values: self.values[z * len..(z + 1) * len].to_vec() }
    }
}
