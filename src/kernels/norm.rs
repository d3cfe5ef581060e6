//! LayerNorm.

use super::isa::per_isa;
use super::reduce;

per_isa! {
    /// LayerNorm of one row (arXiv 1607.06450): `out = (x - mean) / sqrt(variance + eps) * weight + bias`; all `[dim]`.
    pub fn norm_row(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
        let n = x.len() as f32;
        let mean = reduce::sum(x) / n;
        let variance = reduce::sum_of_squares(x, mean) / n;
        let inverse = 1.0 / (variance + eps).sqrt();
        for (((o, v), w), b) in out.iter_mut().zip(x).zip(weight).zip(bias) {
            *o = ((v - mean) * inverse).mul_add(*w, *b);
        }
    }
}
