//! Multi-head attention (arXiv 1706.03762), a block of queries at a time; the n x n matrix is never held in memory.
//!
//! In integer attention, `q` has 8 bits with a scale per token and `k` has 7 bits with a scale per token
//! ([`super::quantise::key`]); their product is exact. Softmax is computed in f32. Keys are divided into blocks
//! of a few dozen (`blocks.rs`). Probabilities are rounded to steps of 1/255 of the largest of their block, and `v` to 8
//! bits with a scale per channel, so that a block's sums of products and of probabilities are exact. These are added up
//! in f32, each block with the weight of its largest probability, in the order of the blocks. A block depends on the
//! number of keys only, so the result does not depend on how a product is split into tiles.
//!
//! With one maximum for a whole row 8 bits would not do: at 1029 tokens, a thousand keys of 1/1000 each are lost or
//! doubled by rounding to 1/255. On DeiT-Ti (BUSI, 224 px) that cost 1 - cosine = 2.4e-3 in the patch tokens.

mod blocks;
mod float;
mod int;
mod pack;
#[cfg(test)]
mod tests;

use super::aligned::Aligned;
use super::tile::{BLOCKS, PANEL, paired_len};

use blocks::Runs;
pub use blocks::blocks_of_keys;
pub use float::float;
pub use int::int;
pub use pack::{FloatHead, IntHead, pack_float, pack_int};

/// Number of queries whose scores are in memory at once: two to four tiles on most instruction sets, so that a panel of
/// keys is read from L2 once for all of them.
pub const QUERIES: usize = 24;

/// Dimensions of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Number of tokens, including the prefix.
    pub tokens: usize,
    /// Number of heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

impl Dims {
    /// Width of a token.
    pub const fn dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Head `index`.
    pub const fn head(self, index: usize) -> Head {
        Head { dims: self, index }
    }

    /// Factor that turns a product of query and key into an exponent of 2: `log2(e) / sqrt(head_dim)`.
    fn log2_scale(&self) -> f32 {
        std::f32::consts::LOG2_E / (self.head_dim as f32).sqrt()
    }
}

/// One head of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Dimensions of the layer.
    pub dims: Dims,
    /// Index of the head.
    pub index: usize,
}

impl Head {
    /// Position of the head's first channel of `token` in `[tokens, dim]`.
    #[inline(always)]
    const fn at(&self, token: usize) -> usize {
        token * self.dims.dim() + self.index * self.dims.head_dim
    }
}

/// Grows a vector to at least `len` elements; an error if the memory cannot be allocated.
fn grow<T: Copy + Default>(v: &mut Vec<T>, len: usize) -> Result<(), std::collections::TryReserveError> {
    v.try_reserve_exact(len.saturating_sub(v.len()))?;
    v.resize(len.max(v.len()), T::default());
    Ok(())
}

/// One thread's working memory.
#[derive(Default)]
pub struct Scratch {
    /// `[QUERIES, tokens rounded up to a panel]`, or one run of integer attention, `[QUERIES][panels][16]`.
    scores: Aligned<f32>,
    /// [`paired_len`] of `QUERIES` rows of a head: codes of queries, in pairs of rows if the kernel requires it.
    queries: Aligned<u8>,
    /// `[QUERIES][steps][words][8]`: codes of probabilities.
    probabilities: Aligned<u32>,
    /// The codes of a run, in pairs of rows if the kernel requires it: `[QUERIES][steps][8]`.
    pairs: Aligned<u32>,
    /// Largest score of each block, then its weight: `[QUERIES][blocks]`.
    weights: Aligned<f32>,
    /// Sum of each block's codes: `[QUERIES][blocks]`.
    counts: Aligned<i32>,
    /// Weighted sums of values: `[QUERIES][head_dim rounded up to a panel]`.
    sums: Aligned<f32>,
}

impl Scratch {
    /// Reserves memory for attention of `dims`.
    ///
    /// # Errors
    /// If the memory cannot be allocated.
    pub fn reserve(&mut self, dims: Dims) -> Result<(), std::collections::TryReserveError> {
        let runs = Runs::of(dims.tokens);
        self.scores.grow(QUERIES * dims.tokens.next_multiple_of(PANEL).max(runs.most_panels() * PANEL))?;
        self.queries.grow(paired_len(QUERIES, dims.head_dim))?;
        // At most two words of a step, for codes of 16 bits.
        self.probabilities.grow(QUERIES * runs.steps() * 2 * BLOCKS)?;
        self.pairs.grow(QUERIES * (runs.most_panels() / blocks::STEP).next_multiple_of(2) * BLOCKS)?;
        self.weights.grow(QUERIES * runs.blocks())?;
        self.counts.grow(QUERIES * runs.blocks())?;
        self.sums.grow(QUERIES * dims.head_dim.next_multiple_of(PANEL))
    }
}
