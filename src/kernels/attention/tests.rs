//! Attention on every instruction set gives the bits of the plain version.

use super::*;
use crate::kernels::Isa;
use crate::kernels::quantise::{self, QuantParams, QuantisedKeys, QuantisedRows};

fn wave(n: usize, seed: f32) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.37 + seed).sin() * 3.0).collect()
}

/// Integer attention for the first `rows` queries, all heads: `[rows, dim]`.
fn ints(isa: Isa, dims: Dims, rows: usize) -> Vec<f32> {
    let len = dims.tokens * dims.dim();
    ints_of(isa, dims, rows, [&wave(len, 0.0), &wave(len, 1.0), &wave(len, 2.0)])
}

/// Integer attention for the first `rows` queries of `[queries, keys, values]`, all heads: `[rows, dim]`.
fn ints_of(isa: Isa, dims: Dims, rows: usize, [queries, keys, values]: [&[f32]; 3]) -> Vec<f32> {
    let mut memory = (IntHead::default(), Scratch::default());
    ints_in(&mut memory, isa, dims, rows, [queries, keys, values])
}

/// The same in memory that may have been used for other dimensions.
fn ints_in(
    (packed, scratch): &mut (IntHead, Scratch),
    isa: Isa,
    dims: Dims,
    rows: usize,
    [queries, keys, values]: [&[f32]; 3],
) -> Vec<f32> {
    let Dims { tokens, heads, head_dim } = dims;
    let len = tokens * dims.dim();
    let mut keys = keys.to_vec();
    let (mut codes, mut key_codes) = (vec![0; len], vec![0; len]);
    let (mut quants, mut scales) = (vec![QuantParams::default(); tokens * heads], vec![0.0; tokens * heads]);
    for i in 0..tokens * heads {
        let part = i * head_dim..(i + 1) * head_dim;
        quants[i] = quantise::row(isa, &queries[part.clone()], &mut codes[part.clone()]);
        scales[i] = quantise::key(isa, &mut keys[part.clone()], &[], &mut key_codes[part]);
    }
    packed.reserve(dims).unwrap();
    scratch.reserve(dims).unwrap();
    let mut out = vec![f32::NAN; rows * dims.dim()];
    let queries = QuantisedRows { codes: &codes, quants: &quants };
    let keys = QuantisedKeys { codes: &key_codes, scales: &scales };
    for head in (0..heads).map(|index| dims.head(index)) {
        pack_int(isa, head, keys, values, packed);
        int(isa, head, queries, packed, scratch, &mut out);
    }
    out
}

/// The same in f32.
fn floats(isa: Isa, dims: Dims, rows: usize) -> Vec<f32> {
    let len = dims.tokens * dims.dim();
    floats_of(isa, dims, rows, [&wave(len, 0.0), &wave(len, 1.0), &wave(len, 2.0)])
}

/// f32 attention for the first `rows` queries of `[queries, keys, values]`, all heads: `[rows, dim]`.
fn floats_of(isa: Isa, dims: Dims, rows: usize, [queries, keys, values]: [&[f32]; 3]) -> Vec<f32> {
    let (mut packed, mut scratch) = (FloatHead::default(), Scratch::default());
    packed.reserve(dims).unwrap();
    scratch.reserve(dims).unwrap();
    let mut out = vec![f32::NAN; rows * dims.dim()];
    for head in (0..dims.heads).map(|index| dims.head(index)) {
        pack_float(isa, head, keys, values, &mut packed);
        float(isa, head, queries, &packed, &mut scratch, &mut out);
    }
    out
}

#[test]
fn every_instruction_set_gives_the_same_bits_and_integers_are_near_floats() {
    for (tokens, heads, head_dim) in
        [(1, 1, 4), (5, 2, 12), (37, 3, 20), (70, 2, 64), (33, 1, 80), (530, 1, 20)]
    {
        let dims = Dims { tokens, heads, head_dim };
        for rows in [1, tokens.div_ceil(2), tokens] {
            let (int, float) = (ints(Isa::SCALAR, dims, rows), floats(Isa::SCALAR, dims, rows));
            for isa in Isa::available() {
                assert_eq!(ints(isa, dims, rows), int, "{isa} {dims:?} {rows}");
                assert_eq!(floats(isa, dims, rows), float, "{isa} {dims:?} {rows}");
            }
            let worst = int.iter().zip(&float).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 0.15, "{dims:?} {rows}: {worst}");
        }
    }
}

