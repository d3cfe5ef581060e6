//! What a backbone says about one image.

/// Frozen features of one image, after the final LayerNorm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// CLS token: `[dim]`. For a model without one, the mean of its tokens.
    pub cls: Vec<f32>,
    /// Patch tokens by row: `[rows * cols, dim]`; empty for a model that gives one vector only; all tokens, where there is no
    /// grid.
    pub patch: Vec<f32>,
    /// Patch tokens after earlier blocks, each `[rows * cols, dim]` after the final LayerNorm: those that the session was
    /// asked to keep, in ascending order.
    pub layers: Vec<Vec<f32>>,
    /// Rows of patches; 0 where the model does not tell how its tokens lie.
    pub rows: usize,
    /// Columns of patches; 0 as the rows.
    pub cols: usize,
}

impl Features {
    /// Width of a token.
    pub fn dim(&self) -> usize {
        self.cls.len()
    }
}
