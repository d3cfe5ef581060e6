//! Int8 candidates for each block: its smoothing, its rounded weights at both integer precisions, its mean key.

use std::borrow::Cow;

use rayon::prelude::*;

use super::error::ConvertError;
use super::fake_quant::{DenseBlock, Forward, Site, check_finite};
use super::gptq::{self, Factor};
use super::smooth::{self, Factors, Inputs, fold};
use crate::kernels::Isa;
use crate::kernels::linalg::gram;
use crate::quant::{Block, BlockPrecision, INT7, INT8, Layer, Products, WeightPrecision};
use crate::vit::{Config, FeedForward};

/// Number of rows of a layer's input that smoothing is chosen on.
const SAMPLE: usize = 256;

/// Weight of the CLS token in a layer's Hessian, relative to 1 for a patch. It is one token in two hundred, but half of
/// what heads read.
const CLS_WEIGHT: f32 = 16.0;

/// Everything needed to build a block at any precision from the f32 block. The f32 block itself is not stored: a second
/// copy of every f32 weight would be a third of the converter's memory.
pub(super) struct Candidates {
    factors: Factors,
    key_centre: Vec<f32>,
    /// Rounded layers qkv, proj, up and down, each at Int7 and at Int8; with SwiGLU `up` holds gate and up.
    rounded: [[Vec<Layer>; 2]; 4],
}

impl Candidates {
    /// The block that `plan` describes, built from the f32 block `reference`.
    pub fn at(&self, reference: &Block, plan: &BlockPrecision) -> Block {
        let mut block = reference.clone();
        fold(&mut block, &self.factors);
        block.key_centre = self.key_centre.clone();
        let levels = plan.layers();
        let put = |layers: &mut [&mut Layer], which: usize| {
            for (i, layer) in layers.iter_mut().enumerate() {
                match levels[which] {
                    WeightPrecision::Int7 => **layer = self.rounded[which][0][i].clone(),
                    WeightPrecision::Int8 => **layer = self.rounded[which][1][i].clone(),
                    WeightPrecision::Fp16 => layer.halve(),
                    WeightPrecision::F32 => {}
                }
            }
        };
        put(&mut [&mut block.qkv], 0);
        put(&mut [&mut block.proj], 1);
        put(&mut block.mlp.first_mut().collect::<Vec<_>>(), 2);
        put(&mut [block.mlp.down_mut()], 3);
        block.int8_attention = plan.attention == Products::Int8;
        block
    }
}

/// Inputs of a block's layers over all tokens of all calibration images: `[rows, inputs]`.
struct Seen {
    qkv: Vec<f32>,
    proj: Vec<f32>,
    up: Vec<f32>,
    down: Vec<f32>,
    /// `[rows, dim]`, after RoPE.
    keys: Vec<f32>,
}

/// Runs the f32 block `reference` on the residual streams, which are replaced by its output, and computes its
/// candidates.
pub(super) fn candidates(
    forward: &Forward,
    config: &Config,
    index: usize,
    reference: &Block,
    streams: &mut [Vec<f32>],
) -> Result<Candidates, ConvertError> {
    let seen = observe(forward, config, index, reference, streams)?;
    let (dim, hidden) = (config.dim, config.hidden);
    let (images, isa) = (streams.len(), forward.isa);
    let qkv = Layers { seen: seen.qkv, inputs: dim, images };
    let proj = Layers { seen: seen.proj, inputs: dim, images };
    let up = Layers { seen: seen.up, inputs: dim, images };
    let down = Layers { seen: seen.down, inputs: hidden, images };
    let up_weights = match &reference.mlp {
        FeedForward::Gelu { up, .. } => Cow::Borrowed(up.exact()),
        FeedForward::SwiGlu { gate, up, .. } => Cow::Owned([gate.exact(), up.exact()].concat()),
    };
    let factors = Factors {
        qkv: qkv.smoothing(isa, reference.qkv.exact()),
        proj: proj.smoothing(isa, reference.proj.exact()),
        up: up.smoothing(isa, &up_weights),
        down: down.smoothing(isa, reference.mlp.down().exact()),
    };
    drop(up_weights);
    let mut smooth = reference.clone();
    fold(&mut smooth, &factors);
    let rounded = [
        qkv.rounded(&factors.qkv, &[&smooth.qkv]),
        proj.rounded(&factors.proj, &[&smooth.proj]),
        up.rounded(&factors.up, &smooth.mlp.first().collect::<Vec<_>>()),
        down.rounded(&factors.down, &[smooth.mlp.down()]),
    ];
    let key_centre = key_centre(&seen.keys, dim, config.head_dim());
    Ok(Candidates { factors, key_centre, rounded })
}

