//! For people who use tract: puts our encoder into a model that they loaded themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::ThreadPool;
use tract_core::internal::*;
use tract_core::transform::ModelTransform;

use super::encoder_op::{EncoderOp, Host, Made};
use crate::checkpoint::Model;
use crate::checkpoint::onnx::{Proof, Recognised, recognised, reroute};
use crate::convert::{Calibration, convert};
use crate::encoder::{Cache, Encoder, Plan};
use crate::kernels::Isa;
use crate::quant::{Network, Precision};
use crate::vit::Config;

/// How [`accelerate`] runs a backbone.
#[derive(Clone, Default)]
pub struct Accelerate {
    /// Number format of the backbone's matrices: f32 if it is not given.
    pub precision: Option<Precision>,
    /// Images as the backbone reads them, for int8.
    pub calibration: Option<Calibration>,
    /// The instruction set: the fastest of this CPU if it is not given.
    pub isa: Option<Isa>,
    /// The threads that the backbone runs on, best those of tract's `Executor::MultiThread`; the caller's if there are
    /// none.
    pub threads: Option<Arc<ThreadPool>>,
    /// Whether a run of both shows that the backbone was understood.
    pub proof: Option<Proof>,
}

/// Replaces the vision transformer in `model`, if there is one, by one operator that runs it on our kernels, and returns
/// its architecture. `model` must be typed, with known shapes, best before `declutter`, which takes patterns apart that are
/// looked for; what it computes stays the same, up to the rounding of the precision asked for. Without a backbone of the
/// family, `model` stays as it is.
///
/// ```no_run
/// use microraptor::graph::accelerate::{Accelerate, accelerate};
/// use tract_core::prelude::*;
/// use tract_onnx::prelude::*;
///
/// # fn main() -> TractResult<()> {
/// let onnx = tract_onnx::onnx().with_ignore_value_info(true);
/// let mut model = onnx.model_for_path("segmenter.onnx")?;
/// model.set_input_fact(0, f32::fact([1, 3, 224, 224]).into())?;
/// let mut model = model.into_typed()?;
/// let found = accelerate(&mut model, &Accelerate::default())?;
/// println!("{found:?}");
/// let plan = model.into_optimized()?.into_runnable()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If tract refuses a step, or the conversion to int8 fails (it needs images).
pub fn accelerate(model: &mut TypedModel, options: &Accelerate) -> TractResult<Option<Config>> {
    let mut folded = model.clone();
    folded.prop_consts()?;
    let Some(found) = recognised(&folded, options.proof.unwrap_or(Proof::Run))? else { return Ok(None) };
    let Recognised { config, weights, pixels, batch, size, streams, tokens, .. } = found;
    let network = match options.precision.unwrap_or(Precision::F32) {
        Precision::F32 => Network::from_weights(&config, weights),
        precision => {
            let calibration = options
                .calibration
                .as_ref()
                .context("int8 and fp16 are measured on images: none are given")?;
            let model = Model::of_parts("graph".into(), config, weights);
            convert(model, precision, calibration, None, isa(options), &())?.network
        }
    };
    let encoder = Arc::new(Encoder::new(network, isa(options)));
    let all = streams.into_iter().enumerate().map(|(block, outlet)| (Made::Stream(block), outlet));
    let all: Vec<(Made, OutletId)> = all.chain(tokens.map(|outlet| (Made::Tokens, outlet))).collect();
    let read = read(&folded, &all.iter().map(|(_, outlet)| *outlet).collect())?;
    let ends: Vec<(Made, OutletId)> = all.into_iter().filter(|(_, outlet)| read.contains(outlet)).collect();
    let streams: Vec<usize> = ends
        .iter()
        .filter_map(|(made, _)| match made {
            Made::Stream(block) => Some(*block),
            Made::Tokens | Made::Layer(_) => None,
        })
        .collect();
    let count = options.threads.as_ref().map_or(1, |threads| threads.current_num_threads());
    let plan = Plan::new(&encoder, size, count)?
        .within(&encoder, Cache::UNKNOWN)
        .with_streams(&encoder, &streams)?;
    let outputs = ends.iter().map(|(made, _)| *made).collect();
    let host = options.threads.clone().map_or(Host::Caller, Host::Shared);
    let op = EncoderOp { encoder, plan: Arc::new(plan), batch, outputs, host, interrupt: Arc::default() };
    let made = folded.wire_node("microraptor.encoder", op, &[pixels])?;
    let mut results = folded.output_outlets()?.to_vec();
    for ((_, old), new) in ends.iter().zip(made) {
        reroute(&mut folded, *old, new)?;
        results.iter_mut().filter(|result| *result == old).for_each(|result| *result = new);
    }
    folded.select_output_outlets(&results)?;
    folded.compact()?;
    *model = folded;
    Ok(Some(config))
}

fn isa(options: &Accelerate) -> Isa {
    options.isa.unwrap_or_else(Isa::best)
}

/// Which of `ends` the outputs of `model` need, if what is before an end is not looked at.
fn read(model: &TypedModel, ends: &BTreeSet<OutletId>) -> TractResult<BTreeSet<OutletId>> {
    let (mut seen, mut read) = (BTreeSet::new(), BTreeSet::new());
    let mut pending = model.output_outlets()?.to_vec();
    while let Some(outlet) = pending.pop() {
        if ends.contains(&outlet) {
            read.insert(outlet);
        } else if seen.insert(outlet) {
            pending.extend(&model.node(outlet.node).inputs);
        }
    }
    Ok(read)
}

/// [`accelerate`] with its default options, as a transform of tract: `get_transform("microraptor")`.
#[derive(Debug)]
pub struct Transform;

impl ModelTransform for Transform {
    fn name(&self) -> StaticName {
        "microraptor".into()
    }

    fn transform(&self, model: &mut TypedModel) -> TractResult<()> {
        accelerate(model, &Accelerate::default()).map(drop)
    }
}

tract_core::register_simple_model_transform!("microraptor", Transform);
