//! Attention in f32, with or without the rounding of [`kernels::attention`](crate::kernels::attention).

use super::gptq::integer;
use super::round::round_rows;
use crate::kernels::Isa;
use crate::kernels::activation::exp2;
use crate::kernels::attention::{Dims, blocks_of_keys};
use crate::kernels::matmul::{Rhs, Shape, matmul};
use crate::kernels::quantise::KEY_MAX;

/// Number of quantisation steps of a value on each side of zero.
const VALUE_MAX: f32 = 127.0;
/// Number of quantisation steps of a probability, up to the largest of its block.
const PROBABILITY_MAX: f32 = 255.0;

/// `softmax(q k^T / sqrt(head_dim)) v`, with `qkv: [tokens, 3 * dim]`; returns `[tokens, dim]`.
pub(super) fn exact(qkv: &[f32], dims: Dims) -> Vec<f32> {
    heads(qkv, dims, |_, _, _, _| {}, None)
}

/// The same with integer rounding: queries and keys (after subtracting `key_centre`, `[dim]` or empty) per token,
/// values per channel, probabilities in steps relative to the largest of their block.
pub(super) fn rounded(isa: Isa, qkv: &[f32], dims: Dims, key_centre: &[f32]) -> Vec<f32> {
    let Dims { tokens, head_dim, .. } = dims;
    let round_head = |head: usize, q: &mut [f32], k: &mut [f32], v: &mut [f32]| {
        if let Some(centre) = key_centre.get(head * head_dim..(head + 1) * head_dim) {
            k.chunks_exact_mut(head_dim).for_each(|k| k.iter_mut().zip(centre).for_each(|(k, c)| *k -= c));
        }
        round_rows(isa, q, head_dim);
        k.chunks_exact_mut(head_dim).for_each(|row| {
            let largest = row.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            row.iter_mut().for_each(|v| *v = step(*v, largest / KEY_MAX));
        });
        let mut largest = vec![0.0_f32; head_dim];
        for row in v.chunks_exact(head_dim) {
            largest.iter_mut().zip(row).for_each(|(m, v)| *m = m.max(v.abs()));
        }
        for row in v.chunks_exact_mut(head_dim) {
            row.iter_mut().zip(&largest).for_each(|(v, m)| *v = step(*v, m / VALUE_MAX));
        }
    };
    heads(qkv, dims, round_head, Some(&blocks_of_keys(tokens)))
}

/// The multiple of `size` nearest to `v`.
fn step(v: f32, size: f32) -> f32 {
    if size > 0.0 { integer(v / size) * size } else { 0.0 }
}

/// Rounds each probability to steps of the largest of its block.
fn round_probabilities(row: &mut [f32], blocks: &[usize]) {
    let mut largest = vec![0.0_f32; blocks.iter().max().map_or(0, |last| last + 1)];
    for (&p, &block) in row.iter().zip(blocks) {
        largest[block] = largest[block].max(p);
    }
    for (p, &block) in row.iter_mut().zip(blocks) {
        *p = step(*p, largest[block] / PROBABILITY_MAX);
    }
}

/// Computes one head after another. `prepare(head, q, k, v)` modifies the head's inputs in place, `[tokens, head_dim]`
/// each. If the block of each key is given, probabilities are rounded to whole multiples of the largest of their block
/// over [`PROBABILITY_MAX`].
fn heads(
    qkv: &[f32],
    dims: Dims,
    prepare: impl Fn(usize, &mut [f32], &mut [f32], &mut [f32]),
    blocks: Option<&[usize]>,
) -> Vec<f32> {
    let Dims { tokens, heads, head_dim } = dims;
    let dim = dims.dim();
    let mut out = vec![0.0; tokens * dim];
    let mut scores = vec![0.0; tokens * tokens];
    let (narrow, square) = (Shape::dense(tokens, head_dim), Shape::dense(tokens, tokens));
    let scale = 1.0 / (head_dim as f32).sqrt();
    for head in 0..heads {
        let part = |which: usize| -> Vec<f32> {
            let at = which * dim + head * head_dim;
            qkv.chunks_exact(3 * dim).flat_map(|row| row[at..at + head_dim].iter().copied()).collect()
        };
        let (mut q, mut k, mut v) = (part(0), part(1), part(2));
        prepare(head, &mut q, &mut k, &mut v);
        matmul(&q, narrow, &k, narrow, Rhs::Transposed, &mut scores, square, false, scale);
        for row in scores.chunks_exact_mut(tokens) {
            let largest = row.iter().fold(f32::NEG_INFINITY, |m, &s| m.max(s));
            row.iter_mut().for_each(|s| *s = exp2((*s - largest) * std::f32::consts::LOG2_E));
            if let Some(blocks) = blocks {
                round_probabilities(row, blocks);
            }
            let inverse = 1.0 / row.iter().sum::<f32>();
            row.iter_mut().for_each(|p| *p *= inverse);
        }
        let to = Shape { rows: tokens, cols: head_dim, stride: dim };
        matmul(&scores, square, &v, narrow, Rhs::Plain, &mut out[head * head_dim..], to, false, 1.0);
    }
    out
}