/// Runs `reference` on each stream and collects the inputs of its layers, in image order.
fn observe(
    forward: &Forward,
    config: &Config,
    index: usize,
    reference: &Block,
    streams: &mut [Vec<f32>],
) -> Result<Seen, ConvertError> {
    let dense = DenseBlock::of(reference);
    let dim = config.dim;
    let mut each = streams
        .par_iter_mut()
        .enumerate()
        .map(|(image, x)| {
            let mut seen = std::collections::BTreeMap::new();
            forward.block(&dense, x, &mut |site, values| {
                let values = match site {
                    Site::Rotated => values
                        .chunks_exact(3 * dim)
                        .flat_map(|row| row[dim..2 * dim].iter().copied())
                        .collect(),
                    _ => values.to_vec(),
                };
                seen.insert(site, values);
            });
            check_finite(x, || format!("block {index}"), image)?;
            Ok(seen)
        })
        .collect::<Result<Vec<_>, ConvertError>>()?;
    // The parts of one site are freed before the next is gathered.
    let mut gather = |site: Site| -> Vec<f32> {
        let parts: Vec<Vec<f32>> = each.iter_mut().filter_map(|seen| seen.remove(&site)).collect();
        parts.concat()
    };
    Ok(Seen {
        qkv: gather(Site::Qkv),
        proj: gather(Site::Proj),
        up: gather(Site::Up),
        down: gather(Site::Down),
        keys: gather(Site::Rotated),
    })
}

/// The layers that share one input.
struct Layers {
    /// `[rows, inputs]`
    seen: Vec<f32>,
    inputs: usize,
    /// Number of images that the rows come from.
    images: usize,
}

impl Layers {
    /// The smoothing factors of their input. `weight` holds the rows of all the layers.
    fn smoothing(&self, isa: Isa, weight: &[f32]) -> Vec<f32> {
        let k = self.inputs;
        let (mut largest, mut mean_square) = (vec![0.0_f32; k], vec![0.0_f32; k]);
        for row in self.seen.chunks_exact(k) {
            for ((m, s), v) in largest.iter_mut().zip(&mut mean_square).zip(row) {
                *m = m.max(v.abs());
                *s += v * v;
            }
        }
        let rows = self.seen.len() / k;
        mean_square.iter_mut().for_each(|s| *s /= rows as f32);
        let count = rows.min(SAMPLE);
        let row = |i: usize| &self.seen[i * rows / count * k..][..k];
        let sample: Vec<f32> = (0..count).flat_map(|i| row(i).iter().copied()).collect();
        let inputs = Inputs { largest: &largest, mean_square: &mean_square, sample: &sample };
        smooth::best(isa, weight, &inputs, INT7)
    }

    /// `layers`, with `factors` already folded in, rounded at Int7 and at Int8.
    fn rounded(mut self, factors: &[f32], layers: &[&Layer]) -> [Vec<Layer>; 2] {
        let k = self.inputs;
        let image = self.seen.len() / self.images;
        for cls in self.seen.chunks_exact_mut(image).map(|image| &mut image[..k]) {
            cls.iter_mut().for_each(|v| *v *= CLS_WEIGHT.sqrt());
        }
        let mut hessian = gram(&self.seen, k);
        for (row, a) in hessian.chunks_exact_mut(k).zip(factors) {
            row.iter_mut().zip(factors).for_each(|(h, b)| *h /= a * b);
        }
        let factor = Factor::new(&hessian, k);
        [INT7, INT8].map(|limit| {
            let round = |layer: &&Layer| Layer {
                weight: gptq::round(layer.exact(), &factor, limit),
                bias: layer.bias.clone(),
            };
            layers.iter().map(round).collect()
        })
    }
}

/// The mean key, `[dim]`, of `keys`, `[rows, dim]`; empty if subtracting it does not make the keys smaller.
fn key_centre(keys: &[f32], dim: usize, head_dim: usize) -> Vec<f32> {
    let mut mean = vec![0.0_f64; dim];
    for row in keys.chunks_exact(dim) {
        mean.iter_mut().zip(row).for_each(|(m, k)| *m += f64::from(*k));
    }
    let rows = (keys.len() / dim) as f64;
    let centre: Vec<f32> = mean.iter().map(|m| (m / rows) as f32).collect();
    let largest = |centre: &dyn Fn(usize) -> f32| -> f64 {
        keys.chunks_exact(head_dim)
            .enumerate()
            .map(|(i, head)| {
                let first = i * head_dim % dim;
                let size = |(c, k): (usize, &f32)| (k - centre(first + c)).abs();
                f64::from(head.iter().enumerate().map(size).fold(0.0, f32::max))
            })
            .sum()
    };
    if largest(&|c| centre[c]) < largest(&|_| 0.0) { centre } else { Vec::new() }
}
