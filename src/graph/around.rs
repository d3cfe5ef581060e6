//! Our encoder, put into the graph that was found around it.

use std::sync::{Arc, Mutex};

use rayon::ThreadPool;
use tract_core::internal::*;
use tract_core::ops::cnn::Deconv;
use tract_core::ops::logic::IfThenElse;
use tract_core::ops::scan::Scan;

use super::encoder_op::{EncoderOp, Host, Made};
use super::onnx_error::OnnxRunError;
use crate::checkpoint::onnx::{Joint, Surroundings, Within, reroute};
use crate::encoder::{Cache, Encoder, Interrupt, Plan};
use crate::kernels::pool::Pool;
use crate::vit::{Size, StandIn};

/// The threads of a plan, and what they have.
#[derive(Clone, Default)]
pub struct Threads {
    /// The threads of tract and of an encoder within; `None` for the caller's.
    pub pool: Option<Arc<ThreadPool>>,
    /// As many, for an encoder whose graph has so little else to do that tract needs none. They wait for the next image
    /// as those of a backbone alone do.
    pub encoder: Option<Arc<Mutex<Pool>>>,
    /// Cache available to each.
    pub cache: Option<Cache>,
    /// What may end an encoder's run.
    pub interrupt: Arc<Interrupt>,
}

/// A graph with an encoder in it. Its outputs are the graph's own, the encoder's tokens, and those of each layer.
pub(super) struct Placed {
    pub model: TypedModel,
    /// Rows and columns of patches.
    pub grid: (usize, usize),
    /// Which of the graph's own outputs are more than the encoder's tokens.
    pub keep: Vec<bool>,
    pub stand_in: StandIn,
    /// Whether tract runs on the calling thread.
    pub alone: bool,
}

/// Puts `encoder` into the graph `surroundings`, for images of `size`, on `threads`; the outputs of its blocks `layers`
/// are kept.
///
/// # Errors
/// As [`OnnxModel::plan`](super::onnx::OnnxModel::plan).
pub(super) fn around(
    surroundings: &Surroundings,
    encoder: &Arc<Encoder>,
    size: Size,
    threads: &Threads,
    layers: &[usize],
) -> Result<Placed, OnnxRunError> {
    let config = encoder.config();
    let Within { mut model, joints, pixels, size, batch, base, outputs } =
        surroundings.within(config, size)?;
    let streams: Vec<usize> = joints
        .iter()
        .filter_map(|joint| match joint {
            Joint::Stream(block) => Some(*block),
            Joint::Tokens => None,
        })
        .collect();
    let count = threads.pool.as_ref().map_or(1, |pool| pool.current_num_threads());
    let mut plan = Plan::new(encoder, size, count)?
        .within(encoder, threads.cache.unwrap_or(Cache::UNKNOWN))
        .with_taps(encoder, layers)?
        .with_streams(encoder, &streams)?;
    if let Some(base) = base {
        plan = plan.with_base(&base);
    }
    let grid = plan.grid();
    let mut made: Vec<Made> = joints
        .iter()
        .map(|joint| match *joint {
            Joint::Stream(block) => Made::Stream(block),
            Joint::Tokens => Made::Tokens,
        })
        .collect();
    // What the graph reads need not be made twice.
    let known = [Made::Tokens].into_iter().chain(layers.iter().map(|&layer| Made::Layer(layer)));
    let ends: Vec<usize> = known
        .map(|end| {
            made.iter().position(|made| *made == end).unwrap_or_else(|| {
                made.push(end);
                made.len() - 1
            })
        })
        .collect();
    let alone = light(&model);
    let host = match (&threads.pool, &threads.encoder) {
        (_, Some(pool)) if alone => Host::Own(pool.clone()),
        (Some(pool), _) => Host::Shared(pool.clone()),
        (None, _) => Host::Caller,
    };
    let alone = !matches!(host, Host::Shared(_));
    let (encoder, interrupt) = (encoder.clone(), threads.interrupt.clone());
    let op = EncoderOp { encoder, plan: Arc::new(plan), batch, outputs: made, host, interrupt };
    let keep = surroundings.source().guarded(|| place(&mut model, op, pixels, &ends, outputs))?;
    let other = !surroundings.normalised();
    let stand_in = StandIn { cls: other, patch: other };
    Ok(Placed { model, grid, keep, stand_in, alone })
}

