//! Attention in integers.

use super::blocks::{Exponent, Runs, STEP, largest_of};
use super::pack::{IntHead, values_start, values_stride};
use super::{Dims, Head, QUERIES, Scratch};
use crate::kernels::Isa;
use crate::kernels::isa::per_isa;
use crate::kernels::linear::columns;
use crate::kernels::output::{Output, RowOf};
use crate::kernels::quantise::{QuantParams, QuantisedRows};
use crate::kernels::tile::{
    BLOCKS, BlockKernel, BlockProduct, Direct, Epilogue, GemmTypes, Kernel, MAX_PANELS, PANEL, Product,
    Strided, Sums, U8S8, block_kernel, pair_rows, pair_words, paired_stride,
};

/// Quantisation parameters of one head of a block of queries.
#[derive(Clone, Copy)]
struct QueryQuants {
    /// Of their scales, multiplied by [`Dims::log2_scale`].
    exponents: [Exponent; QUERIES],
    /// 0 for a query of finite numbers, or else NaN.
    finite: [f32; QUERIES],
    /// Zero points, with a scale of 1.
    zeros: [QuantParams; QUERIES],
}

impl QueryQuants {
    /// Of queries whose parameters are `quants: [rows, heads]`, at most [`QUERIES`] of them.
    #[inline(always)]
    fn of(head: Head, quants: &[QuantParams]) -> QueryQuants {
        let mut of = QueryQuants {
            exponents: [Exponent::default(); QUERIES],
            finite: [0.0; QUERIES],
            zeros: [QuantParams { scale: 1.0, zero: 0 }; QUERIES],
        };
        let log2_scale = head.dims.log2_scale();
        for (r, quants) in quants.chunks_exact(head.dims.heads).take(QUERIES).enumerate() {
            let quants = quants[head.index];
            of.exponents[r] = Exponent::new(quants.scale * log2_scale);
            of.finite[r] = quants.scale * 0.0;
            of.zeros[r].zero = quants.zero;
        }
        of
    }
}

/// Epilogue that stores the scores of integer queries and keys, divided by the scale of the query.
struct IntScores<'a> {
    scores: &'a mut [f32],
    stride: usize,
    /// Zero points, with a scale of 1.
    quants: &'a [QuantParams; QUERIES],
    key_scales: &'a [f32],
    key_sums: &'a [i32],
}

impl Epilogue<i32> for IntScores<'_> {
    #[inline(always)]
    fn direct(&mut self, row: usize, panel: usize, panels: usize) -> Option<Direct<'_>> {
        let columns = panel * PANEL..(panel + panels) * PANEL;
        Some(Direct {
            quants: &self.quants[row..],
            scales: &self.key_scales[columns.clone()],
            sums: &self.key_sums[columns],
            bias: &NO_BIAS,
            out: &mut self.scores[row * self.stride + panel * PANEL..],
            stride: self.stride,
            add: false,
        })
    }

    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, acc: &Sums<i32>) {
        let (scales, sums) = (columns(self.key_scales, panel), columns(self.key_sums, panel));
        let out = &mut self.scores[row * self.stride + panel * PANEL..];
        for (r, acc) in acc.iter().enumerate().take(rows) {
            let zero = self.quants[row + r].zero;
            let mut y = [0.0; PANEL];
            for c in 0..PANEL {
                // As with a bias of 0, which makes a -0.0 positive.
                y[c] = ((acc[c] - zero * sums[c]) as f32).mul_add(scales[c], 0.0);
            }
            out[r * self.stride..][..PANEL].copy_from_slice(&y);
        }
    }
}

/// The bias of a tile of scores.
static NO_BIAS: [f32; MAX_PANELS * PANEL] = [0.0; MAX_PANELS * PANEL];

/// Weighted sums of values, the factors of their rows, and the scales of their columns.
struct Means<'a> {
    sums: Strided<'a, f32>,
    inverse: &'a [f32],
    scales: &'a [f32; PANEL],
}

impl RowOf for Means<'_> {
    #[inline(always)]
    fn row(&self, r: usize) -> [f32; PANEL] {
        let (inverse, sums) = (self.inverse[r], &self.sums.data[r * self.sums.stride..][..PANEL]);
        let mut y = [0.0; PANEL];
        for c in 0..PANEL {
            y[c] = sums[c] * (self.scales[c] * inverse);
        }
        y
    }
}

