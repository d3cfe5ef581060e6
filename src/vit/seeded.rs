//! Untrained weights drawn from a seed, for latency measurements without a checkpoint.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use super::{Block, Config, FeedForward, Linear, Mlp, Norm, Positions, Weights, default_periods};

/// Standard deviation of a matrix's entries: the usual ViT initialisation.
const STD: f32 = 0.02;

/// Weights of `config` from `seed`: matrices, tokens and learned positions are normal with standard deviation 0.02,
/// biases are zero, norm weights and LayerScale are one. They are the same on every machine (ChaCha8).
pub fn seeded_weights(config: &Config, seed: u64) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let normal = Normal::new(0.0, STD).expect("a positive deviation");
    let mut draw = |n: usize| -> Vec<f32> { normal.sample_iter(&mut rng).take(n).collect() };
    let Config { dim, hidden, patch, registers, .. } = *config;
    let mut linear =
        |outputs: usize, inputs: usize| Linear { weight: draw(outputs * inputs), bias: vec![0.0; outputs] };
    let norm = || Norm { weight: vec![1.0; dim], bias: vec![0.0; dim] };
    let scale = || if config.layer_scale { vec![1.0; dim] } else { Vec::new() };
    let patch = linear(dim, 3 * patch * patch);
    let blocks = (0..config.depth)
        .map(|_| Block {
            norm1: norm(),
            qkv: linear(3 * dim, dim),
            proj: linear(dim, dim),
            scale1: scale(),
            norm2: norm(),
            mlp: match config.mlp {
                Mlp::Gelu => FeedForward::Gelu { up: linear(hidden, dim), down: linear(dim, hidden) },
                Mlp::SwiGlu => FeedForward::SwiGlu {
                    gate: linear(hidden, dim),
                    up: linear(hidden, dim),
                    down: linear(dim, hidden),
                },
            },
            scale2: scale(),
        })
        .collect();
    let (positions, rope_periods) = match config.positions {
        Positions::Rope => (Vec::new(), default_periods(config.head_dim())),
        Positions::Learned { rows, cols, .. } => (draw((1 + rows * cols) * dim), Vec::new()),
    };
    Weights {
        patch,
        cls: draw(dim),
        registers: draw(registers * dim),
        positions,
        rope_periods,
        blocks,
        norm: norm(),
    }
}
