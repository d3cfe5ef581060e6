//! The architecture: one `Config` for the whole family, DINOv3 and plain ViTs alike.

use serde::{Deserialize, Serialize};

use super::{Size, SizeError};

/// The MLP (feed-forward half) of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mlp {
    /// `down(gelu(up(x)))` with the exact (erf) GELU.
    Gelu,
    /// `down(silu(gate(x)) * up(x))` (arXiv 2002.05202): DINOv3 ViT-S+ and larger.
    SwiGlu,
}

/// How positions enter the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positions {
    /// Axial rotary embedding of queries and keys of patch tokens (DINOv3 section 3.2, arXiv 2104.09864).
    Rope,
    /// A learned vector for CLS and for each patch of a `rows` x `cols` grid, added to the tokens (ViT).
    Learned {
        /// Rows of the grid used in training.
        rows: usize,
        /// Columns of the grid used in training.
        cols: usize,
        /// How the positions are resampled to another grid.
        #[serde(default, skip_serializing_if = "PositionResize::is_default")]
        resize: PositionResize,
    },
}

/// How learned positions are resampled to a grid other than the one used in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PositionResize {
    /// Antialiased bicubic with a = -0.5: timm's `resample_abs_pos_embed`, transformers' DINOv2 with registers.
    #[default]
    Antialiased,
    /// PyTorch's bicubic without antialiasing, a = -0.75: transformers' DINOv2 and ViT.
    Plain,
}

impl PositionResize {
    fn is_default(&self) -> bool {
        *self == PositionResize::default()
    }
}

impl Positions {
    /// Learned positions of a `rows` x `cols` grid, resized as in timm.
    pub const fn learned(rows: usize, cols: usize) -> Positions {
        Positions::Learned { rows, cols, resize: PositionResize::Antialiased }
    }
}

/// The architecture of a vision transformer of the family.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Width of a token.
    pub dim: usize,
    /// Number of encoder blocks.
    pub depth: usize,
    /// Number of attention heads, each of width `dim / heads`.
    pub heads: usize,
    /// Side of a square patch in pixels.
    pub patch: usize,
    /// Kind of MLP.
    pub mlp: Mlp,
    /// Hidden width of the MLP.
    pub hidden: usize,
    /// Number of register tokens between CLS and the patches.
    pub registers: usize,
    /// How positions enter the model.
    pub positions: Positions,
    /// Whether each branch is scaled per channel before it joins the residual stream.
    pub layer_scale: bool,
    /// Epsilon of every LayerNorm.
    pub norm_eps: f32,
}

/// A `Config` that no checkpoint can have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value is zero or too large.
    #[error("{field} is {value}, expected 1 to {max}")]
    Range {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The largest accepted value.
        max: usize,
    },
    /// The width is not a multiple of the number of heads.
    #[error("a width of {dim} cannot be split into {heads} heads")]
    Heads {
        /// Width of a token.
        dim: usize,
        /// Number of heads.
        heads: usize,
    },
    /// Rotary embedding needs a head width that is a multiple of four.
    #[error("rotary positions need a head width that is a multiple of 4, not {0}")]
    HeadDim(usize),
    /// The epsilon is not a small positive number.
    #[error("LayerNorm epsilon {0} is not between 0 and 1")]
    Epsilon(f32),
}

/// A matrix product of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatMul {
    /// Projection to queries, keys and values.
    Qkv,
    /// Both products of attention.
    Attention,
    /// Output projection of attention.
    Proj,
    /// The MLP's `up`, and `gate` if there is one.
    Up,
    /// The MLP's `down`.
    Down,
}

impl MatMul {
    /// All of them, in the order in which a block computes them.
    pub const ALL: [MatMul; 5] = [MatMul::Qkv, MatMul::Attention, MatMul::Proj, MatMul::Up, MatMul::Down];
}

impl Config {
    /// Width of one attention head.
    pub const fn head_dim(&self) -> usize {
        self.dim / self.heads
    }

    /// Number of tokens before the patches: CLS and registers.
    pub const fn prefix(&self) -> usize {
        1 + self.registers
    }

    /// Number of tokens of an image of `size`.
    ///
    /// # Errors
    /// [`SizeError`] if `size` is not a whole number of patches.
    pub fn tokens(&self, size: Size) -> Result<usize, SizeError> {
        let (rows, cols) = size.grid(self.patch)?;
        Ok(self.prefix() + rows * cols)
    }

