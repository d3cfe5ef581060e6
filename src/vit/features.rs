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
    /// Whether `cls` and `patch` only stand in for what the model does not have.
    pub stand_in: StandIn,
    /// Outputs of an ONNX graph that are neither `cls` nor `patch`, in the graph's order; empty for a bare backbone.
    pub outputs: Vec<Output>,
}

/// What only stands in for something that a graph does not have, or not by a name that says so: heads can be trained on
/// it, but it must not be called a class token or patch tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StandIn {
    /// `cls` is the mean of all tokens, or the graph's only vector.
    pub cls: bool,
    /// `patch` are tokens of which some may not be patches, or a map.
    pub patch: bool,
}

/// An output of a graph, under the graph's own name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its shape for one image. The first dimension is 1 where the graph has one for the images of a batch.
    pub shape: Vec<usize>,
    /// Its values, row-major; whole numbers and truth values as floats.
    pub values: Vec<f32>,
}

impl Features {
    /// Width of a token.
    pub fn dim(&self) -> usize {
        self.cls.len()
    }

    /// The output called `name`.
    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }
}
