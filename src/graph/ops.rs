//! The operators: PatchEmbed, EncoderBlock and FinalNorm as tract `TypedOp`s over f32 kernels.

use std::sync::Arc;

use tract_core::internal::*;

use super::Scratch;
use crate::kernels::attention::{Dims, attention};
use crate::kernels::{activation, lanes, matmul, norm, patches, rope};
use crate::vit::{Block, Config, MlpWeights, Norm, RopeTable, Weights};

/// What all operators of one plan have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub config: Config,
    pub weights: Arc<Weights>,
    pub rows: usize,
    pub cols: usize,
    pub tokens: usize,
    pub rope: Option<RopeTable>,
    pub scratch: Scratch,
    pub threads: usize,
}

/// Pixels `[3, height, width]` to tokens `[tokens, dim]`.
#[derive(Clone, Debug)]
pub(super) struct PatchEmbed {
    pub shared: Arc<Shared>,
    /// `[tokens, dim]`: CLS, registers, and each patch's bias and position.
    pub base: Vec<f32>,
}

/// One pre-norm block; tokens `[tokens, dim]`, updated in place.
#[derive(Clone, Debug)]
pub(super) struct EncoderBlock {
    pub shared: Arc<Shared>,
    pub index: usize,
}

/// LayerNorm of all tokens at the end, in place.
#[derive(Clone, Debug)]
pub(super) struct FinalNorm {
    pub shared: Arc<Shared>,
}

/// The boilerplate of an operator whose output is `[tokens, dim]`. Two operators are the same if they are the same
/// part of the same plan: tract compares nodes, and comparing weights by value would cost seconds.
macro_rules! token_op {
    ($type:ident, $name:literal, $same:expr) => {
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                let same: fn(&$type, &$type) -> bool = $same;
                Arc::ptr_eq(&self.shared, &other.shared) && same(self, other)
            }
        }

        impl Eq for $type {}

        impl Op for $type {
            fn name(&self) -> StaticName {
                $name.into()
            }

            op_as_typed_op!();
        }

        impl EvalOp for $type {
            not_out_of_plan!();

            fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
                let input = args_1!(inputs);
                self.apply(input)
            }
        }

        impl TypedOp for $type {
            fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
                Ok(tvec!(f32::fact([self.shared.tokens, self.shared.config.dim])))
            }

            as_op!();
        }
    };
}

token_op!(PatchEmbed, "PatchEmbed", |_, _| true);
token_op!(EncoderBlock, "EncoderBlock", |a, b| a.index == b.index);
token_op!(FinalNorm, "FinalNorm", |_, _| true);

/// The values of a dense f32 tensor.
pub(super) fn floats(tensor: &Tensor) -> TractResult<&[f32]> {
    tensor.try_as_plain_ram()?.as_slice::<f32>()
}