/// Folds `f` over rows of eight, then over the eight, 4, 2 and 1 apart.
#[inline(always)]
fn of_eight(rows: &[[f32; BLOCKS]], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut eight = rows[0];
    for row in &rows[1..] {
        for c in 0..BLOCKS {
            eight[c] = f(eight[c], row[c]);
        }
    }
    let mut four = [0.0; 4];
    for c in 0..4 {
        four[c] = f(eight[c], eight[c + 4]);
    }
    f(f(four[0], four[2]), f(four[1], four[3]))
}

/// The micro-kernels of the two products.
#[derive(Clone, Copy)]
struct Kernels {
    scores: Kernel<U8S8>,
    means: BlockKernel,
}

/// Integer attention for some queries of a head, written to the head's columns in `out: [rows, dim]`.
///
/// `queries`: codes `[rows, dim]` and parameters `[rows, heads]`. `packed` must have been packed for `isa`.
pub fn int(
    isa: Isa,
    head: Head,
    queries: QuantisedRows,
    packed: &IntHead,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let kernels = Kernels { scores: U8S8::kernel(isa), means: block_kernel(isa) };
    int_rows(isa, head, queries, packed, kernels, scratch, out);
}

per_isa! {
    fn int_rows(
        head: Head,
        queries: QuantisedRows,
        packed: &IntHead,
        kernels: Kernels,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let Dims { tokens, heads, head_dim } = head.dims;
        let rows = out.len() / head.dims.dim();
        for first in (0..rows).step_by(QUERIES) {
            let m = QUERIES.min(rows - first);
            let quants = QueryQuants::of(head, &queries.quants[first * heads..][..m * heads]);
            let block = QueryBlock { head, runs: Runs::of(tokens), m, quants: &quants, packed, kernels };
            block.probabilities(&queries.codes[head.at(first)..], scratch);
            let inverse = block.weights(scratch);
            block.sums(scratch);
            let sums = Strided { data: &scratch.sums, stride: head_dim.next_multiple_of(PANEL) };
            block.store(sums, &inverse, &mut out[head.at(first)..]);
        }
    }
}

/// At most [`QUERIES`] queries of a head.
#[derive(Clone, Copy)]
struct QueryBlock<'a> {
    head: Head,
    runs: Runs,
    /// Number of queries.
    m: usize,
    quants: &'a QueryQuants,
    packed: &'a IntHead,
    kernels: Kernels,
}

