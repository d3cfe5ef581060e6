//! Output of a backbone for one image.

/// Frozen features of one image, after the final LayerNorm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// CLS token: `[dim]`; the mean of the tokens for a model without one.
    pub cls: Vec<f32>,
    /// Patch tokens, row by row: `[rows * cols, dim]`; empty for a model that outputs only one vector; all tokens if
    /// there is no grid.
    pub patch: Vec<f32>,
    /// Patch tokens after earlier blocks, each `[rows * cols, dim]` after the final LayerNorm, for the blocks that the
    /// session was told to keep, in ascending order.
    pub layers: Vec<Vec<f32>>,
    /// Rows of patches; 0 if the layout of the tokens is unknown.
    pub rows: usize,
    /// Columns of patches; 0 if the layout of the tokens is unknown.
    pub cols: usize,
}

impl Features {
    /// Width of a token.
    pub fn dim(&self) -> usize {
        self.cls.len()
    }
}