fn floats_mut(tensor: &mut Tensor, f: impl FnOnce(&mut [f32])) -> TractResult<()> {
    f(tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
    Ok(())
}

impl PatchEmbed {
    fn apply(&self, pixels: TValue) -> TractResult<TVec<TValue>> {
        let Shared { config, weights, rows, cols, tokens, scratch, threads, .. } = &*self.shared;
        scratch.reserve(config, *tokens, *threads)?;
        let mut out = Tensor::from_shape(&[*tokens, config.dim], &self.base)?;
        let mut buffers = scratch.borrow();
        let cut = &mut buffers.hidden[..rows * cols * 3 * config.patch * config.patch];
        patches::cut(floats(&pixels)?, *rows, *cols, config.patch, cut);
        floats_mut(&mut out, |stream| {
            let patches = &mut stream[config.prefix() * config.dim..];
            matmul::accumulate(cut, &weights.patch.weight, config.dim, patches, *threads);
        })?;
        check_finite(&out, "patch_embed")?;
        Ok(tvec!(out.into_tvalue()))
    }
}

impl EncoderBlock {
    fn apply(&self, stream: TValue) -> TractResult<TVec<TValue>> {
        let block = &self.shared.weights.blocks[self.index];
        // Moves: the plan has dropped its own reference before it calls us.
        let mut stream = stream.into_tensor();
        floats_mut(&mut stream, |x| {
            self.attention(block, x);
            self.mlp(block, x);
        })?;
        check_finite(&stream, &format!("block {}", self.index))?;
        Ok(tvec!(stream.into_tvalue()))
    }

    /// `x += proj(attention(norm1(x)))`, LayerScale being folded into proj.
    fn attention(&self, block: &Block, x: &mut [f32]) {
        let Shared { config, tokens, rope, scratch, threads, .. } = &*self.shared;
        let (dim, threads) = (config.dim, *threads);
        let mut buffers = scratch.borrow();
        let buffers = &mut *buffers;
        let normed = &mut buffers.normed[..tokens * dim];
        let qkv = &mut buffers.qkv[..3 * tokens * dim];
        let by_head = &mut buffers.by_head[..tokens * dim];
        layer_norm(x, &block.norm1, config, normed, threads);
        matmul::linear(normed, &block.qkv.weight, &block.qkv.bias, qkv, threads);
        if let Some(RopeTable { cos, sin, .. }) = rope {
            rope::rotate(qkv, dim, config.head_dim(), config.prefix(), cos, sin, threads);
        }
        let dims = Dims { tokens: *tokens, heads: config.heads, head_dim: config.head_dim() };
        attention(qkv, dims, by_head, &mut buffers.scores, normed, threads);
        matmul::linear_residual(normed, &block.proj.weight, &block.proj.bias, x, threads);
    }

    /// `x += mlp(norm2(x))`, LayerScale being folded into down.
    fn mlp(&self, block: &Block, x: &mut [f32]) {
        let Shared { config, tokens, scratch, threads, .. } = &*self.shared;
        let threads = *threads;
        let mut buffers = scratch.borrow();
        let buffers = &mut *buffers;
        let normed = &mut buffers.normed[..tokens * config.dim];
        let hidden = &mut buffers.hidden[..tokens * config.hidden];
        layer_norm(x, &block.norm2, config, normed, threads);
        match &block.mlp {
            MlpWeights::Gelu { up, down } => {
                matmul::linear(normed, &up.weight, &up.bias, hidden, threads);
                activation::gelu(hidden, threads);
                matmul::linear_residual(hidden, &down.weight, &down.bias, x, threads);
            }
            MlpWeights::SwiGlu { gate, up, down } => {
                let gated = &mut buffers.gate[..tokens * config.hidden];
                matmul::linear(normed, &gate.weight, &gate.bias, gated, threads);
                matmul::linear(normed, &up.weight, &up.bias, hidden, threads);
                activation::silu_times(gated, hidden, threads);
                matmul::linear_residual(gated, &down.weight, &down.bias, x, threads);
            }
        }
    }
}

impl FinalNorm {
    fn apply(&self, stream: TValue) -> TractResult<TVec<TValue>> {
        let Shared { config, weights, tokens, scratch, threads, .. } = &*self.shared;
        let mut stream = stream.into_tensor();
        floats_mut(&mut stream, |x| {
            let mut buffers = scratch.borrow();
            let normed = &mut buffers.normed[..tokens * config.dim];
            layer_norm(x, &weights.norm, config, normed, *threads);
            x.copy_from_slice(normed);
        })?;
        check_finite(&stream, "norm")?;
        Ok(tvec!(stream.into_tvalue()))
    }
}

fn layer_norm(x: &[f32], norm: &Norm, config: &Config, out: &mut [f32], threads: usize) {
    norm::layer_norm(x, &norm.weight, &norm.bias, config.norm_eps, out, threads);
}

/// The contract: a value that is not finite is an error with the name of the layer, never a number handed on.
fn check_finite(stream: &Tensor, layer: &str) -> TractResult<()> {
    if !lanes::all_finite(floats(stream)?) {
        bail!("{layer}: the output holds a NaN or an infinity: check the weights and the input's range");
    }
    Ok(())
}
