//! The operators of a forward pass, and their multiply-accumulates.

use super::{Block, Encoder};
use crate::kernels::linear::PackedLinear;
use crate::kernels::peak::PeakOf;
use crate::quant::Precision;
use crate::vit::{Config, MatMul, Size, SizeError};

/// A kind of operator, summed over all blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Patch extraction, its matrix product with the weights, and learned positions.
    PatchEmbed,
    /// Both LayerNorms of the blocks.
    Norm,
    /// Quantisation of rows to 8-bit codes: queries, keys, and the input of every int8 layer (including attention's
    /// output and the MLP's hidden activations). Absent in floating-point networks.
    Quantise,
    /// The matrix products that compute queries, keys and values.
    Qkv,
    /// RoPE of queries and keys. Absent with learned positions.
    Rope,
    /// Packing of keys and values into the layout of attention's matrix products, and quantisation of values.
    AttentionPack,
    /// Both matrix products of attention, and the softmax between them.
    Attention,
    /// Attention's output projection, added to the residual stream.
    Proj,
    /// The MLP's first matrix product; for SwiGLU, gate and up.
    Fc1,
    /// GELU, or for SwiGLU, SiLU of the gate times up.
    Activation,
    /// The MLP's last matrix product, added to the residual stream.
    Fc2,
    /// LayerNorm of the output and of tapped blocks.
    FinalNorm,
}

impl Operator {
    /// Number of operators.
    pub const COUNT: usize = Operator::ALL.len();

    /// All operators, in the order of a forward pass.
    pub const ALL: [Operator; 12] = [
        Operator::PatchEmbed,
        Operator::Norm,
        Operator::Quantise,
        Operator::Qkv,
        Operator::Rope,
        Operator::AttentionPack,
        Operator::Attention,
        Operator::Proj,
        Operator::Fc1,
        Operator::Activation,
        Operator::Fc2,
        Operator::FinalNorm,
    ];

    /// Name in tables and files.
    pub const fn name(self) -> &'static str {
        match self {
            Operator::PatchEmbed => "patch_embed",
            Operator::Norm => "norm",
            Operator::Quantise => "quantise",
            Operator::Qkv => "qkv",
            Operator::Rope => "rope",
            Operator::AttentionPack => "attention_pack",
            Operator::Attention => "attention",
            Operator::Proj => "proj",
            Operator::Fc1 => "fc1",
            Operator::Activation => "activation",
            Operator::Fc2 => "fc2",
            Operator::FinalNorm => "final_norm",
        }
    }

    /// Multiply-accumulates in one forward pass, over all blocks. Summed over the operators they give [`Config::macs`].
    ///
    /// # Errors
    /// [`SizeError`] when `size` is not a whole number of patches.
    pub fn macs(self, config: &Config, size: Size) -> Result<u64, SizeError> {
        let tokens = config.tokens(size)?;
        if self == Operator::PatchEmbed {
            return Ok(config.patch_embed_macs(tokens - config.prefix()));
        }
        Ok(config.depth as u64 * self.macs_of_block(config, tokens))
    }

    /// Multiply-accumulates of one block on `tokens` tokens.
    fn macs_of_block(self, config: &Config, tokens: usize) -> u64 {
        let product = match self {
            Operator::Qkv => MatMul::Qkv,
            Operator::Attention => MatMul::Attention,
            Operator::Proj => MatMul::Proj,
            Operator::Fc1 => MatMul::Up,
            Operator::Fc2 => MatMul::Down,
            _ => return 0,
        };
        config.macs_of(product, tokens)
    }
}

/// Multiply-accumulates by data type. Blocks may differ in precision, as the converter chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Macs {
    /// Integer products: int8 layers and int8 attention.
    pub int8: u64,
    /// Layers with fp16 weights; the products are computed in f32.
    pub fp16: u64,
    /// Single-precision products.
    pub f32: u64,
}

impl Macs {
    /// The sum over all data types.
    pub const fn total(&self) -> u64 {
        self.int8 + self.fp16 + self.f32
    }

