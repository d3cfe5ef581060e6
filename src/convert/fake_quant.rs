//! A block-by-block forward pass in f32 with simulated int8 rounding, for calibration and for the search.
//!
//! Each image runs on its caller's thread, so sums do not depend on the number of threads; several images run as
//! parallel tasks. A device's results differ from these by f32 rounding alone. The reported accuracy is measured with
//! the device's own kernels.

use std::borrow::Cow;

use super::round::round_rows;
use super::{attention, error::ConvertError};
use crate::kernels::attention::Dims;
use crate::kernels::{Isa, activation, matmul, norm, patches, rope};
use crate::quant::{Block, Layer, Matrix, Network};
use crate::vit::{Config, FeedForward, Norm, Positions, RopeTable, Size, SizeError, learned_positions};

/// A dense layer, dequantised.
pub(super) struct Dense<'a> {
    pub weight: Cow<'a, [f32]>,
    pub bias: &'a [f32],
    /// Whether each row of the input is rounded to 8 bits.
    pub round_input: bool,
}

/// A block, dequantised.
pub(super) struct DenseBlock<'a> {
    pub source: &'a Block,
    pub qkv: Dense<'a>,
    pub proj: Dense<'a>,
    pub mlp: FeedForward<Dense<'a>>,
}

/// A point at which activations are observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Site {
    /// Input of qkv: `[tokens, dim]`.
    Qkv,
    /// Queries, keys and values after RoPE: `[tokens, 3 * dim]`.
    Rotated,
    /// Input of proj: `[tokens, dim]`.
    Proj,
    /// Input of up and gate: `[tokens, dim]`.
    Up,
    /// Input of down: `[tokens, hidden]`.
    Down,
}

impl<'a> Dense<'a> {
    pub fn of(layer: &'a Layer) -> Dense<'a> {
        let weight = match &layer.weight {
            Matrix::F32(values) => Cow::Borrowed(values.as_slice()),
            Matrix::F16(values) => Cow::Owned(values.iter().map(|v| v.to_f32()).collect()),
            Matrix::Int8 { values, scales } => {
                let inputs = values.len() / scales.len();
                let rows = values.chunks_exact(inputs).zip(scales);
                Cow::Owned(rows.flat_map(|(row, &s)| row.iter().map(move |&v| f32::from(v) * s)).collect())
            }
        };
        let round_input = matches!(layer.weight, Matrix::Int8 { .. });
        Dense { weight, bias: &layer.bias, round_input }
    }

    /// `x W^T + b`, with `x: [tokens, inputs]`.
    fn run(&self, isa: Isa, x: &[f32]) -> Vec<f32> {
        let outputs = self.bias.len();
        let inputs = self.weight.len() / outputs;
        let mut out = vec![0.0; x.len() / inputs * outputs];
        if self.round_input {
            let mut rounded = x.to_vec();
            round_rows(isa, &mut rounded, inputs);
            matmul::linear(&rounded, &self.weight, self.bias, &mut out);
        } else {
            matmul::linear(x, &self.weight, self.bias, &mut out);
        }
        out
    }
}

impl<'a> DenseBlock<'a> {
    pub fn of(block: &'a Block) -> DenseBlock<'a> {
        DenseBlock {
            source: block,
            qkv: Dense::of(&block.qkv),
            proj: Dense::of(&block.proj),
            mlp: block.mlp.map(Dense::of),
        }
    }
}

/// The parts of a forward pass that depend on the input size.
pub(super) struct Forward {
    pub isa: Isa,
    config: Config,
    rows: usize,
    cols: usize,
    rope: Option<RopeTable>,
    positions: Vec<f32>,
}

impl Forward {
    pub fn new(network: &Network, size: Size, isa: Isa) -> Result<Forward, SizeError> {
        let config = network.config;
        let (rows, cols) = size.grid(config.patch)?;
        let (rope, positions) = match config.positions {
            Positions::Rope => (Some(RopeTable::new(&network.rope_periods, rows, cols)), Vec::new()),
            Positions::Learned { .. } => (None, learned_positions(&config, &network.positions, size)?),
        };
        Ok(Forward { isa, config, rows, cols, rope, positions })
    }