/// Puts `op` into `model`, where it reads `pixels` and makes the inputs behind the first. The outputs are then the first
/// `outputs`, and those of the operator that `also` names. Returns which of the first are not simply its tokens.
fn place(
    model: &mut TypedModel,
    op: EncoderOp,
    pixels: OutletId,
    also: &[usize],
    outputs: usize,
) -> TractResult<Vec<bool>> {
    let inputs = model.input_outlets()?.to_vec();
    let tokens: Vec<bool> = op.outputs.iter().map(|made| *made == Made::Tokens).collect();
    let made = model.wire_node("microraptor.encoder", op, &[pixels])?;
    let mut ends = model.output_outlets()?[..outputs].to_vec();
    let mut keep = vec![true; outputs];
    for (place, source) in inputs.iter().skip(1).enumerate() {
        reroute(model, *source, made[place])?;
        for (end, keep) in ends.iter_mut().zip(&mut keep).filter(|(end, _)| **end == *source) {
            *end = made[place];
            *keep = !tokens[place];
        }
    }
    ends.extend(also.iter().map(|&place| made[place]));
    model.set_input_outlets(&inputs[..1])?;
    model.select_output_outlets(&ends)?;
    model.compact()?;
    Ok(keep)
}

/// What tract does around an encoder on the calling thread: to wake other threads takes about as long as these would
/// save of so many multiply-adds (0.4 ms) and values.
const LIGHT_MACS: usize = 20_000_000;
const LIGHT_VALUES: usize = 2_000_000;

/// Whether `model`, a graph without its encoder, has so little to do that one thread should. Not if that is unknown: of
/// shapes that depend on values, and of operators with graphs of their own.
fn light(model: &TypedModel) -> bool {
    let work = model.nodes().iter().try_fold((0_usize, 0_usize), |(macs, values), node| {
        let inputs = model.node_input_facts(node.id).ok()?;
        if inputs.is_empty() {
            return Some((macs, values));
        }
        let made = node.outputs.iter().try_fold(0_usize, |sum, output| {
            let volume = usize::try_from(output.fact.shape.volume().as_i64()?).ok()?;
            Some(sum.saturating_add(volume))
        })?;
        Some((macs.saturating_add(macs_of(node, &inputs, made)?), values.saturating_add(made)))
    });
    work.is_some_and(|(macs, values)| macs <= LIGHT_MACS && values <= LIGHT_VALUES)
}

/// Multiply-adds of an operator that makes `made` values; `None` if they are not known.
fn macs_of(node: &TypedNode, inputs: &[&TypedFact], made: usize) -> Option<usize> {
    if let Some(deconv) = node.op_as::<Deconv>() {
        // tract names no cost: each value of the input meets the kernel of each output channel of its group.
        let kernel: usize = deconv.pool_spec.kernel_shape.iter().product();
        let volume = usize::try_from(inputs.first()?.shape.volume().as_i64()?).ok()?;
        let outputs = deconv.pool_spec.output_channels / deconv.group.max(1);
        return Some(volume.saturating_mul(kernel).saturating_mul(outputs));
    }
    if node.op_is::<Scan>() || node.op_is::<IfThenElse>() {
        return None;
    }
    let costs = node.op.as_typed()?.cost(inputs).ok()?;
    let of = |(cost, count): &(Cost, TDim)| {
        if cost.is_compute() { usize::try_from(count.as_i64()?).ok() } else { Some(0) }
    };
    let macs = costs.iter().try_fold(0_usize, |sum, cost| Some(sum.saturating_add(of(cost)?)))?;
    // Of operators that say nothing: one for each value.
    Some(if costs.is_empty() { made } else { macs })
}