#[test]
fn a_score_that_is_not_finite_makes_its_row_nan_and_no_other() {
    let dims = Dims { tokens: 21, heads: 1, head_dim: 4 };
    for bad in [[f32::MAX, f32::MAX, f32::MIN, 0.0], [f32::MAX; 4], [f32::MIN; 4], [f32::NAN; 4]] {
        for isa in Isa::available() {
            let (mut queries, mut keys, values) = (wave(84, 0.0), wave(84, 1.0), wave(84, 2.0));
            queries[4..8].fill(2.0);
            keys[68..72].copy_from_slice(&bad);
            // Only the second query meets that key; the products of the others are 0.
            queries[..4].fill(0.0);
            queries[8..].fill(0.0);
            let out = floats_of(isa, dims, 21, [&queries, &keys, &values]);
            assert!(out[4..8].iter().all(|v| v.is_nan()), "{isa} {bad:?}: {:?}", &out[4..8]);
            let others = out[..4].iter().chain(&out[8..]);
            assert_eq!(others.clone().all(|v| v.is_finite()), !bad[0].is_nan(), "{isa} {bad:?}");
        }
    }
}

/// `softmax(q k^T / sqrt(head_dim)) v` of head 0 in f64, of what integer attention is given: codes without their
/// rounding.
#[test]
fn integer_attention_is_that_of_its_rounded_operands() {
    for tokens in [7, 130, 600] {
        let dims = Dims { tokens, heads: 1, head_dim: 32 };
        let (queries, mut keys, values) =
            (wave(tokens * 32, 0.0), wave(tokens * 32, 1.0), wave(tokens * 32, 2.0));
        let isa = Isa::best();
        let (mut codes, mut key_codes) = (vec![0; tokens * 32], vec![0; tokens * 32]);
        let (mut quants, mut scales) = (Vec::new(), Vec::new());
        let (mut q, mut k) = (vec![0.0; tokens * 32], Vec::new());
        for i in 0..tokens {
            let part = i * 32..(i + 1) * 32;
            quants.push(quantise::row(isa, &queries[part.clone()], &mut codes[part.clone()]));
            quantise::decode(isa, &codes[part.clone()], quants[i], &mut q[part.clone()]);
            scales.push(quantise::key(isa, &mut keys[part.clone()], &[], &mut key_codes[part.clone()]));
            k.extend(key_codes[part].iter().map(|&code| f64::from(code) * f64::from(scales[i])));
        }
        let (mut packed, mut scratch) = (IntHead::default(), Scratch::default());
        packed.reserve(dims).unwrap();
        scratch.reserve(dims).unwrap();
        let of_keys = QuantisedKeys { codes: &key_codes, scales: &scales };
        pack_int(isa, dims.head(0), of_keys, &values, &mut packed);
        let mut out = vec![0.0; tokens * 32];
        let of_queries = QuantisedRows { codes: &codes, quants: &quants };
        int(isa, dims.head(0), of_queries, &packed, &mut scratch, &mut out);
        for (q, out) in q.chunks_exact(32).zip(out.chunks_exact(32)) {
            let score = |key: &[f64]| q.iter().zip(key).map(|(&q, k)| f64::from(q) * k).sum::<f64>();
            let scores: Vec<f64> = k.chunks_exact(32).map(|key| score(key) / 32f64.sqrt()).collect();
            let largest = scores.iter().copied().fold(f64::MIN, f64::max);
            let p: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
            for (c, &found) in out.iter().enumerate() {
                let sum: f64 =
                    p.iter().zip(values[c..].iter().step_by(32)).map(|(p, &v)| p * f64::from(v)).sum();
                let exact = sum / p.iter().sum::<f64>();
                // Half a step of a value is 3 / 127 / 2. The errors of probabilities have both signs: one of half a
                // step of all of them is the most that is left, in the sum and in what it is divided by.
                assert!(
                    (f64::from(found) - exact).abs() < 0.5 * 3.0 / 127.0 + 2.0 * 0.5 * 3.0 / 255.0,
                    "{tokens}"
                );
            }
        }
    }
}

#[test]
fn a_query_that_is_not_finite_leaves_no_number() {
    let dims = Dims { tokens: 21, heads: 1, head_dim: 4 };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for isa in Isa::available() {
            let (mut queries, keys, values) = (wave(84, 0.0), wave(84, 1.0), wave(84, 2.0));
            queries[9] = bad;
            let out = ints_of(isa, dims, 21, [&queries, &keys, &values]);
            assert!(out[8..12].iter().all(|v| v.is_nan()), "{isa} {bad}: {:?}", &out[8..12]);
            assert!(out[..8].iter().chain(&out[12..]).all(|v| v.is_finite()), "{isa} {bad}");
        }
    }
}

#[test]
fn memory_of_other_dimensions_changes_nothing() {
    for isa in Isa::available() {
        let mut memory = (IntHead::default(), Scratch::default());
        for (tokens, heads, head_dim) in [(230, 1, 20), (33, 1, 80), (70, 2, 64), (5, 2, 12), (1, 1, 4)] {
            let dims = Dims { tokens, heads, head_dim };
            let len = tokens * dims.dim();
            let of = [&wave(len, 0.0)[..], &wave(len, 1.0), &wave(len, 2.0)];
            assert_eq!(
                ints_in(&mut memory, isa, dims, tokens, of),
                ints_of(isa, dims, tokens, of),
                "{isa} {dims:?}"
            );
        }
    }
}
