//! Layers on every instruction set give the bits of the plain version, which are those of the definition.

use super::*;
use crate::kernels::quantise;

/// Values from -1 to 1 without a pattern.
fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 2f32.powi(23) - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Rows, outputs and inputs: tails of tiles, panels and groups, and more rows than some blocks hold.
const SHAPES: [(usize, usize, usize); 7] =
    [(1, 1, 1), (2, 16, 4), (5, 17, 7), (13, 40, 24), (14, 3, 33), (27, 33, 130), (98, 17, 1536)];

/// Results of `layer` for `rows`: stored, and added to existing values.
fn applied(layer: &PackedLinear, rows: Rows, m: usize) -> [Vec<f32>; 2] {
    let mut scratch = Scratch::of(layer, m);
    [OutputMode::Store, OutputMode::Add].map(|into| {
        let mut out = numbers(m * layer.outputs, 9);
        layer.apply(rows, &mut scratch, &mut out, into);
        out
    })
}

/// Compares int8 layers of `weight` on every instruction set with exact sums.
fn check_int8(m: usize, n: usize, k: usize, weight: &[i8]) {
    let (x, bias, scales) = (numbers(m * k, 1), numbers(n, 2), numbers(n, 3));
    let stride = codes_stride(k);
    for isa in Isa::available() {
        let (mut codes, mut quants) = (vec![0; m * stride], vec![QuantParams::default(); m]);
        for (r, quant) in quants.iter_mut().enumerate() {
            *quant = quantise::row(isa, &x[r * k..][..k], &mut codes[r * stride..][..k]);
        }
        let layer = PackedLinear::int8(isa, weight, &scales, &bias);
        assert!(layer.is_int8() && !layer.is_f16());
        let rows = Rows::Codes(QuantisedRows { codes: &codes, quants: &quants });
        let [stored, added] = applied(&layer, rows, m);
        for (i, before) in numbers(m * n, 9).into_iter().enumerate() {
            let (r, c) = (i / n, i % n);
            let code = |i: usize| match isa.code_offset() {
                0 => i32::from(codes[r * stride + i]),
                _ => i32::from(codes[r * stride + i] as i8),
            };
            let sum: i32 = (0..k).map(|i| (code(i) - quants[r].zero) * i32::from(weight[c * k + i])).sum();
            let y = (sum as f32).mul_add(quants[r].scale * scales[c], bias[c]);
            assert_eq!((stored[i], added[i]), (y, before + y), "{isa} {m} x {n} x {k}: row {r}, column {c}");
        }
    }
}

#[test]
fn int8_sums_are_exact_whatever_the_weights() {
    for (m, n, k) in SHAPES {
        for most in [63, 64, 127] {
            let weight = |v: f32| (v * (most as f32 + 1.0)) as i8;
            check_int8(m, n, k, &numbers(n * k, 4).into_iter().map(weight).collect::<Vec<_>>());
            check_int8(m, n, k, &vec![most; n * k]);
            check_int8(m, n, k, &vec![-most; n * k]);
        }
    }
}

#[test]
#[should_panic(expected = "a weight is -128")]
fn a_weight_that_int8_layers_do_not_have_is_refused() {
    PackedLinear::int8(Isa::best(), &[3, -128], &[1.0], &[0.0]);
}

#[test]
fn floats_are_chains_and_fp16_weights_give_the_bits_of_the_same_in_f32() {
    for (m, n, k) in SHAPES {
        let (x, bias) = (numbers(m * k, 1), numbers(n, 2));
        let half: Vec<f16> = numbers(n * k, 4).into_iter().map(f16::from_f32).collect();
        let weight: Vec<f32> = half.iter().map(|w| w.to_f32()).collect();
        let chain = |r: usize, c: usize| {
            let (x, w) = (&x[r * k..][..k], &weight[c * k..][..k]);
            x.iter().zip(w).fold(0.0, |sum, (x, w)| f32::mul_add(*x, *w, sum)) + bias[c]
        };
        let expected: Vec<f32> = (0..m * n).map(|i| chain(i / n, i % n)).collect();
        let added: Vec<f32> = numbers(m * n, 9).iter().zip(&expected).map(|(a, b)| a + b).collect();
        for isa in Isa::available() {
            for layer in [PackedLinear::f32(isa, &weight, &bias), PackedLinear::f16(isa, &half, &bias)] {
                assert!(!layer.is_int8());
                assert_eq!(applied(&layer, Rows::Float(&x), m), [expected.clone(), added.clone()], "{isa}");
            }
        }
    }
}
