//! Which part of a network has which precision.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Block, Layer, Matrix, Network};
use crate::kernels::tile::{GemmTypes, U8S8};

/// Largest magnitude of a weight at [`WeightPrecision::Int7`]: the sum of two products with unsigned bytes,
/// `2 * 255 * 63`, fits in i16.
pub const INT7: i8 = 63;

/// Largest magnitude of a weight at [`WeightPrecision::Int8`].
pub const INT8: i8 = 127;

/// The overall precision of a model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Everything in single precision.
    F32,
    /// Matrices in half precision.
    Fp16,
    /// Matrices in int8 where that is accurate enough.
    Int8,
}

impl Precision {
    /// Name on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Fp16 => "fp16",
            Precision::Int8 => "int8",
        }
    }
}

/// Number format of a layer's matrix, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightPrecision {
    /// Int8 within [`INT7`]: faster on CPUs without dot-product instructions.
    Int7,
    /// Int8 within [`INT8`].
    Int8,
    /// Half precision.
    Fp16,
    /// Single precision.
    F32,
}

/// Arithmetic of attention's matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Products {
    /// In integers.
    Int8,
    /// In floating point.
    Float,
}

/// The precision of each part of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockPrecision {
    /// Query, key and value.
    pub qkv: WeightPrecision,
    /// Both matrix products of attention.
    pub attention: Products,
    /// Output projection of attention.
    pub proj: WeightPrecision,
    /// The MLP's `up`, and `gate` for SwiGLU.
    pub up: WeightPrecision,
    /// The MLP's `down`.
    pub down: WeightPrecision,
}

/// The precision of each part of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrecisionPlan {
    /// Patch embedding: F32 or F16.
    pub patch: WeightPrecision,
    /// The encoder's blocks.
    pub blocks: Vec<BlockPrecision>,
}

impl WeightPrecision {
    /// The precision of `layer`.
    pub fn of(layer: &Layer) -> WeightPrecision {
        match &layer.weight {
            Matrix::F32(_) => WeightPrecision::F32,
            Matrix::F16(_) => WeightPrecision::Fp16,
            Matrix::Int8 { values, .. } if values.iter().all(|v| (-INT7..=INT7).contains(v)) => {
                WeightPrecision::Int7
            }
            Matrix::Int8 { .. } => WeightPrecision::Int8,
        }
    }

    /// Largest magnitude of a weight, for integer precisions.
    pub const fn limit(self) -> Option<i8> {
        match self {
            WeightPrecision::Int7 => Some(INT7),
            WeightPrecision::Int8 => Some(INT8),
            WeightPrecision::Fp16 | WeightPrecision::F32 => None,
        }
    }
}

impl Products {
    /// The cheapest arithmetic for heads of `head_dim` channels. The integer kernels need whole groups of channels.
    pub fn cheapest(head_dim: usize) -> Products {
        if head_dim.is_multiple_of(U8S8::GROUP) { Products::Int8 } else { Products::Float }
    }
}

impl PrecisionPlan {
    /// The precisions that `network` has.
    pub fn of(network: &Network) -> PrecisionPlan {
        PrecisionPlan {
            patch: WeightPrecision::of(&network.patch),
            blocks: network.blocks.iter().map(BlockPrecision::of).collect(),
        }
    }

    /// Number of block layers at each precision, and number of blocks with integer attention.
    fn counts(&self) -> ([usize; 4], usize) {
        let mut counts = [0; 4];
        for block in &self.blocks {
            for level in block.layers() {
                counts[level as usize] += 1;
            }
        }
        let int8 = self.blocks.iter().filter(|block| block.attention == Products::Int8).count();
        (counts, int8)
    }
}

impl BlockPrecision {
    fn of(block: &Block) -> BlockPrecision {
        BlockPrecision {
            qkv: WeightPrecision::of(&block.qkv),
            attention: if block.int8_attention { Products::Int8 } else { Products::Float },
            proj: WeightPrecision::of(&block.proj),
            up: block.mlp.first().map(WeightPrecision::of).max().expect("an up layer"),
            down: WeightPrecision::of(block.mlp.down()),
        }
    }

    /// The precisions of qkv, proj, up and down.
    pub fn layers(&self) -> [WeightPrecision; 4] {
        [self.qkv, self.proj, self.up, self.down]
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Precision::F32 => "f32",
            Precision::Fp16 => "fp16",
            Precision::Int8 => "int8",
        })
    }
}

impl fmt::Display for WeightPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            WeightPrecision::Int7 => "int7",
            WeightPrecision::Int8 => "int8",
            WeightPrecision::Fp16 => "fp16",
            WeightPrecision::F32 => "f32",
        })
    }
}

impl fmt::Display for Products {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Products::Int8 => "int8",
            Products::Float => "float",
        })
    }
}

/// One line: `layers 40 int7, 4 int8, 4 fp16; attention 12 int8; patch embedding fp16`.
impl fmt::Display for PrecisionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (counts, int8) = self.counts();
        let levels =
            [WeightPrecision::Int7, WeightPrecision::Int8, WeightPrecision::Fp16, WeightPrecision::F32];
        let layers: Vec<String> = levels
            .into_iter()
            .filter(|&level| counts[level as usize] > 0)
            .map(|level| format!("{} {level}", counts[level as usize]))
            .collect();
        let attention: Vec<String> = [(int8, "int8"), (self.blocks.len() - int8, "float")]
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, name)| format!("{n} {name}"))
            .collect();
        write!(
            f,
            "layers {}; attention {}; patch embedding {}",
            layers.join(", "),
            attention.join(", "),
            self.patch
        )
    }
}
