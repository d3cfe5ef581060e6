//! The reference: a plain f32 forward pass that can be read from top to bottom like the paper.

use ndarray::{Array2, ArrayView2, Axis, s};

use super::position::learned_positions;
use super::{Block, Config, FeedForward, Linear, Norm, Positions, RopeTable, Size, SizeError, Weights};

/// The intermediate results that help to find an error; each is `[tokens, dim]` in the order CLS, registers, patches
/// row by row.
#[derive(Clone, Debug)]
pub struct Trace {
    /// After patch embedding, with CLS, registers and learned positions.
    pub embedded: Array2<f32>,
    /// The residual stream after each block.
    pub blocks: Vec<Array2<f32>>,
    /// After the final LayerNorm: the features.
    pub output: Array2<f32>,
}

/// Runs the model on `pixels`: `[3, height, width]`, preprocessed, row-major.
///
/// # Errors
/// [`SizeError`] if `size` is not a whole number of patches.
///
/// # Panics
/// If `pixels` has another length, or `weights` have not passed [`Weights::validate`] for `config`.
pub fn forward(config: &Config, weights: &Weights, pixels: &[f32], size: Size) -> Result<Trace, SizeError> {
    assert_eq!(pixels.len(), 3 * size.area());
    let (rows, cols) = size.grid(config.patch)?;
    let mut x = Array2::zeros((config.tokens(size)?, config.dim));
    let prefix = config.prefix();
    x.row_mut(0).assign(&ndarray::aview1(&weights.cls));
    x.slice_mut(s![1..prefix, ..]).assign(&view(&weights.registers, config.registers, config.dim));
    let patches = linear(&patches(config.patch, pixels, size, rows, cols), &weights.patch);
    x.slice_mut(s![prefix.., ..]).assign(&patches);

    let rope = match config.positions {
        Positions::Rope => Some(RopeTable::new(&weights.rope_periods, rows, cols)),
        Positions::Learned { .. } => {
            let positions = learned_positions(config, &weights.positions, size)?;
            let positions = view(&positions, 1 + rows * cols, config.dim);
            // Registers have no position.
            let mut cls = x.row_mut(0);
            cls += &positions.row(0);
            let mut patches = x.slice_mut(s![prefix.., ..]);
            patches += &positions.slice(s![1.., ..]);
            None
        }
    };

    let embedded = x.clone();
    let mut blocks = Vec::with_capacity(config.depth);
    for block in &weights.blocks {
        let normed = layer_norm(&x, &block.norm1, config.norm_eps);
        x += &scaled(attention(config, block, &normed, rope.as_ref()), &block.scale1);
        let normed = layer_norm(&x, &block.norm2, config.norm_eps);
        x += &scaled(mlp(&block.mlp, &normed), &block.scale2);
        blocks.push(x.clone());
    }
    let output = layer_norm(&x, &weights.norm, config.norm_eps);
    Ok(Trace { embedded, blocks, output })
}

fn view(values: &[f32], rows: usize, cols: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, cols), values).expect("weights were validated")
}

/// Cuts the image into patches: `[rows * cols, 3 * patch * patch]`, each row in the order channel, y, x.
fn patches(patch: usize, pixels: &[f32], size: Size, rows: usize, cols: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows * cols, 3 * patch * patch), |(p, i)| {
        let (channel, y, x) = (i / (patch * patch), i / patch % patch, i % patch);
        let (y, x) = (p / cols * patch + y, p % cols * patch + x);
        pixels[channel * size.area() + y * size.width + x]
    })
}

/// `x W^T + b`
fn linear(x: &Array2<f32>, layer: &Linear) -> Array2<f32> {
    let outputs = layer.bias.len();
    x.dot(&view(&layer.weight, outputs, x.ncols()).t()) + ndarray::aview1(&layer.bias)
}

fn layer_norm(x: &Array2<f32>, norm: &Norm, eps: f32) -> Array2<f32> {
    let mean = x.mean_axis(Axis(1)).expect("a token has channels").insert_axis(Axis(1));
    let centred = x - &mean;
    let variance = centred.mapv(|v| v * v).mean_axis(Axis(1)).expect("a token has channels");
    let std = variance.mapv(|v| (v + eps).sqrt()).insert_axis(Axis(1));
    centred / &std * ndarray::aview1(&norm.weight) + ndarray::aview1(&norm.bias)
}

/// Applies LayerScale; an empty `scale` means there is none.
fn scaled(x: Array2<f32>, scale: &[f32]) -> Array2<f32> {
    if scale.is_empty() { x } else { x * ndarray::aview1(scale) }
}

/// Multi-head self-attention of `x`: `[tokens, dim]`.
fn attention(config: &Config, block: &Block, x: &Array2<f32>, rope: Option<&RopeTable>) -> Array2<f32> {
    let (dim, head_dim, prefix) = (config.dim, config.head_dim(), config.prefix());
    let mut qkv = linear(x, &block.qkv);
    if let Some(rope) = rope {
        for (patch, mut row) in qkv.rows_mut().into_iter().skip(prefix).enumerate() {
            let row = row.as_slice_mut().expect("rows are contiguous");
            for head in row[..2 * dim].chunks_exact_mut(head_dim) {
                rope.rotate(patch, head);
            }
        }
    }
    let mut heads = Array2::zeros(x.raw_dim());
    for h in 0..config.heads {
        let part = |i: usize| qkv.slice(s![.., i * dim + h * head_dim..i * dim + (h + 1) * head_dim]);
        let (q, k, v) = (part(0), part(1), part(2));
        let scores = q.dot(&k.t()) / (head_dim as f32).sqrt();
        heads.slice_mut(s![.., h * head_dim..(h + 1) * head_dim]).assign(&softmax(scores).dot(&v));
    }
    linear(&heads, &block.proj)
}

/// Softmax of each row.
fn softmax(mut scores: Array2<f32>) -> Array2<f32> {
    for mut row in scores.rows_mut() {
        let max = row.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        row.mapv_inplace(|v| (v - max).exp());
        let sum = row.sum();
        row.mapv_inplace(|v| v / sum);
    }
    scores
}

fn mlp(weights: &FeedForward<Linear>, x: &Array2<f32>) -> Array2<f32> {
    match weights {
        FeedForward::Gelu { up, down } => linear(&linear(x, up).mapv(gelu), down),
        FeedForward::SwiGlu { gate, up, down } => {
            let hidden = linear(x, gate).mapv(|v| v / (1.0 + (-v).exp())) * linear(x, up);
            linear(&hidden, down)
        }
    }
}

/// The exact GELU, `x/2 (1 + erf(x / sqrt 2))` (arXiv 1606.08415).
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}