    /// The data type with the most multiply-accumulates; `None` if there are none.
    pub fn precision(&self) -> Option<Precision> {
        let each = [(self.int8, Precision::Int8), (self.fp16, Precision::Fp16), (self.f32, Precision::F32)];
        let (macs, precision) = each.into_iter().max_by_key(|(macs, _)| *macs)?;
        (macs > 0).then_some(precision)
    }

    /// Lower bound on the time in seconds, where `peak` gives the peak multiply-accumulates per second.
    pub fn least_seconds(&self, peak: impl Fn(PeakOf) -> f64) -> f64 {
        let seconds = |macs: u64, of| if macs == 0 { 0.0 } else { macs as f64 / peak(of) };
        seconds(self.int8, PeakOf::Int8) + seconds(self.fp16 + self.f32, PeakOf::F32)
    }

    /// Adds `macs` to the count for `precision`.
    fn add(&mut self, precision: Precision, macs: u64) {
        *match precision {
            Precision::Int8 => &mut self.int8,
            Precision::Fp16 => &mut self.fp16,
            Precision::F32 => &mut self.f32,
        } += macs;
    }
}

fn precision(layer: &PackedLinear) -> Precision {
    match (layer.is_int8(), layer.is_f16()) {
        (true, _) => Precision::Int8,
        (_, true) => Precision::Fp16,
        _ => Precision::F32,
    }
}

impl Block {
    /// The data type of an operator's products. The layers of one operator come from the same matrix or have the same
    /// precision.
    fn precision(&self, operator: Operator) -> Precision {
        match operator {
            Operator::Qkv => precision(&self.values),
            Operator::Attention if self.int8_attention => Precision::Int8,
            Operator::Proj => precision(&self.proj),
            Operator::Fc1 => precision(self.mlp.up()),
            Operator::Fc2 => precision(self.mlp.down()),
            _ => Precision::F32,
        }
    }
}

impl Encoder {
    /// Multiply-accumulates of an operator on an image of `size`, by the data types that this network uses.
    ///
    /// # Errors
    /// [`SizeError`] when `size` is not a whole number of patches.
    pub fn macs(&self, operator: Operator, size: Size) -> Result<Macs, SizeError> {
        let mut macs = Macs::default();
        if operator == Operator::PatchEmbed {
            macs.add(precision(&self.patch), operator.macs(&self.config, size)?);
            return Ok(macs);
        }
        let each = operator.macs_of_block(&self.config, self.config.tokens(size)?);
        self.blocks.iter().for_each(|block| macs.add(block.precision(operator), each));
        Ok(macs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::cards;

    #[test]
    fn the_parts_sum_to_the_whole_for_every_card() {
        for card in cards() {
            let config = &card.architecture;
            for size in [Size::square(224), Size { height: 16 * 5, width: 16 * 9 }] {
                let parts: u64 = Operator::ALL.iter().map(|o| o.macs(config, size).unwrap()).sum();
                assert_eq!(parts, config.macs(size).unwrap(), "{} at {size}", card.name);
            }
            assert!(Operator::Fc1.macs(config, Size::square(17)).is_err());
        }
    }

    #[test]
    fn all_is_in_the_order_of_the_numbers_and_names_differ() {
        for (i, operator) in Operator::ALL.into_iter().enumerate() {
            assert_eq!(operator as usize, i);
            assert!(Operator::ALL[..i].iter().all(|o| o.name() != operator.name()));
        }
    }

    #[test]
    fn the_precision_is_that_of_most() {
        assert_eq!(Macs::default().precision(), None);
        let macs = Macs { int8: 300, fp16: 100, f32: 20 };
        assert_eq!((macs.total(), macs.precision()), (420, Some(Precision::Int8)));
        let seconds = macs.least_seconds(|of| if of == PeakOf::Int8 { 100.0 } else { 40.0 });
        assert_eq!(seconds, 3.0 + 3.0);
        assert_eq!(Macs { f32: 1, ..Macs::default() }.precision(), Some(Precision::F32));
    }
}