    /// Refuses values that no checkpoint can have, so that later arithmetic cannot overflow or divide by zero.
    ///
    /// # Errors
    /// The error names the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut limits = vec![
            ("dim", self.dim, 16384),
            ("depth", self.depth, 256),
            ("heads", self.heads, 256),
            ("patch", self.patch, 256),
            ("hidden", self.hidden, 131072),
        ];
        if let Positions::Learned { rows, cols, .. } = self.positions {
            limits.extend([("position rows", rows, 4096), ("position cols", cols, 4096)]);
        }
        for (field, value, max) in limits {
            if value == 0 || value > max {
                return Err(ConfigError::Range { field, value, max });
            }
        }
        if self.registers > 256 {
            return Err(ConfigError::Range { field: "registers", value: self.registers, max: 256 });
        }
        if !self.dim.is_multiple_of(self.heads) {
            return Err(ConfigError::Heads { dim: self.dim, heads: self.heads });
        }
        if self.positions == Positions::Rope && !self.head_dim().is_multiple_of(4) {
            return Err(ConfigError::HeadDim(self.head_dim()));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(ConfigError::Epsilon(self.norm_eps));
        }
        Ok(())
    }

    /// Multiply-accumulates of one forward pass: patch embedding, projections, MLP and both attention products.
    ///
    /// # Errors
    /// [`SizeError`] if `size` is not a whole number of patches.
    ///
    /// ```
    /// # use microraptor::vit::{Config, Mlp, Positions, Size};
    /// let vits16 = Config {
    ///     dim: 384, depth: 12, heads: 6, patch: 16, mlp: Mlp::Gelu, hidden: 1536, registers: 4,
    ///     positions: Positions::Rope, layer_scale: true, norm_eps: 1e-5,
    /// };
    /// let macs = vits16.macs(Size::square(224)).unwrap();
    /// assert_eq!((macs as f64 / 1e9 * 10.0).round() / 10.0, 4.7);
    /// ```
    pub fn macs(&self, size: Size) -> Result<u64, SizeError> {
        let tokens = self.tokens(size)?;
        let block: u64 = MatMul::ALL.iter().map(|&product| self.macs_of(product, tokens)).sum();
        Ok(self.patch_embed_macs(tokens - self.prefix()) + self.depth as u64 * block)
    }

    /// Multiply-accumulates of the embedding of `patches` patches.
    pub(crate) fn patch_embed_macs(&self, patches: usize) -> u64 {
        (patches * 3 * self.patch * self.patch * self.dim) as u64
    }

    /// Multiply-accumulates of `product` in one block on `tokens` tokens.
    pub(crate) fn macs_of(&self, product: MatMul, tokens: usize) -> u64 {
        let &Config { dim, hidden, .. } = self;
        let per_token = match (product, self.mlp) {
            (MatMul::Qkv, _) => 3 * dim * dim,
            (MatMul::Attention, _) => 2 * tokens * dim,
            (MatMul::Proj, _) => dim * dim,
            (MatMul::Up, Mlp::SwiGlu) => 2 * dim * hidden,
            (MatMul::Up, Mlp::Gelu) | (MatMul::Down, _) => dim * hidden,
        };
        (tokens * per_token) as u64
    }

    /// Number of trained parameters: every matrix, bias, norm, scale and token. Keys have no bias in DINOv3.
    ///
    /// ```
    /// # use microraptor::vit::{Config, Mlp, Positions};
    /// let deit_tiny_without_head = Config {
    ///     dim: 192, depth: 12, heads: 3, patch: 16, mlp: Mlp::Gelu, hidden: 768, registers: 0,
    ///     positions: Positions::learned(14, 14), layer_scale: false, norm_eps: 1e-6,
    /// };
    /// assert_eq!(deit_tiny_without_head.parameters(), 5_717_416 - 193_000);
    /// ```
    pub fn parameters(&self) -> usize {
        let Config { dim, hidden, .. } = *self;
        let linear = |outputs: usize, inputs: usize| outputs * (inputs + 1);
        let mlp = match self.mlp {
            Mlp::Gelu => linear(hidden, dim) + linear(dim, hidden),
            Mlp::SwiGlu => 2 * linear(hidden, dim) + linear(dim, hidden),
        };
        let scales = if self.layer_scale { 2 * dim } else { 0 };
        let block = linear(3 * dim, dim) + linear(dim, dim) + mlp + 4 * dim + scales;
        let (positions, key_biases) = match self.positions {
            Positions::Rope => (0, self.depth * dim),
            Positions::Learned { rows, cols, .. } => ((1 + rows * cols) * dim, 0),
        };
        let tokens = self.prefix() * dim + positions;
        linear(dim, 3 * self.patch * self.patch) + tokens + self.depth * block - key_biases + 2 * dim
    }
}
