//! Rotary position embedding of queries and keys.

use super::isa::per_isa;

per_isa! {
    /// Rotates every head of one token in place: `x: [dim]`, `cos` and `sin`: `[head_dim / 2]`. Channel `j` of a head
    /// is paired with channel `j + head_dim / 2` (arXiv 2104.09864, rotate-half layout).
    pub fn rotate_row(x: &mut [f32], cos: &[f32], sin: &[f32]) {
        let half = cos.len();
        for head in x.chunks_exact_mut(2 * half) {
            let (low, high) = head.split_at_mut(half);
            for (((a, b), c), s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
                (*a, *b) = (a.mul_add(*c, -(*b * s)), b.mul_add(*c, *a * s));
            }
        }
    }
}
