//! The start of the residual stream: a convolution that cuts the image into patches, and what joins its result.

use std::collections::BTreeSet;

use tract_core::internal::{OutletId, Tensor, TypedModel, tvec};
use tract_core::ops::array::TypedConcat;
use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec};
use tract_core::ops::nn::DataFormat;
use tract_core::prelude::{IntoRunnable, TractResult};

use crate::checkpoint::onnx::walk::{Mismatch, Walk, reroute, values};
use crate::vit::{Linear, Positions, Size};

/// The start of the residual stream.
pub(super) struct Embedding {
    /// The convolution.
    pub patch: Linear,
    /// Side of a patch.
    pub side: usize,
    /// Number of images.
    pub batch: usize,
    /// What the convolution reads: `[batch, 3, height, width]`.
    pub pixels: OutletId,
    /// What the convolution makes.
    pub patches: OutletId,
    /// Height and width of what the convolution reads.
    pub size: Size,
    /// `[tokens, dim]`: the stream of an image whose patches are zero.
    pub base: Vec<f32>,
    /// Number of tokens.
    pub tokens: usize,
    /// The stream that the first block reads: `[batch, tokens, dim]`.
    pub stream: OutletId,
}

/// What comes before the first block, as [`Weights`](crate::vit::Weights) hold it.
pub(super) struct Start {
    pub patch: Linear,
    pub cls: Vec<f32>,
    pub registers: Vec<f32>,
    pub positions: Vec<f32>,
    pub kind: Positions,
}

impl Embedding {
    /// Divides the base among the parameters. What every patch has in common is a bias of the convolution; what only
    /// some have is a position.
    pub(super) fn start(mut self, (rows, cols): (usize, usize), rotary: bool) -> Start {
        let dim = self.patch.bias.len();
        let mut cls = self.base;
        let mut rest = cls.split_off(dim);
        let patches = rest.split_off(rest.len() - rows * cols * dim);
        let registers = rest;
        let common = rows * cols > 1 && patches.chunks_exact(dim).all(|patch| patch == &patches[..dim]);
        if common {
            self.patch.bias.iter_mut().zip(&patches).for_each(|(bias, common)| *bias += common);
        }
        let (kind, positions) = if rotary || common {
            (Positions::Rope, Vec::new())
        } else {
            // The class token has its position in it.
            (Positions::learned(rows, cols), [vec![0.0; dim], patches].concat())
        };
        cls.truncate(dim);
        Start { patch: self.patch, cls, registers, positions, kind }
    }
}

/// Operators that move values and change none.
const LAYOUT: [&str; 5] = ["Reshape", "MoveAxis", "AddAxis", "RmAxis", "Cast"];

/// The first convolution that starts a residual stream; the error describes why the last one does not.
pub(super) fn embedding(walk: Walk<'_>) -> Result<Embedding, Mismatch> {
    let convolutions = walk.model.nodes().iter().filter(|node| node.op_is::<Conv>());
    let mut reason = "it has no convolution".to_owned();
    for node in convolutions {
        match started_by(walk, node.id) {
            Ok(embedding) => return Ok(embedding),
            Err(mismatch) => reason = mismatch,
        }
    }
    Err(reason)
}

fn started_by(walk: Walk<'_>, convolution: usize) -> Result<Embedding, Mismatch> {
    let (patch, side) = patches(walk, convolution)?;
    let dim = patch.bias.len();
    let pixels = walk.uncast(walk.node(convolution).inputs[0]);
    let Some(&[batch, 3, height, width]) = walk.shape(pixels) else {
        return Err("its convolution does not read colour images".into());
    };
    let size = Size { height, width };
    let (rows, cols) = size.grid(side).map_err(|error| error.to_string())?;
    let patches = OutletId::new(convolution, 0);
    let stream = stream(walk, patches)?;
    let tokens = match walk.shape(stream) {
        Some(&[b, tokens, d]) if (b, d) == (batch, dim) && tokens > rows * cols => tokens,
        shape => {
            let least = rows * cols + 1;
            return Err(format!(
                "its tokens have the shape {shape:?}, expected [{batch}, {least} or more, {dim}]"
            ));
        }
    };
    let base = base(walk.model, patches, stream).map_err(|error| error.to_string())?;
    let base = base.get(..tokens * dim).ok_or("its tokens cannot be computed")?.to_vec();
    Ok(Embedding { patch, side, batch, pixels, patches, size, base, tokens, stream })
}

