//! Multi-head attention (arXiv 1706.03762), a block of queries at a time; the n x n matrix is never held in memory.
//!
//! In integer attention, `q` has 8 bits with a scale per token and `k` has 7 bits with a scale per token
//! ([`super::quantise::key`]); their product is exact. Softmax is computed in f32. Probabilities are rounded to
//! [`probability_max`] steps of the row's largest and `v` to 8 bits with a scale per channel, so the second product is
//! exact again, as is the sum of probabilities that it is divided by. The maximum of a row is found before the first
//! exponential is computed, so the result does not depend on how the keys were split into tiles.
//!
//! Probabilities have 12 bits rather than 8: at 1029 tokens, a thousand keys of 1/1000 each are lost or doubled by
//! rounding to 1/255. On DeiT-Ti (BUSI, 224 px) 8 bits cost 1 - cosine = 2.4e-3 in the patch tokens, 12 bits 1.7e-4.

mod pack;
#[cfg(test)]
mod tests;
mod weighted_sum;

use super::Isa;
use super::activation::exp2;
use super::aligned::Aligned;
use super::isa::per_isa;
use super::linear::{columns, packed_len};
use super::output::{Output, RowOf};
use super::quantise::{QuantParams, QuantisedRows};
use super::reduce;
use super::tile::{
    Epilogue, F32, GemmTypes, Kernel, PANEL, Product, Sums, U8S8, pair_rows, paired_len, paired_stride,
};

pub use pack::{FloatHead, IntHead, Packed, pack_float, pack_int};
use weighted_sum::{IntProduct, OfInts, Probability, WeightedSum};

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

/// Largest code of a probability: 12 bits, or fewer where sums over more than 4129 tokens could overflow an i32.
pub fn probability_max(tokens: usize) -> i32 {
    (i32::MAX / (127 * tokens.max(1) as i32)).min(4095)
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
    /// `[QUERIES, tokens rounded up to a panel]`
    scores: Aligned<f32>,
    /// `[QUERIES, parts, tokens rounded up to a panel]`
    probabilities: Aligned<<IntProduct as GemmTypes>::A>,
    /// [`paired_len`] of `QUERIES` rows of a head: codes of queries, in pairs of rows if the kernel requires it.
    queries: Aligned<u8>,
}

impl Scratch {
    /// Reserves memory for attention of `dims`.
    ///
    /// # Errors
    /// If the memory cannot be allocated.
    pub fn reserve(&mut self, dims: Dims) -> Result<(), std::collections::TryReserveError> {
        let len = QUERIES * dims.tokens.next_multiple_of(PANEL);
        self.queries.grow(paired_len(QUERIES, dims.head_dim))?;
        self.scores.grow(len)?;
        self.probabilities.grow(len * OfInts::PARTS)
    }
}

/// Quantisation parameters of one head of a block of queries.
#[derive(Clone, Copy)]
struct QueryQuants {
    /// Scales, multiplied by [`Dims::log2_scale`].
    scales: [f32; QUERIES],
    zeros: [i32; QUERIES],
}

impl QueryQuants {
    /// Of queries whose parameters are `quants: [rows, heads]`, at most [`QUERIES`] of them.
    #[inline(always)]
    fn of(head: Head, quants: &[QuantParams]) -> QueryQuants {
        let mut of = QueryQuants { scales: [0.0; QUERIES], zeros: [0; QUERIES] };
        let log2_scale = head.dims.log2_scale();
        for (r, quants) in quants.chunks_exact(head.dims.heads).take(QUERIES).enumerate() {
            (of.scales[r], of.zeros[r]) = (quants[head.index].scale * log2_scale, quants[head.index].zero);
        }
        of
    }
}

/// Epilogue that stores the scores of integer queries and keys, as exponents of 2.
struct IntScores<'a> {
    scores: &'a mut [f32],
    padded: usize,
    quants: &'a QueryQuants,
    packed: &'a IntHead,
}

impl Epilogue<i32> for IntScores<'_> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, acc: &Sums<i32>) {
        let scales = columns(&self.packed.key_scales, panel);
        let sums = columns(&self.packed.key_sums, panel);
        let out = &mut self.scores[row * self.padded + panel * PANEL..];
        for (r, acc) in acc.iter().enumerate().take(rows) {
            let (scale, zero) = (self.quants.scales[row + r], self.quants.zeros[row + r]);
            let mut y = [0.0; PANEL];
            for c in 0..PANEL {
                y[c] = (acc[c] - zero * sums[c]) as f32 * (scale * scales[c]);
            }
            out[r * self.padded..][..PANEL].copy_from_slice(&y);
        }
    }
}

