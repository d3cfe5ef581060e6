//! Precision: the number formats of a network's weights, and the file of a converted model.
//!
//! A [`Network`] is what the kernels run: LayerScale is folded in, and every matrix is in f32, fp16 or int8, chosen per
//! layer. [`Network::from_weights`] keeps everything in f32.

mod attestation;
mod error;
pub mod file;
mod plan;
mod report;

use half::f16;

pub use attestation::{Attestation, AttestedRun};
pub use error::QuantError;
pub use file::{ConvertedModel, Licence, ModelFile, Source};
pub use plan::{BlockPrecision, INT7, INT8, Precision, PrecisionPlan, Products, WeightPrecision};
pub use report::{Agreement, ConversionReport, Cosine, OutputAgreement};

use crate::vit::{self, Config, FeedForward, Norm, Weights};

/// A matrix of weights, `[outputs, inputs]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Matrix {
    /// IEEE single precision.
    F32(Vec<f32>),
    /// IEEE half precision; products are computed in f32 on the widened values.
    F16(Vec<f16>),
    /// Symmetric int8 with one scale per output channel: `w = values * scale`. Never -128.
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
/// With an int8 matrix each row of `x` is quantised to 8 bits at run time (per-token scale and zero point).
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
    /// Whether both matrix products of attention are computed in integers.
    pub int8_attention: bool,
    /// `[dim]`, subtracted from every key (after RoPE) before quantisation. Softmax is invariant to it; it only reduces
    /// the keys' range. Empty: nothing is subtracted.
    pub key_centre: Vec<f32>,
    /// Output projection of attention: `[dim, dim]`.
    pub proj: Layer,
    /// LayerNorm before the MLP.
    pub norm2: Norm,
    /// The MLP.
    pub mlp: FeedForward<Layer>,
    /// `[hidden]`, multiplies the MLP's hidden activations: the smoothing of `down`'s input. Empty: no scaling.
    pub hidden_scale: Vec<f32>,
}

/// A network ready to be packed for an instruction set.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The architecture; `layer_scale` is false, as LayerScale is folded in.
    pub config: Config,
    /// Patch embedding: `[dim, 3 * patch * patch]`, F32 or F16.
    pub patch: Layer,
    /// `[dim]`
    pub cls: Vec<f32>,
    /// `[registers, dim]`
    pub registers: Vec<f32>,
    /// `[1 + rows * cols, dim]`; empty with RoPE.
    pub positions: Vec<f32>,
    /// `[head_dim / 4]`; empty with learned positions.
    pub rope_periods: Vec<f32>,
    /// The encoder's blocks.
    pub blocks: Vec<Block>,
    /// Final LayerNorm, applied to all tokens.
    pub norm: Norm,
}

impl Layer {
    /// The matrix of a layer that has not been rounded yet.
    pub(crate) fn exact(&self) -> &[f32] {
        let Matrix::F32(values) = &self.weight else { panic!("{NOT_F32}") };
        values
    }

    pub(crate) fn exact_mut(&mut self) -> &mut Vec<f32> {
        let Matrix::F32(values) = &mut self.weight else { panic!("{NOT_F32}") };
        values
    }

    /// Converts the matrix to half precision, unless a value exceeds the range (65504).
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
    /// In f32. LayerScale must have been folded in: this struct has no field for it.
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
    /// Builds the network from `weights` in f32, with LayerScale folded in.
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

    /// The same network with its matrices in half precision. A matrix with a value beyond the range (65504) stays in
    /// f32.
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
