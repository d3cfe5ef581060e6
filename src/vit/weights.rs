//! The parameters of a model, all f32, in the order in which the forward pass uses them.

use super::{Config, FeedForward, Positions};

/// A dense layer `y = x W^T + b`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Linear {
    /// `[outputs, inputs]`, row-major.
    pub weight: Vec<f32>,
    /// `[outputs]`; zeros if the checkpoint has no bias.
    pub bias: Vec<f32>,
}

/// The affine part of a LayerNorm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Norm {
    /// `[dim]`
    pub weight: Vec<f32>,
    /// `[dim]`
    pub bias: Vec<f32>,
}

/// `[dim, hidden]`
/// One pre-norm encoder block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// LayerNorm before attention.
    pub norm1: Norm,
    /// Query, key and value, stacked: `[3 * dim, dim]`, rows in the order q, k, v, each grouped by head.
    pub qkv: Linear,
    /// Output projection of attention: `[dim, dim]`.
    pub proj: Linear,
    /// LayerScale of the attention branch, `[dim]`; empty if [`Config::layer_scale`] is false.
    pub scale1: Vec<f32>,
    /// LayerNorm before the MLP.
    pub norm2: Norm,
    /// The MLP.
    pub mlp: FeedForward<Linear>,
    /// LayerScale of the MLP branch, `[dim]`; empty if [`Config::layer_scale`] is false.
    pub scale2: Vec<f32>,
}

/// All parameters of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Patch embedding: `[dim, 3 * patch * patch]`, the inputs in the order channel, y, x.
    pub patch: Linear,
    /// CLS token: `[dim]`.
    pub cls: Vec<f32>,
    /// Register tokens: `[registers, dim]`.
    pub registers: Vec<f32>,
    /// Learned positions `[1 + rows * cols, dim]`, CLS first; empty with [`Positions::Rope`].
    pub positions: Vec<f32>,
    /// Periods of the rotary embedding, `[head_dim / 4]`, in units of the normalised coordinate's range; empty
    /// with [`Positions::Learned`].
    pub rope_periods: Vec<f32>,
    /// The encoder blocks.
    pub blocks: Vec<Block>,
    /// Final LayerNorm, applied to all tokens.
    pub norm: Norm,
}

/// A tensor of [`Weights`] that does not fit its [`Config`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Wrong number of values.
    #[error("{tensor} has {found} values, expected {expected}")]
    Length {
        /// Name of the parameter.
        tensor: String,
        /// Number of values found.
        found: usize,
        /// Number of values that the `Config` requires.
        expected: usize,
    },
    /// A NaN or an infinity.
    #[error("{tensor} holds a NaN or an infinity at index {index}")]
    NonFinite {
        /// Name of the parameter.
        tensor: String,
        /// Index of the first bad value.
        index: usize,
    },
    /// Wrong number of blocks or the wrong kind of MLP.
    #[error("{0}")]
    Structure(String),
}

impl Weights {
    /// Calls `f(name, values, expected_length)` for every parameter, in a fixed order.
    fn for_each<'a>(&'a self, config: &Config, mut f: impl FnMut(String, &'a [f32], usize)) {
        let Config { dim, hidden, patch, registers, .. } = *config;
        let scale = if config.layer_scale { dim } else { 0 };
        let (positions, periods) = match config.positions {
            Positions::Rope => (0, config.head_dim() / 4),
            Positions::Learned { rows, cols, .. } => ((1 + rows * cols) * dim, 0),
        };
        let mut linear = |name: String, l: &'a Linear, outputs: usize, inputs: usize| {
            f(format!("{name}.weight"), &l.weight, outputs * inputs);
            f(format!("{name}.bias"), &l.bias, outputs);
        };
        linear("patch".into(), &self.patch, dim, 3 * patch * patch);
        for (i, block) in self.blocks.iter().enumerate() {
            linear(format!("blocks.{i}.qkv"), &block.qkv, 3 * dim, dim);
            linear(format!("blocks.{i}.proj"), &block.proj, dim, dim);
            if let Some(gate) = block.mlp.gate() {
                linear(format!("blocks.{i}.mlp.gate"), gate, hidden, dim);
            }
            linear(format!("blocks.{i}.mlp.up"), block.mlp.up(), hidden, dim);
            linear(format!("blocks.{i}.mlp.down"), block.mlp.down(), dim, hidden);
        }
        f("cls".into(), &self.cls, dim);
        f("registers".into(), &self.registers, registers * dim);
        f("positions".into(), &self.positions, positions);
        f("rope_periods".into(), &self.rope_periods, periods);
        let mut norm = |name: String, n: &'a Norm| {
            f(format!("{name}.weight"), &n.weight, dim);
            f(format!("{name}.bias"), &n.bias, dim);
        };
        for (i, block) in self.blocks.iter().enumerate() {
            norm(format!("blocks.{i}.norm1"), &block.norm1);
            norm(format!("blocks.{i}.norm2"), &block.norm2);
        }
        norm("norm".into(), &self.norm);
        for (i, block) in self.blocks.iter().enumerate() {
            f(format!("blocks.{i}.scale1"), &block.scale1, scale);
            f(format!("blocks.{i}.scale2"), &block.scale2, scale);
        }
    }

    /// Checks every length against `config`, and that every value is finite.
    ///
    /// # Errors
    /// [`WeightsError`] names the first parameter that is wrong.
    pub fn validate(&self, config: &Config) -> Result<(), WeightsError> {
        if self.blocks.len() != config.depth {
            return Err(WeightsError::Structure(format!(
                "{} blocks found, expected {}",
                self.blocks.len(),
                config.depth
            )));
        }
        if let Some(i) = self.blocks.iter().position(|b| b.mlp.kind() != config.mlp) {
            return Err(WeightsError::Structure(format!("the MLP of block {i} is not {:?}", config.mlp)));
        }
        let mut result = Ok(());
        self.for_each(config, |tensor, values, expected| {
            if result.is_err() {
            } else if values.len() != expected {
                result = Err(WeightsError::Length { tensor, found: values.len(), expected });
            } else if let Some(index) = values.iter().position(|v| !v.is_finite()) {
                result = Err(WeightsError::NonFinite { tensor, index });
            }
        });
        result
    }

    /// Multiplies each LayerScale into the preceding layer and empties the scales.
    ///
    /// With `config.layer_scale` false, the result computes the same function up to rounding.
    pub fn fold_layer_scale(&mut self) {
        for block in &mut self.blocks {
            let down = block.mlp.down_mut();
            for (layer, scale) in [(&mut block.proj, &mut block.scale1), (down, &mut block.scale2)] {
                if scale.is_empty() {
                    continue;
                }
                let inputs = layer.weight.len() / scale.len();
                for ((row, bias), s) in
                    layer.weight.chunks_exact_mut(inputs).zip(&mut layer.bias).zip(scale.drain(..))
                {
                    row.iter_mut().for_each(|w| *w *= s);
                    *bias *= s;
                }
            }
        }
    }
}