/// The convolution's parameters and the side of a patch.
fn patches(walk: Walk<'_>, convolution: usize) -> Result<(Linear, usize), Mismatch> {
    let node = walk.node(convolution);
    let conv = node.op_as::<Conv>().ok_or("it has no convolution")?;
    let kernel = walk.constant(node.inputs[1]).ok_or("the kernel of its convolution is not constant")?;
    let &[dim, 3, side, width] = kernel.shape() else {
        return Err(format!("its convolution has a kernel of shape {:?}", kernel.shape()));
    };
    let pool = &conv.pool_spec;
    let unpadded = match &pool.padding {
        PaddingSpec::Valid => true,
        PaddingSpec::Explicit(before, after) => before.iter().chain(after).all(|&pad| pad == 0),
        _ => false,
    };
    let plain = conv.group == 1
        && conv.q_params.is_none()
        && conv.kernel_fmt == KernelFormat::OIHW
        && pool.data_format == DataFormat::NCHW
        && pool.strides.as_deref() == Some(&[side, side][..])
        && pool.dilations.iter().flatten().all(|&dilation| dilation == 1);
    if side != width || !unpadded || !plain {
        return Err("its convolution does not cut the image into square patches".into());
    }
    let bias = match node.inputs.get(2) {
        Some(&bias) => walk.constant(bias).and_then(values).ok_or("the patch bias is not constant")?,
        None => vec![0.0],
    };
    // tract represents an absent bias by a scalar.
    let bias = if bias.len() == 1 { vec![bias[0]; dim] } else { bias };
    Ok((Linear { weight: values(kernel).ok_or("the patch kernel is not f32")?, bias }, side))
}

/// Follows the patches to the residual stream: through changes of layout, sums with constants (positions, a bias) and
/// Concats with constant tokens (class token, registers).
fn stream(walk: Walk<'_>, patches: OutletId) -> Result<OutletId, Mismatch> {
    let mut at = patches;
    loop {
        let readers = walk.readers(at);
        let next = match readers[..] {
            [reader] if LAYOUT.contains(&walk.name(reader).as_str()) => Some(reader),
            [reader] if walk.with_constant(reader, "Add").is_some() => Some(reader),
            [reader] => joins(walk, reader, &[at]).then_some(reader),
            // The class token and the patches are parted, and registers put between them.
            _ => {
                let parts: Vec<OutletId> = readers.iter().map(|&reader| OutletId::new(reader, 0)).collect();
                let sliced =
                    readers.iter().all(|&reader| ["Slice", "StridedSlice"].contains(&&*walk.name(reader)));
                let concat = parts.first().filter(|_| sliced).and_then(|&part| walk.reader(part));
                concat.filter(|&concat| joins(walk, concat, &parts))
            }
        };
        match next {
            Some(next) => at = OutletId::new(next, 0),
            None if at == patches => return Err("its patches are read in an unknown way".into()),
            None => return Ok(at),
        }
    }
}

/// Whether `node` concatenates `parts` and constants along the axis of tokens.
fn joins(walk: Walk<'_>, node: usize, parts: &[OutletId]) -> bool {
    let Some(concat) = walk.node(node).op_as::<TypedConcat>() else { return false };
    let inputs = walk.node(node).inputs.iter().map(|&input| walk.uncast(input));
    let variable: BTreeSet<OutletId> = inputs.filter(|&input| walk.constant(input).is_none()).collect();
    let parts: BTreeSet<OutletId> = parts.iter().map(|&part| walk.uncast(part)).collect();
    concat.axis == 1 && variable == parts
}

/// The values of `stream` if every patch is zero.
fn base(model: &TypedModel, patches: OutletId, stream: OutletId) -> TractResult<Vec<f32>> {
    let mut part = model.clone();
    let fact = part.outlet_fact(patches)?.clone();
    let shape = fact.shape.as_concrete().map(<[usize]>::to_vec).unwrap_or_default();
    let zero = part.add_source("microraptor.zero", fact.without_value())?;
    reroute(&mut part, patches, zero)?;
    part.set_input_outlets(&[zero])?;
    part.select_output_outlets(&[stream])?;
    part.compact()?;
    let outputs = part.into_runnable()?.run(tvec![Tensor::zero::<f32>(&shape)?.into()])?;
    Ok(outputs[0].to_plain_array_view::<f32>()?.iter().copied().collect())
}
