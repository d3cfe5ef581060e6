//! Smoothing: large channels of an activation are scaled down and the weights that read them are scaled up, so that
//! both fit in 8 bits (SmoothQuant, arXiv 2211.10438).

use rayon::prelude::*;

use super::gptq::{nearest, scales};
use super::round::round_rows;
use crate::kernels::{Isa, matmul};
use crate::quant::{Block, Layer, Matrix, NOT_F32};
use crate::vit::{FeedForward, Norm};

/// Exponents to try. No smoothing comes first, so that it wins a tie.
const EXPONENTS: [Option<f32>; 5] = [None, Some(0.3), Some(0.5), Some(0.7), Some(0.85)];

/// Largest ratio of a factor to the geometric mean, up or down: more does not help, and uses up the range of fp16.
const MAX_FACTOR: f32 = 1e4;

/// Divides the output of a norm by `factors`, `[inputs]`.
pub(super) fn fold_norm(norm: &mut Norm, factors: &[f32]) {
    for ((w, b), s) in norm.weight.iter_mut().zip(&mut norm.bias).zip(factors) {
        *w /= s;
        *b /= s;
    }
}

/// Divides the output channels from `first` on by `factors`.
pub(super) fn fold_outputs(layer: &mut Layer, first: usize, factors: &[f32]) {
    let Layer { weight: Matrix::F32(weight), bias } = layer else { panic!("{NOT_F32}") };
    let inputs = weight.len() / bias.len();
    let rows = weight.chunks_exact_mut(inputs).zip(bias).skip(first);
    for ((row, bias), s) in rows.zip(factors) {
        row.iter_mut().for_each(|w| *w /= s);
        *bias /= s;
    }
}

/// Multiplies the input channels by `factors`.
pub(super) fn fold_inputs(weight: &mut [f32], factors: &[f32]) {
    for row in weight.chunks_exact_mut(factors.len()) {
        row.iter_mut().zip(factors).for_each(|(w, s)| *w *= s);
    }
}

/// Smoothing factors for the input of each of a block's layers.
#[derive(Clone, Debug)]
pub(super) struct Factors {
    pub qkv: Vec<f32>,
    pub proj: Vec<f32>,
    pub up: Vec<f32>,
    pub down: Vec<f32>,
}

/// Folds `factors` into the f32 block `block`. Its output stays the same up to rounding.
pub(super) fn fold(block: &mut Block, factors: &Factors) {
    let dim = block.proj.bias.len();
    fold_norm(&mut block.norm1, &factors.qkv);
    fold_inputs(block.qkv.exact_mut(), &factors.qkv);
    // Attention mixes tokens, not channels: a factor on a channel of the values appears on the same output channel.
    fold_outputs(&mut block.qkv, 2 * dim, &factors.proj);
    fold_inputs(block.proj.exact_mut(), &factors.proj);
    fold_norm(&mut block.norm2, &factors.up);
    match &mut block.mlp {
        FeedForward::Gelu { up, down } => {
            fold_inputs(up.exact_mut(), &factors.up);
            fold_inputs(down.exact_mut(), &factors.down);
            block.hidden_scale = factors.down.iter().map(|s| 1.0 / s).collect();
        }
        FeedForward::SwiGlu { gate, up, down } => {
            fold_inputs(gate.exact_mut(), &factors.up);
            fold_inputs(up.exact_mut(), &factors.up);
            fold_outputs(up, 0, &factors.down);
            fold_inputs(down.exact_mut(), &factors.down);
        }
    }
}

/// A layer's inputs, as seen in calibration.
pub(super) struct Inputs<'a> {
    /// `[inputs]`: largest magnitude of each channel.
    pub largest: &'a [f32],
    /// `[inputs]`: mean square of each channel.
    pub mean_square: &'a [f32],
    /// `[rows, inputs]`: a sample of the rows.
    pub sample: &'a [f32],
}

