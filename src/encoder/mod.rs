//! A [`Network`] packed for an instruction set, and its forward pass.
//!
//! An image is cut into units of rows (tokens). A layer is three phases, each of which a pool's threads share:
//!
//! 1. by units: LayerNorm, queries, keys and values, RoPE, and their 8-bit codes;
//! 2. by heads: keys and values packed for the products, values quantised (their scale needs every token);
//! 3. by units: attention of the unit's queries, projection, residual, LayerNorm, MLP, residual. It needs nothing of other
//!    units, so it goes straight on with phase 1 of the next layer: two meetings of the threads for each layer.
//!
//! Each row is computed by one sequence of operations whoever computes it: thread count and batch size change no bit.
//! Nothing is allocated, and no lock taken, between the first and the last line of [`Encoder::run`].

mod forward;
mod operators;
mod plan;
#[cfg(test)]
mod tests;
mod times;
mod workspace;

pub use operators::{Macs, Operator};
pub use plan::{Cache, Plan};
pub use times::OperatorTimes;
pub use workspace::Workspace;

use rayon::prelude::*;

use crate::kernels::Isa;
use crate::kernels::attention::Dims;
use crate::kernels::linear::PackedLinear;
use crate::parallel::in_pool;
use crate::quant::{self, Layer, Matrix, Network};
use crate::vit::{Config, FeedForward, Norm, SizeError};

/// Why an image could not be run.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// The input size does not suit the model.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The system does not give the working memory.
    #[error(
        "{tokens} tokens on {threads} threads need more working memory than there is ({source}): take a smaller --size \
         or fewer --threads"
    )]
    Memory {
        /// Tokens of the image.
        tokens: usize,
        /// Threads.
        threads: usize,
        /// What the allocator said.
        source: std::collections::TryReserveError,
    },
    /// A block that the model does not have.
    #[error("no layer {layer}: the model has {blocks} blocks, 0 to {}", blocks - 1)]
    Layer {
        /// Number asked for, from 0.
        layer: usize,
        /// Blocks of the model.
        blocks: usize,
    },
    /// A layer's output holds a NaN or an infinity.
    #[error("{layer}: the output holds a NaN or an infinity: check the weights and the input's range")]
    NonFinite {
        /// `patch_embed`, `block N` or `norm`.
        layer: String,
    },
}

/// A network ready to run on one instruction set. Immutable; threads share it.
pub struct Encoder {
    isa: Isa,
    config: Config,
    patch: PackedLinear,
    cls: Vec<f32>,
    registers: Vec<f32>,
    positions: Vec<f32>,
    rope_periods: Vec<f32>,
    blocks: Vec<Block>,
    norm: Norm,
}

struct Block {
    norm1: Norm,
    queries: PackedLinear,
    keys: PackedLinear,
    values: PackedLinear,
    int8_attention: bool,
    key_centre: Vec<f32>,
    proj: PackedLinear,
    norm2: Norm,
    mlp: FeedForward<PackedLinear>,
    hidden_scale: Vec<f32>,
}

/// Rows whose wide values, hidden activations and patches, are in memory at once in floats: 96 x 1536 f32, 590 KB in ViT-S, leave
/// L2 slowly.
const STEP_ROWS: usize = 96;

/// Rows `first..first + count` of a layer, packed.
fn pack_rows(isa: Isa, layer: &Layer, first: usize, count: usize) -> PackedLinear {
    let outputs = layer.bias.len();
    let rows = |len: usize| first * (len / outputs)..(first + count) * (len / outputs);
    let bias = &layer.bias[first..first + count];
    match &layer.weight {
        Matrix::F32(w) => PackedLinear::f32(isa, &w[rows(w.len())], bias),
        Matrix::F16(w) => PackedLinear::f16(isa, &w[rows(w.len())], bias),
        Matrix::Int8 { values, scales } => {
            PackedLinear::int8(isa, &values[rows(values.len())], &scales[first..first + count], bias)
        }
    }
}

fn pack(isa: Isa, layer: &Layer) -> PackedLinear {
    pack_rows(isa, layer, 0, layer.bias.len())
}

impl Block {
    fn new(isa: Isa, config: &Config, block: quant::Block) -> Block {
        let part = |i: usize| pack_rows(isa, &block.qkv, i * config.dim, config.dim);
        Block {
            queries: part(0),
            keys: part(1),
            values: part(2),
            norm1: block.norm1,
            int8_attention: block.int8_attention,
            key_centre: block.key_centre,
            proj: pack(isa, &block.proj),
            norm2: block.norm2,
            mlp: block.mlp.map(|layer| pack(isa, layer)),
            hidden_scale: block.hidden_scale,
        }
    }
}

impl Encoder {
    /// Packs `network` for `isa`, on the caller's rayon pool if it has one. Its shapes must be those of its `config`. Each block is freed when
    /// it is packed, so that the weights are never in memory twice.
    pub fn new(network: Network, isa: Isa) -> Encoder {
        let Network { config, patch, cls, registers, positions, rope_periods, blocks, norm } = network;
        Encoder {
            isa,
            config,
            patch: pack(isa, &patch),
            cls,
            registers,
            positions,
            rope_periods,
            blocks: in_pool(|| blocks.into_par_iter().map(|block| Block::new(isa, &config, block)).collect()),
            norm,
        }
    }

    /// The architecture.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The instruction set that it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Every layer.
    fn layers(&self) -> impl Iterator<Item = &PackedLinear> {
        let blocks = self.blocks.iter().flat_map(|block| {
            let attention = [&block.queries, &block.keys, &block.values, &block.proj];
            attention.into_iter().chain(block.mlp.layers())
        });
        std::iter::once(&self.patch).chain(blocks)
    }

    fn dims(&self, tokens: usize) -> Dims {
        Dims { tokens, heads: self.config.heads, head_dim: self.config.head_dim() }
    }
}
