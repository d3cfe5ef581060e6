//! Attention in f32.

use super::pack::FloatHead;
use super::{Dims, Head, QUERIES, Scratch};
use crate::kernels::Isa;
use crate::kernels::activation::exp2;
use crate::kernels::isa::per_isa;
use crate::kernels::linear::packed_len;
use crate::kernels::output::{Output, RowOf};
use crate::kernels::reduce;
use crate::kernels::tile::{Epilogue, F32, GemmTypes, Kernel, PANEL, Product, Sums};

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
