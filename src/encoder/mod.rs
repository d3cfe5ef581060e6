//! A [`Network`] packed for an instruction set, and its forward pass.
//!
//! An image is divided into work units of rows (tokens). A layer has three phases, each shared among the pool's
//! threads:
//!
//! 1. per unit: LayerNorm, queries, keys and values, RoPE, and their 8-bit codes;
//! 2. per head: keys and values packed for the matrix products, values quantised (their scale depends on every token);
//! 3. per unit: attention of the unit's queries, projection, residual, LayerNorm, MLP, residual. This needs nothing
//!    from other units, so it continues with phase 1 of the next layer: threads synchronise twice per layer.
//!
//! Each row goes through the same sequence of operations on any thread, so thread count and batch size do not change a
//! single bit of the output. [`Encoder::run`] neither allocates memory nor takes a lock.

mod forward;
mod interrupt;
mod operators;
mod plan;
mod rows;
#[cfg(test)]
mod tests;
mod times;
mod workspace;

pub use interrupt::{Interrupt, Interrupted};
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

/// Why an image cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// The input size does not suit the model.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The working memory cannot be allocated.
    #[error(
        "{tokens} tokens on {threads} threads need more working memory than there is ({source}): take a smaller input \
         size or fewer threads"
    )]
    Memory {
        /// Number of tokens of the image.
        tokens: usize,
        /// Number of threads.
        threads: usize,
        /// The allocator's error.
        source: std::collections::TryReserveError,
    },
    /// The model has no such block.
    #[error("no layer {layer}: the model has {blocks} blocks, 0 to {}", blocks - 1)]
    Layer {
        /// Index of the block, from 0.
        layer: usize,
        /// Number of blocks of the model.
        blocks: usize,
    },
    /// The run was ended.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A layer's output holds a NaN or an infinity.
    #[error("{layer}: the output holds a NaN or an infinity: check the weights and the input's range")]
    NonFinite {
        /// `patch_embed`, `block N` or `norm`.
        layer: String,
    },
}

/// A network packed for one instruction set. Immutable and shared by threads.
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

/// Number of rows whose hidden activations or patches are held in f32 at once. In ViT-S they take 96 x 1536 f32,
/// 590 KB, which leave L2 only slowly.
const STEP_ROWS: usize = 96;

/// Packs rows `first..first + count` of a layer.
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
    /// Packs `network` for `isa`, on the caller's rayon pool if it has one. Its shapes must match its `config`. Each block is
    /// freed once it is packed, so the weights are never in memory twice.
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

    /// The instruction set that the network was packed for.
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