impl QueryBlock<'_> {
    /// Number of words of a query's codes.
    #[inline(always)]
    fn codes_len(&self) -> usize {
        self.runs.steps() * self.kernels.means.words() * BLOCKS
    }

    /// Codes of the probabilities, and the largest score and the sum of the codes of each block.
    #[inline(always)]
    fn probabilities(&self, codes: &[u8], scratch: &mut Scratch) {
        let &QueryBlock { head, runs, m, packed, kernels, .. } = self;
        let Scratch { scores, queries, probabilities, weights, counts, .. } = scratch;
        let Dims { tokens, head_dim, .. } = head.dims;
        let groups = head_dim.div_ceil(U8S8::GROUP);
        let (mut a, mut stride) = (codes, head.dims.dim());
        if kernels.scores.pairs() {
            pair_rows(codes, stride, m, head_dim, queries);
            (a, stride) = (queries, paired_stride(head_dim));
        }
        let words = kernels.means.words();
        for run in 0..runs.count {
            let (steps, panels) = (runs.steps_of(run), runs.panels_of(run));
            let keys = panels.start * PANEL..panels.end * PANEL;
            let width = steps.len() * STEP * PANEL;
            let scores = &mut scores[..m * width];
            let key_len = groups * U8S8::GROUP;
            let b = &packed.keys[keys.start * key_len..keys.end * key_len];
            Product { kernel: kernels.scores, m, groups, a, stride, b }.for_tiles(IntScores {
                scores,
                stride: width,
                quants: &self.quants.zeros,
                key_scales: &packed.key_scales[keys.clone()],
                key_sums: &packed.key_sums[keys.clone()],
            });
            if keys.start + width > tokens {
                for scores in scores.chunks_exact_mut(width) {
                    scores[tokens - keys.start..].fill(f32::NEG_INFINITY);
                }
            }
            let of_row = |r: usize| (r * runs.count + run) * BLOCKS..(r * runs.count + run + 1) * BLOCKS;
            let rows =
                || scores.chunks_exact(width).map(|scores| scores.as_chunks().0.as_chunks().0).enumerate();
            // All rows before the first exponential: the maxima of a row wait for each other.
            for (r, scores) in rows() {
                weights[of_row(r)].copy_from_slice(&largest_of(scores));
            }
            for (r, scores) in rows() {
                let at = r * self.codes_len() + steps.start * words * BLOCKS;
                let to = &mut probabilities[at..][..steps.len() * words * BLOCKS];
                let largest = weights[of_row(r)].first_chunk().expect("eight blocks");
                let (exponent, flip) = (self.quants.exponents[r], kernels.means.flip());
                let sums = if words == 1 {
                    exponent.codes::<1>(scores, largest, flip, to.as_chunks_mut().0.as_chunks_mut().0)
                } else {
                    exponent.codes::<2>(scores, largest, flip, to.as_chunks_mut().0.as_chunks_mut().0)
                };
                counts[of_row(r)].copy_from_slice(&sums);
            }
        }
    }

    /// Turns the largest scores of the blocks into their weights, and returns the factors of the rows. The factor of a
    /// row is not finite if its query is not, if a score is infinite, or if no score is a number. In three loops, since
    /// the steps of a row wait for each other.
    #[inline(always)]
    fn weights(&self, scratch: &mut Scratch) -> [f32; QUERIES] {
        let (m, blocks) = (self.m, self.runs.blocks());
        let weights = scratch.weights[..m * blocks].as_chunks_mut::<BLOCKS>().0;
        let counts = scratch.counts[..m * blocks].as_chunks::<BLOCKS>().0;
        let mut largest = [0.0; QUERIES];
        for (largest, scores) in largest.iter_mut().zip(weights.chunks_exact(self.runs.count)) {
            *largest = of_eight(scores, |a, b| if b > a { b } else { a });
        }
        let mut sums = [[0.0; BLOCKS]; QUERIES];
        let rows = weights.chunks_exact_mut(self.runs.count).zip(counts.chunks_exact(self.runs.count));
        for (r, (weights, counts)) in rows.enumerate() {
            let exponent = self.quants.exponents[r];
            let mut sum = [0.0; BLOCKS];
            for (weights, counts) in weights.iter_mut().zip(counts) {
                for c in 0..BLOCKS {
                    weights[c] = exponent.weight(weights[c], largest[r]);
                    sum[c] = weights[c].mul_add(counts[c] as f32, sum[c]);
                }
            }
            sums[r] = sum;
        }
        let mut inverse = [0.0; QUERIES];
        for r in 0..m {
            let sum = of_eight(&[sums[r]], |a, b| a + b);
            inverse[r] = 1.0 / sum + largest[r] * 0.0 + self.quants.finite[r];
        }
        inverse
    }

    /// Weighted sums of values.
    #[inline(always)]
    fn sums(&self, scratch: &mut Scratch) {
        let &QueryBlock { head, runs, m, packed, kernels, .. } = self;
        let kernel = kernels.means;
        let panels = head.dims.head_dim.div_ceil(PANEL);
        let sums = &mut scratch.sums[..m * panels * PANEL];
        sums.fill(0.0);
        let stride = values_stride(kernel, runs);
        for run in 0..runs.count {
            let groups = kernel.groups(runs.panels_of(run).len());
            let codes = &scratch.probabilities[runs.steps_of(run).start * kernel.words() * BLOCKS..];
            let mut codes = Strided { data: codes, stride: self.codes_len() };
            if kernel.pairs() {
                pair_words(codes, m, runs.steps_of(run).len(), &mut scratch.pairs);
                codes = Strided { data: &scratch.pairs, stride: groups * BLOCKS };
            }
            let values = &packed.values[values_start(kernel, runs, run)..];
            BlockProduct {
                kernel,
                m,
                panels,
                groups,
                codes,
                values: Strided { data: values, stride },
                weights: Strided { data: &scratch.weights[run * BLOCKS..], stride: runs.blocks() },
            }
            .add_to(sums);
        }
    }

    /// Writes the means to the head's columns, `out: [m, dim]`.
    #[inline(always)]
    fn store(&self, sums: Strided<f32>, inverse: &[f32], out: &mut [f32]) {
        let Dims { head_dim, .. } = self.head.dims;
        let mut output = Output { out, stride: self.head.dims.dim(), columns: head_dim };
        for panel in 0..head_dim.div_ceil(PANEL) {
            let scales = columns(&self.packed.value_scales, panel);
            let sums = Strided { data: &sums.data[panel * PANEL..], ..sums };
            output.put::<false>(0, panel, self.m, Means { sums, inverse, scales });
        }
    }
}
