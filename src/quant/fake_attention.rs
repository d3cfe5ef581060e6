//! Attention with the roundings of int8, in f32.

/// The sizes of one attention.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    pub tokens: usize,
    pub heads: usize,
    pub head_dim: usize,
}

/// Levels of a query on each side of zero.
const QUERY: f32 = 127.0;
/// Levels of a key on each side of zero.
const KEY: f32 = 63.0;
/// Levels of a value on each side of zero.
const VALUE: f32 = 127.0;
/// Levels of a probability, the largest of a row being 1.
const PROBABILITY: f32 = 4095.0;

/// `softmax(q (k - centre)^T / sqrt(head_dim)) v`: queries and keys rounded for each token, values for each channel,
/// probabilities against the row's largest. `qkv: [tokens, 3 * dim]`; returns `[tokens, dim]`.
pub(super) fn attention(qkv: &[f32], sizes: Heads, key_centre: &[f32]) -> Vec<f32> {
    let Heads { tokens, heads, head_dim } = sizes;
    let dim = heads * head_dim;
    let mut out = vec![0.0; tokens * dim];
    let scale = 1.0 / (head_dim as f32).sqrt();
    for head in 0..heads {
        let part = |which: usize| -> Vec<f32> {
            let at = which * dim + head * head_dim;
            qkv.chunks_exact(3 * dim).flat_map(|row| row[at..at + head_dim].iter().copied()).collect()
        };
        let (mut q, mut k, mut v) = (part(0), part(1), part(2));
        if !key_centre.is_empty() {
            let centre = &key_centre[head * head_dim..(head + 1) * head_dim];
            k.chunks_exact_mut(head_dim).for_each(|k| k.iter_mut().zip(centre).for_each(|(k, c)| *k -= c));
        }
        q.chunks_exact_mut(head_dim).for_each(|row| round(row.iter_mut(), QUERY));
        k.chunks_exact_mut(head_dim).for_each(|row| round(row.iter_mut(), KEY));
        (0..head_dim).for_each(|c| round_strided(&mut v, c, head_dim));
        let mut scores = vec![0.0; tokens];
        for t in 0..tokens {
            let q = &q[t * head_dim..(t + 1) * head_dim];
            for (score, k) in scores.iter_mut().zip(k.chunks_exact(head_dim)) {
                *score = dot(q, k) * scale;
            }
            let max = scores.iter().fold(f32::NEG_INFINITY, |m, &s| m.max(s));
            let mut sum = 0.0;
            for s in &mut scores {
                *s = ((*s - max).exp() * PROBABILITY).round_ties_even();
                sum += *s;
            }
            let row = &mut out[t * dim + head * head_dim..][..head_dim];
            for (p, v) in scores.iter().zip(v.chunks_exact(head_dim)) {
                row.iter_mut().zip(v).for_each(|(o, v)| *o += p * v);
            }
            row.iter_mut().for_each(|o| *o /= sum);
        }
    }
    out
}

/// Sixteen partial sums, which the compiler keeps in vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (mut sums, mut rest) = ([0.0; 16], 0.0);
    let (a16, b16) = (a.chunks_exact(16), b.chunks_exact(16));
    a16.remainder().iter().zip(b16.remainder()).for_each(|(a, b)| rest += a * b);
    for (a, b) in a16.zip(b16) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(s, (a, b))| *s += a * b);
    }
    sums.iter().sum::<f32>() + rest
}

/// Rounds to multiples of the largest magnitude over `levels`.
fn round<'a>(values: impl Iterator<Item = &'a mut f32>, levels: f32) {
    let mut values: Vec<&mut f32> = values.collect();
    let max = values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    if max > 0.0 {
        let step = max / levels;
        values.iter_mut().for_each(|v| **v = (**v / step).round_ties_even() * step);
    }
}

/// As [`round`], of every `width`-th value from `first` on.
fn round_strided(values: &mut [f32], first: usize, width: usize) {
    round(values.iter_mut().skip(first).step_by(width), VALUE);
}
