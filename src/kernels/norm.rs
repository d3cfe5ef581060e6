//! LayerNorm.

use super::isa::for_each_isa;
use super::{for_row_parts, lanes};

for_each_isa! {
    /// LayerNorm of one row: `out = (x - mean) / sqrt(variance + eps) * weight + bias`; all `[dim]`.
    fn row(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
        let n = x.len() as f32;
        let mean = lanes::sum(x) / n;
        let variance = lanes::sum_of_squares(x, mean) / n;
        let inverse = 1.0 / (variance + eps).sqrt();
        for (((o, v), w), b) in out.iter_mut().zip(x).zip(weight).zip(bias) {
            *o = (v - mean) * inverse * w + b;
        }
    }
}

/// LayerNorm (arXiv 1607.06450) of every row of `x`: `[rows, dim]`, into `out`: `[rows, dim]`.
///
/// # Panics
/// When the lengths do not agree.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32], threads: usize) {
    let dim = weight.len();
    assert_eq!(x.len(), out.len());
    assert_eq!(bias.len(), dim);
    for_row_parts(out, dim, threads, |first, out| {
        for (x, out) in x[first * dim..].chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
            row(x, weight, bias, eps, out);
        }
    });
}