/// Epilogue that stores the scores of float queries and keys, as exponents of 2.
struct FloatScores<'a> {
    scores: &'a mut [f32],
    padded: usize,
    scale: f32,
}

impl Epilogue<f32> for FloatScores<'_> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, acc: &Sums<f32>) {
        for (r, acc) in acc.iter().enumerate().take(rows) {
            let y = acc.map(|y| y * self.scale);
            self.scores[(row + r) * self.padded + panel * PANEL..][..PANEL].copy_from_slice(&y);
        }
    }
}

/// A head's columns in some rows of `[rows, dim]`, and the factor of each row.
struct HeadOutput<'a> {
    output: Output<'a>,
    inverse: &'a [f32; QUERIES],
}

/// A tile's float accumulators, and the factors of its rows.
struct FloatRows<'a> {
    acc: &'a Sums<f32>,
    inverse: &'a [f32],
}

impl RowOf for FloatRows<'_> {
    #[inline(always)]
    fn row(&self, r: usize) -> [f32; PANEL] {
        let inverse = self.inverse[r];
        self.acc[r].map(|y| y * inverse)
    }
}

impl Epilogue<f32> for HeadOutput<'_> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, acc: &Sums<f32>) {
        let inverse = &self.inverse[row..row + rows];
        self.output.put::<false>(row, panel, rows, FloatRows { acc, inverse });
    }
}

/// Epilogue for weighted sums of integer values with integer probabilities.
struct IntMeans<'a> {
    out: HeadOutput<'a>,
    /// Scales of the values' channels.
    scales: &'a [f32],
}

/// A tile's integer accumulators, in parts, and the factors of its rows and columns.
struct IntRows<'a> {
    acc: &'a Sums<i32>,
    inverse: &'a [f32],
    scales: &'a [f32; PANEL],
}

impl RowOf for IntRows<'_> {
    #[inline(always)]
    fn row(&self, r: usize) -> [f32; PANEL] {
        let inverse = self.inverse[r];
        let acc = OfInts::sum(&self.acc[r * OfInts::PARTS..][..OfInts::PARTS]);
        let mut y = [0.0; PANEL];
        for c in 0..PANEL {
            y[c] = acc[c] as f32 * (self.scales[c] * inverse);
        }
        y
    }
}

impl Epilogue<i32> for IntMeans<'_> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, acc: &Sums<i32>) {
        let scales = columns(self.scales, panel);
        let (first, rows) = (row / OfInts::PARTS, rows / OfInts::PARTS);
        let inverse = &self.out.inverse[first..first + rows];
        self.out.output.put::<false>(first, panel, rows, IntRows { acc, inverse, scales });
    }
}

/// The micro-kernels of integer attention's two products.
#[derive(Clone, Copy)]
struct IntKernels {
    scores: Kernel<U8S8>,
    means: Kernel<IntProduct>,
}

/// Integer attention for some queries of a head, written to the head's columns in `out: [rows, dim]`.
///
/// `queries`: codes `[rows, dim]` and parameters `[rows, heads]`.
pub fn int(
    isa: Isa,
    head: Head,
    queries: QuantisedRows,
    packed: &IntHead,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let kernels = IntKernels { scores: U8S8::kernel(isa), means: IntProduct::kernel(isa) };
    int_rows(isa, head, queries, packed, kernels, scratch, out);
}