/// The factors for a layer with `weight`, `[outputs, inputs]`, that minimise the error of its outputs on the sample
/// when inputs and weights are rounded, weights to `-limit..=limit`.
pub(super) fn best(isa: Isa, weight: &[f32], inputs: &Inputs, limit: i8) -> Vec<f32> {
    let k = inputs.largest.len();
    let largest_weight = weight.chunks_exact(k).fold(vec![0.0_f32; k], |mut max, row| {
        max.iter_mut().zip(row).for_each(|(m, w)| *m = m.max(w.abs()));
        max
    });
    let outputs = weight.len() / k;
    let rows = inputs.sample.len() / k;
    let mut exact = vec![0.0; rows * outputs];
    matmul::accumulate(inputs.sample, weight, outputs, &mut exact);
    let tried: Vec<(f64, Vec<f32>)> = EXPONENTS
        .par_iter()
        .map(|exponent| {
            let factors = exponent.map_or(vec![1.0; k], |a| factors(inputs.largest, &largest_weight, a));
            (rounding_error(isa, weight, inputs, &factors, limit, &exact), factors)
        })
        .collect();
    let best = tried.into_iter().reduce(|best, next| if next.0 < best.0 { next } else { best });
    best.expect("some exponents").1
}

/// `largest^a / weight^(1 - a)`, normalised to a geometric mean of 1.
fn factors(largest: &[f32], weight: &[f32], a: f32) -> Vec<f32> {
    let positive = |v: &[f32]| v.iter().fold(0.0_f32, |m, v| m.max(*v)).max(f32::MIN_POSITIVE.sqrt()) * 1e-6;
    let (least_input, least_weight) = (positive(largest), positive(weight));
    let log = |x: f32, w: f32| {
        f64::from(a) * f64::from(x.max(least_input)).ln()
            - f64::from(1.0 - a) * f64::from(w.max(least_weight)).ln()
    };
    let logs: Vec<f64> = largest.iter().zip(weight).map(|(&x, &w)| log(x, w)).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    logs.iter().map(|l| ((l - mean).exp() as f32).clamp(1.0 / MAX_FACTOR, MAX_FACTOR)).collect()
}

