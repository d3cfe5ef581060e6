//! Rotary position embedding of queries and keys.

use super::for_row_parts;

/// Rotates the queries and keys of patch tokens in place.
///
/// `qkv: [tokens, 3 * dim]`, rows q, k, v; the first `prefix` tokens (CLS, registers) are left alone. `cos` and `sin`:
/// `[tokens - prefix, head_dim / 2]`; channel `j` of a head turns with channel `j + head_dim / 2`.
///
/// # Panics
/// When the lengths do not agree.
pub fn rotate(
    qkv: &mut [f32],
    dim: usize,
    head_dim: usize,
    prefix: usize,
    cos: &[f32],
    sin: &[f32],
    threads: usize,
) {
    let half = head_dim / 2;
    let patches = &mut qkv[prefix * 3 * dim..];
    assert_eq!(patches.len() / (3 * dim) * half, cos.len());
    assert_eq!(cos.len(), sin.len());
    for_row_parts(patches, 3 * dim, threads, |first, rows| {
        let angles = cos[first * half..].chunks_exact(half).zip(sin[first * half..].chunks_exact(half));
        for (row, (cos, sin)) in rows.chunks_exact_mut(3 * dim).zip(angles) {
            for head in row[..2 * dim].chunks_exact_mut(head_dim) {
                let (low, high) = head.split_at_mut(half);
                for (((a, b), c), s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
                    (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
                }
            }
        }
    });
}