    /// Embeds pixels `[3, height, width]` into the residual stream `[tokens, dim]`.
    pub fn embed(&self, network: &Network, pixels: &[f32]) -> Vec<f32> {
        let Config { dim, patch, .. } = self.config;
        let count = self.rows * self.cols;
        let mut cut = vec![0.0; count * 3 * patch * patch];
        patches::cut(pixels, self.rows, self.cols, patch, 0, &mut cut);
        let mut x = network.cls.clone();
        x.extend_from_slice(&network.registers);
        x.extend(Dense::of(&network.patch).run(self.isa, &cut));
        if !self.positions.is_empty() {
            let (cls, grid) = self.positions.split_at(dim);
            add(&mut x[..dim], cls);
            add(&mut x[self.config.prefix() * dim..], grid);
        }
        x
    }

    /// Runs one block in place; `observe` receives the input of each layer.
    pub fn block(&self, block: &DenseBlock, x: &mut [f32], observe: &mut dyn FnMut(Site, &[f32])) {
        let normed = self.norm(&block.source.norm1, x);
        observe(Site::Qkv, &normed);
        let heads = self.attention(block, &normed, observe);
        observe(Site::Proj, &heads);
        add(x, &block.proj.run(self.isa, &heads));

        let normed = self.norm(&block.source.norm2, x);
        observe(Site::Up, &normed);
        let (scale, width) = (&block.source.hidden_scale, self.config.hidden);
        let (hidden, down) = match &block.mlp {
            FeedForward::Gelu { up, down } => {
                let mut hidden = up.run(self.isa, &normed);
                hidden.chunks_exact_mut(width).for_each(|row| activation::gelu_row(self.isa, row, scale));
                (hidden, down)
            }
            FeedForward::SwiGlu { gate, up, down } => {
                let (gate, mut up) = (gate.run(self.isa, &normed), up.run(self.isa, &normed));
                for (up, gate) in up.chunks_exact_mut(width).zip(gate.chunks_exact(width)) {
                    activation::silu_row(self.isa, up, gate, scale);
                }
                (up, down)
            }
        };
        observe(Site::Down, &hidden);
        add(x, &down.run(self.isa, &hidden));
    }

    fn attention(
        &self,
        block: &DenseBlock,
        normed: &[f32],
        observe: &mut dyn FnMut(Site, &[f32]),
    ) -> Vec<f32> {
        let Config { dim, heads, .. } = self.config;
        let mut qkv = block.qkv.run(self.isa, normed);
        if let Some(RopeTable { cos, sin, half }) = &self.rope {
            let patches = qkv.chunks_exact_mut(3 * dim).skip(self.config.prefix());
            for ((row, cos), sin) in patches.zip(cos.chunks_exact(*half)).zip(sin.chunks_exact(*half)) {
                // RoPE applies to queries and keys, to each head alike.
                rope::rotate_row(self.isa, &mut row[..2 * dim], cos, sin);
            }
        }
        observe(Site::Rotated, &qkv);
        let dims = Dims { tokens: normed.len() / dim, heads, head_dim: self.config.head_dim() };
        if block.source.int8_attention {
            attention::rounded(self.isa, &qkv, dims, &block.source.key_centre)
        } else {
            attention::exact(&qkv, dims)
        }
    }

    /// LayerNorm of every token.
    pub fn norm(&self, norm: &Norm, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        for (x, out) in x.chunks_exact(self.config.dim).zip(out.chunks_exact_mut(self.config.dim)) {
            norm::norm_row(self.isa, x, &norm.weight, &norm.bias, self.config.norm_eps, out);
        }
        out
    }
}

fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// Returns an error if `x`, the output of `layer` on calibration image `image`, holds a NaN or an infinity.
pub(super) fn check_finite(
    x: &[f32],
    layer: impl FnOnce() -> String,
    image: usize,
) -> Result<(), ConvertError> {
    if x.iter().all(|v| v.is_finite()) {
        Ok(())
    } else {
        Err(ConvertError::NonFinite { layer: layer(), image })
    }
}