/// Mean squared relative error of the output rows over the sample.
fn rounding_error(
    isa: Isa,
    weight: &[f32],
    inputs: &Inputs,
    factors: &[f32],
    limit: i8,
    exact: &[f32],
) -> f64 {
    let k = factors.len();
    let mut x = inputs.sample.to_vec();
    x.chunks_exact_mut(k).for_each(|row| row.iter_mut().zip(factors).for_each(|(x, s)| *x /= s));
    round_rows(isa, &mut x, k);
    let mut w = weight.to_vec();
    fold_inputs(&mut w, factors);
    let diagonal: Vec<f32> = inputs.mean_square.iter().zip(factors).map(|(m, s)| m / (s * s)).collect();
    let scales = scales(&w, &diagonal, limit);
    let rounded = nearest(&w, &scales, limit);
    for ((w, q), s) in w.chunks_exact_mut(k).zip(rounded.chunks_exact(k)).zip(&scales) {
        w.iter_mut().zip(q).for_each(|(w, &q)| *w = f32::from(q) * s);
    }
    let outputs = scales.len();
    let mut out = vec![0.0; exact.len()];
    matmul::accumulate(&x, &w, outputs, &mut out);
    let relative = out.chunks_exact(outputs).zip(exact.chunks_exact(outputs)).map(|(out, exact)| {
        let error: f64 = out.iter().zip(exact).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let size: f64 = exact.iter().map(|b| f64::from(*b).powi(2)).sum();
        error / size.max(f64::from(f32::MIN_POSITIVE))
    });
    relative.sum::<f64>() / (exact.len() / outputs) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::fake_quant::{DenseBlock, Forward};
    use crate::quant::Network;
    use crate::vit::{Config, Mlp, Positions, Size, forward, seeded_weights};

    fn config(mlp: Mlp) -> Config {
        Config {
            dim: 16,
            depth: 3,
            heads: 2,
            patch: 4,
            mlp,
            hidden: 24,
            registers: 2,
            positions: Positions::Rope,
            layer_scale: true,
            norm_eps: 1e-5,
        }
    }

    fn wave(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 37 + seed * 101) as f32 * 0.7).sin()).collect()
    }

    /// Factors that span two powers of ten.
    fn uneven(n: usize, seed: usize) -> Vec<f32> {
        wave(n, seed).iter().map(|v| 10_f32.powf(*v)).collect()
    }

    #[test]
    fn folding_leaves_the_function_as_it_was() {
        let size = Size { height: 12, width: 20 };
        let pixels = wave(3 * size.area(), 1);
        for mlp in [Mlp::Gelu, Mlp::SwiGlu] {
            let config = config(mlp);
            let mut weights = seeded_weights(&config, 5);
            for (i, block) in weights.blocks.iter_mut().enumerate() {
                block.qkv.weight.iter_mut().for_each(|w| *w *= 30.0);
                block.qkv.bias = wave(3 * config.dim, i);
                block.norm1.bias = wave(config.dim, i + 3);
                block.scale1 = uneven(config.dim, i + 6);
            }
            let expected = forward(&config, &weights, &pixels, size).unwrap().output;
            let mut network = Network::from_weights(&config, weights);
            for (i, block) in network.blocks.iter_mut().enumerate() {
                let factors = Factors {
                    qkv: uneven(config.dim, 10 * i),
                    proj: uneven(config.dim, 10 * i + 1),
                    up: uneven(config.dim, 10 * i + 2),
                    down: uneven(config.hidden, 10 * i + 3),
                };
                fold(block, &factors);
                assert_eq!(block.hidden_scale.is_empty(), mlp == Mlp::SwiGlu);
            }
            let ours = Forward::new(&network, size, Isa::best()).unwrap();
            let mut x = ours.embed(&network, &pixels);
            let run = |block: &Block, x: &mut [f32]| ours.block(&DenseBlock::of(block), x, &mut |_, _| {});
            network.blocks.iter().for_each(|block| run(block, &mut x));
            for (a, b) in ours.norm(&network.norm, &x).iter().zip(&expected) {
                // Three blocks of sums of 24 terms, with features around 1: a few hundred rounding errors of 6e-8.
                assert!((a - b).abs() < 1e-4, "{mlp:?}: {a} {b}");
            }
        }
    }

    #[test]
    fn a_planted_outlier_is_undone() {
        let (inputs, outputs, rows) = (32, 12, 64);
        let (mut x, mut w) = (wave(rows * inputs, 1), wave(outputs * inputs, 2));
        let rounded = |x: &[f32], w: &[f32]| {
            let mut largest = vec![0.0_f32; inputs];
            let mut mean_square = vec![0.0_f32; inputs];
            for row in x.chunks_exact(inputs) {
                for (c, v) in row.iter().enumerate() {
                    largest[c] = largest[c].max(v.abs());
                    mean_square[c] += v * v / rows as f32;
                }
            }
            let seen = Inputs { largest: &largest, mean_square: &mean_square, sample: x };
            let mut exact = vec![0.0; rows * outputs];
            matmul::accumulate(x, w, outputs, &mut exact);
            let error = |factors: &[f32]| rounding_error(Isa::best(), w, &seen, factors, 63, &exact);
            (error(&best(Isa::best(), w, &seen, 63)), error(&vec![1.0; inputs]))
        };
        let (before, _) = rounded(&x, &w);
        for (c, factor) in [(3, 50.0), (17, 20.0)] {
            x.iter_mut().skip(c).step_by(inputs).for_each(|v| *v *= factor);
            w.iter_mut().skip(c).step_by(inputs).for_each(|v| *v /= factor);
        }
        let (after, unsmoothed) = rounded(&x, &w);
        assert!(after < 1.5 * before && unsmoothed > 10.0 * before, "{before} {after} {unsmoothed}");
    }
}
