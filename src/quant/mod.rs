//! Precision: what a network's weights are held in, and the file of a converted model.
//!
//! A [`Network`] is what the kernels run: LayerScale folded in, every matrix in f32, fp16 or int8, each block with its
//! own choice. [`Network::from_weights`] holds everything in f32.

mod error;
pub mod file;
mod plan;
mod report;

use half::f16;

pub use error::QuantError;
pub use file::{Licence, QuantModel, Source};
pub use plan::{BlockPrecision, INT7, INT8, Precision, PrecisionPlan, Products, WeightPrecision};
pub use report::{Agreement, ConversionReport, Cosine};

use crate::vit::{self, Config, FeedForward, Norm, Weights};

/// A matrix of weights, `[outputs, inputs]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Matrix {
    /// IEEE single precision.
    F32(Vec<f32>),
    /// IEEE half precision; products are computed in f32 on the widened values.
    F16(Vec<f16>),
    /// Symmetric int8 for each output channel: `w = values * scale`. Never -128.
    Int8 {
        /// `[outputs, inputs]`, -127 to 127. Rows within -63 to 63 run faster on CPUs without dot-product instructions
        /// (`kernels::tile`).
        values: Vec<i8>,
        /// `[outputs]`
        scales: Vec<f32>,
    },
}

/// A dense layer `y = x W^T + b` in the precision of its matrix.
///
/// With an int8 matrix each row of `x` is quantised to 8 bits (scale and zero point for each token, found at run time).
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// `[outputs, inputs]`
    pub weight: Matrix,
    /// `[outputs]`
    pub bias: Vec<f32>,
}

/// One pre-norm block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// LayerNorm before attention.
    pub norm1: Norm,
    /// Query, key and value, stacked: `[3 * dim, dim]`.
    pub qkv: Layer,
    /// Whether both products of attention are computed in integers.
    pub int8_attention: bool,
    /// `[dim]`, subtracted from every key (after RoPE) before it is quantised, which softmax does not see: it only
    /// makes keys smaller. Empty: nothing is subtracted.
    pub key_centre: Vec<f32>,
    /// Output projection of attention: `[dim, dim]`.
    pub proj: Layer,
    /// LayerNorm before the MLP.
    pub norm2: Norm,
    /// The MLP.
    pub mlp: FeedForward<Layer>,
    /// `[hidden]`, multiplies the MLP's hidden activations: the smoothing of `down`'s input. Empty: ones.
    pub hidden_scale: Vec<f32>,
}

/// A network ready to be packed for an instruction set.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The architecture; `layer_scale` is false, being folded in.
    pub config: Config,
    /// Patch embedding: `[dim, 3 * patch * patch]`, F32 or F16.
    pub patch: Layer,
    /// `[dim]`
    pub cls: Vec<f32>,
    /// `[registers, dim]`
    pub registers: Vec<f32>,
    /// `[1 + rows * cols, dim]`, or empty.
    pub positions: Vec<f32>,
    /// `[head_dim / 4]`, or empty.
    pub rope_periods: Vec<f32>,
    /// The encoder.
    pub blocks: Vec<Block>,
    /// LayerNorm of all tokens at the end.
    pub norm: Norm,
}

impl Layer {
    /// The matrix of a layer of which nothing is rounded yet.
    pub(crate) fn exact(&self) -> &[f32] {
        let Matrix::F32(values) = &self.weight else { panic!("{NOT_F32}") };
        values
    }

    pub(crate) fn exact_mut(&mut self) -> &mut Vec<f32> {
        let Matrix::F32(values) = &mut self.weight else { panic!("{NOT_F32}") };
        values
    }

    /// Holds the matrix in half precision from now on, unless a value exceeds its range (65504).
    pub(crate) fn halve(&mut self) {
        if let Matrix::F32(values) = &self.weight {
            let half: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
            if half.iter().all(|v| v.is_finite()) {
                self.weight = Matrix::F16(half);
            }
        }
    }
}

pub(crate) const NOT_F32: &str = "what is smoothed and rounded is in f32";

impl From<vit::Linear> for Layer {
    fn from(layer: vit::Linear) -> Layer {
        Layer { weight: Matrix::F32(layer.weight), bias: layer.bias }
    }
}

impl From<vit::Block> for Block {
    /// In f32. LayerScale must have been folded in: there is no place for it.
    fn from(block: vit::Block) -> Block {
        Block {
            norm1: block.norm1,
            qkv: block.qkv.into(),
            int8_attention: false,
            key_centre: Vec::new(),
            proj: block.proj.into(),
            norm2: block.norm2,
            mlp: block.mlp.into_map(Layer::from),
            hidden_scale: Vec::new(),
        }
    }
}

impl Network {
    /// All of `weights` in f32; LayerScale is folded in.
    ///
    /// `weights` must have passed [`Weights::validate`] for `config`.
    pub fn from_weights(config: &Config, mut weights: Weights) -> Network {
        weights.fold_layer_scale();
        Network {
            config: Config { layer_scale: false, ..*config },
            patch: weights.patch.into(),
            cls: weights.cls,
            registers: weights.registers,
            positions: weights.positions,
            rope_periods: weights.rope_periods,
            blocks: weights.blocks.into_iter().map(Block::from).collect(),
            norm: weights.norm,
        }
    }

    /// The same network with its matrices in half precision; one with a value beyond its range (65504) stays as it is.
    pub(crate) fn halved(&self) -> Network {
        let mut network = self.clone();
        network.patch.halve();
        for block in &mut network.blocks {
            block.qkv.halve();
            block.proj.halve();
            block.mlp.layers_mut().for_each(Layer::halve);
        }
        network
    }
}
