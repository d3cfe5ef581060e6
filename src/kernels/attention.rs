//! Multi-head attention in f32, a tile of queries at a time.

use rayon::prelude::*;

use super::activation::softmax;
use super::matmul::{Rhs, Shape, matmul};

/// Queries that are handled together: 64 rows of scores at 1029 tokens are 257 KiB, which a core's L2 holds.
pub const TILE: usize = 64;

/// Scores that one thread needs room for.
pub const fn scores_len(tokens: usize) -> usize {
    TILE * tokens
}

/// The sizes of one attention.
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    /// Tokens, prefix included.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

/// `softmax(q k^T / sqrt(head_dim)) v` for every head (arXiv 1706.03762).
///
/// With `dim = heads * head_dim`: `qkv: [tokens, 3 * dim]`, rows q, k, v, each by head; `out: [tokens, dim]`.
/// Scratch: `by_head: [heads, tokens, head_dim]`, `scores: [threads, scores_len(tokens)]`.
///
/// # Panics
/// When the lengths do not agree.
pub fn attention(
    qkv: &[f32],
    dims: Dims,
    by_head: &mut [f32],
    scores: &mut [f32],
    out: &mut [f32],
    threads: usize,
) {
    let Dims { tokens, heads, head_dim } = dims;
    let dim = heads * head_dim;
    assert!(qkv.len() == 3 * tokens * dim && by_head.len() == tokens * dim && out.len() == tokens * dim);
    assert!(scores.len() >= threads.max(1) * scores_len(tokens));
    if threads <= 1 {
        some_queries(qkv, dims, 0, by_head, scores);
    } else {
        let part = (heads * tokens).div_ceil(threads);
        by_head
            .par_chunks_mut(part * head_dim)
            .zip(scores.par_chunks_mut(scores_len(tokens)))
            .enumerate()
            .for_each(|(i, (queries, scores))| some_queries(qkv, dims, i * part, queries, scores));
    }
    for (token, row) in out.chunks_exact_mut(dim).enumerate() {
        for (head, part) in row.chunks_exact_mut(head_dim).enumerate() {
            let at = (head * tokens + token) * head_dim;
            part.copy_from_slice(&by_head[at..at + head_dim]);
        }
    }
}

/// The part of `[heads, tokens, head_dim]` that begins at row `first` and fills `queries`.
fn some_queries(qkv: &[f32], dims: Dims, first: usize, queries: &mut [f32], scores: &mut [f32]) {
    let Dims { tokens, heads, head_dim } = dims;
    let dim = heads * head_dim;
    let scale = 1.0 / (head_dim as f32).sqrt();
    let end = first + queries.len() / head_dim;
    let mut row = first;
    while row < end {
        let (head, token) = (row / tokens, row % tokens);
        let count = TILE.min(tokens - token).min(end - row);
        let matrix = |rows| Shape { rows, cols: head_dim, stride: 3 * dim };
        let at = |token: usize, which: usize| &qkv[token * 3 * dim + which * dim + head * head_dim..];
        let scores = &mut scores[..count * tokens];
        let shape = Shape::dense(count, tokens);
        let (q, k) = (at(token, 0), at(0, 1));
        matmul(q, matrix(count), k, matrix(tokens), Rhs::Transposed, scores, shape, false, scale, 1);
        scores.chunks_exact_mut(tokens).for_each(softmax);
        let out = &mut queries[(row - first) * head_dim..][..count * head_dim];
        let to = Shape::dense(count, head_dim);
        matmul(scores, shape, at(0, 2), matrix(tokens), Rhs::Plain, out, to, false, 1.0, 1);
        row += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in f64.
    fn reference(qkv: &[f32], Dims { tokens, heads, head_dim }: Dims) -> Vec<f64> {
        let dim = heads * head_dim;
        let at = |t: usize, which: usize, h: usize, c: usize| {
            f64::from(qkv[t * 3 * dim + which * dim + h * head_dim + c])
        };
        let mut out = vec![0.0; tokens * dim];
        for h in 0..heads {
            for t in 0..tokens {
                let score = |u| (0..head_dim).map(|c| at(t, 0, h, c) * at(u, 1, h, c)).sum::<f64>();
                let weights: Vec<f64> =
                    (0..tokens).map(|u| (score(u) / (head_dim as f64).sqrt()).exp()).collect();
                let total: f64 = weights.iter().sum();
                for c in 0..head_dim {
                    let sum: f64 = (0..tokens).map(|u| weights[u] * at(u, 2, h, c)).sum();
                    out[t * dim + h * head_dim + c] = sum / total;
                }
            }
        }
        out
    }

    #[test]
    fn agrees_with_the_definition_for_any_split() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for (tokens, heads, head_dim) in [(1, 1, 4), (5, 2, 8), (64, 1, 16), (65, 3, 8), (150, 2, 64)] {
            let dims = Dims { tokens, heads, head_dim };
            let dim = heads * head_dim;
            let qkv: Vec<f32> = (0..tokens * 3 * dim).map(|i| ((i * i % 613) as f32 * 0.7).sin()).collect();
            let expected = reference(&qkv, dims);
            for threads in [1, 2, 3] {
                let mut by_head = vec![0.0; tokens * dim];
                let mut scores = vec![0.0; threads * scores_len(tokens)];
                let mut out = vec![f32::NAN; tokens * dim];
                pool.install(|| attention(&qkv, dims, &mut by_head, &mut scores, &mut out, threads));
                for (a, b) in out.iter().zip(&expected) {
                    // |v| <= 1 and weights sum to 1: a dot product of head_dim terms and a sum of tokens terms,
                    // each rounding once, and 2 ulp of exp.
                    let bound = (head_dim + tokens + 4) as f64 * f64::from(f32::EPSILON);
                    assert!((f64::from(*a) - b).abs() <= bound, "{dims:?} {threads}: {a} {b}");
                }
            }
        }
    }
}