per_isa! {
    fn int_rows(
        head: Head,
        queries: QuantisedRows,
        packed: &IntHead,
        kernels: IntKernels,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let dims = head.dims;
        let Dims { tokens, heads, head_dim } = dims;
        let dim = dims.dim();
        let padded = tokens.next_multiple_of(PANEL);
        let groups = head_dim.div_ceil(U8S8::GROUP);
        let keys = &packed.keys[..packed_len::<U8S8>(tokens, head_dim)];
        let values = &packed.values[..packed_len::<IntProduct>(head_dim, tokens)];
        debug_assert!(kernels.means.rows.is_multiple_of(OfInts::PARTS));
        let most = probability_max(tokens);
        let rows = out.len() / dim;
        for first in (0..rows).step_by(QUERIES) {
            let m = QUERIES.min(rows - first);
            let scores = &mut scratch.scores[..m * padded];
            let codes = &queries.codes[head.at(first)..];
            let quants = QueryQuants::of(head, &queries.quants[first * heads..][..m * heads]);
            let to = IntScores { scores, padded, quants: &quants, packed };
            let mut product = Product { kernel: kernels.scores, m, groups, a: codes, stride: dim, b: keys };
            if kernels.scores.pairs() {
                pair_rows(codes, dim, m, head_dim, &mut scratch.queries);
                (product.a, product.stride) = (&scratch.queries, paired_stride(head_dim));
            }
            product.for_tiles(to);
            let parts = OfInts::PARTS;
            let probabilities = &mut scratch.probabilities[..m * parts * padded];
            let mut inverse = [0.0; QUERIES];
            for r in 0..m {
                let to = &mut probabilities[r * parts * padded..][..parts * padded];
                let scores = &mut scores[r * padded..][..padded];
                scores[tokens..].fill(f32::NEG_INFINITY);
                let sum = probabilities_of(scores, most as f32, to, kernels.means.pairs());
                inverse[r] = 1.0 / sum as f32;
            }
            let groups = tokens.div_ceil(IntProduct::GROUP);
            let out = &mut out[head.at(first)..];
            let out = HeadOutput { output: Output { out, stride: dim, columns: head_dim }, inverse: &inverse };
            let kernel = kernels.means;
            Product { kernel, m: m * parts, groups, a: probabilities, stride: padded, b: values }
                .for_tiles(IntMeans { out, scales: &packed.value_scales });
        }
    }
}

/// `codes = round(2^(score - largest score) * most)`: `scores: [n]` and each part of `codes: [parts, n]` are whole
/// panels, with the parts in pairs if `pairs`. Returns the sum of the codes. The codes of non-finite scores are 0.
#[inline(always)]
fn probabilities_of(
    scores: &[f32],
    most: f32,
    codes: &mut [<IntProduct as GemmTypes>::A],
    pairs: bool,
) -> i32 {
    let largest = reduce::max(scores);
    OfInts::codes_of(scores, Probability { largest, most }, codes, pairs)
}

/// f32 attention for some queries of a head, written to the head's columns in `out: [rows, dim]`;
/// `queries: [rows, dim]`.
pub fn float(
    isa: Isa,
    head: Head,
    queries: &[f32],
    packed: &FloatHead,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    float_rows(isa, head, queries, packed, F32::kernel(isa), scratch, out);
}

per_isa! {
    fn float_rows(
        head: Head,
        queries: &[f32],
        packed: &FloatHead,
        kernel: Kernel<F32>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let dims = head.dims;
        let Dims { tokens, head_dim, .. } = dims;
        let dim = dims.dim();
        let padded = tokens.next_multiple_of(PANEL);
        let keys = &packed.keys[..packed_len::<F32>(tokens, head_dim)];
        let values = &packed.values[..packed_len::<F32>(head_dim, tokens)];
        let rows = out.len() / dim;
        for first in (0..rows).step_by(QUERIES) {
            let m = QUERIES.min(rows - first);
            let scores = &mut scratch.scores[..m * padded];
            let queries = &queries[head.at(first)..];
            Product { kernel, m, groups: head_dim, a: queries, stride: dim, b: keys }
                .for_tiles(FloatScores { scores, padded, scale: dims.log2_scale() });
            let mut inverse = [0.0; QUERIES];
            for r in 0..m {
                let row = &mut scores[r * padded..][..tokens];
                let largest = reduce::max(row);
                for s in row.iter_mut() {
                    let exponent = *s - largest;
                    // `exp2` does not propagate NaN and the maximum ignores it. Adding `0 * exponent` changes nothing
                    // unless a score is not finite: the sum is then NaN, and the whole row.
                    *s = exponent.mul_add(0.0, exp2(exponent));
                }
                inverse[r] = 1.0 / reduce::sum(row);
            }
            let output = Output { out: &mut out[head.at(first)..], stride: dim, columns: head_dim };
            Product { kernel, m, groups: tokens, a: scores, stride: padded, b: values }
                .for_tiles(HeadOutput { output, inverse: &inverse });
        }
    }
}
