//! Our encoder as an operator of tract.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::ThreadPool;
use tract_core::internal::*;

use crate::encoder::{Encoder, Interrupt, Plan, Workspace};
use crate::kernels::pool::Pool;

/// A value that the operator makes of each image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// The residual stream after a block, counted from 0.
    Stream(usize),
    /// The tokens after the final norm.
    Tokens,
    /// The tokens after a block, counted from 0, and the final norm.
    Layer(usize),
}

/// Whose threads an encoder in a graph runs on.
#[derive(Clone)]
pub(super) enum Host {
    /// The calling thread alone.
    Caller,
    /// Those that tract's operators run on, too.
    Shared(Arc<ThreadPool>),
    /// Its own: tract runs the rest of the graph on the calling thread.
    Own(Arc<Mutex<Pool>>),
}

/// The encoder for one size of image: from `[batch, 3, height, width]` to `[batch, tokens, dim]` for each output.
#[derive(Clone)]
pub(super) struct EncoderOp {
    pub encoder: Arc<Encoder>,
    pub plan: Arc<Plan>,
    /// Number of images.
    pub batch: usize,
    pub outputs: Vec<Made>,
    pub host: Host,
    pub interrupt: Arc<Interrupt>,
}

impl fmt::Debug for EncoderOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EncoderOp { batch, outputs, .. } = self;
        write!(f, "EncoderOp {{ config: {:?}, batch: {batch}, outputs: {outputs:?} }}", self.encoder.config())
    }
}

impl PartialEq for EncoderOp {
    fn eq(&self, other: &EncoderOp) -> bool {
        Arc::ptr_eq(&self.encoder, &other.encoder)
            && Arc::ptr_eq(&self.plan, &other.plan)
            && (self.batch, &self.outputs) == (other.batch, &other.outputs)
    }
}

impl Eq for EncoderOp {}

impl EncoderOp {
    fn output_shape(&self) -> [usize; 3] {
        [self.batch, self.plan.tokens(), self.encoder.config().dim]
    }
}

impl Op for EncoderOp {
    fn name(&self) -> StaticName {
        "MicroraptorEncoder".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let config = self.encoder.config();
        Ok(vec![format!("{} blocks of width {} on {:?}", config.depth, config.dim, self.encoder.isa())])
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl EvalOp for EncoderOp {
    not_out_of_plan!();

    fn state(&self, _: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(State::default())))
    }
}

impl TypedOp for EncoderOp {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let size = self.plan.size();
        let expected = [self.batch, 3, size.height, size.width];
        let shape = inputs.first().and_then(|fact| fact.shape.as_concrete());
        ensure!(inputs.len() == 1 && shape == Some(&expected), "an encoder of {expected:?} reads {inputs:?}");
        Ok(self.outputs.iter().map(|_| f32::fact(self.output_shape())).collect())
    }

    fn cost(&self, _: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        let macs = self.encoder.config().macs(self.plan.size())?;
        Ok(tvec!((Cost::FMA(f32::datum_type()), TDim::from(macs as i64 * self.batch as i64))))
    }

    as_op!();
}

/// Working memory, kept from one run to the next.
#[derive(Default)]
struct State {
    workspace: Workspace,
    /// Whether the workspace has been made large enough.
    reserved: bool,
}

impl Clone for State {
    fn clone(&self) -> State {
        State::default()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State {{ reserved: {} }}", self.reserved)
    }
}

impl State {
    /// What `op` makes of `pixels`, its images one after the other.
    fn run(&mut self, op: &EncoderOp, pool: &mut Pool, pixels: &[f32]) -> TractResult<TVec<TValue>> {
        let (encoder, plan) = (&*op.encoder, &*op.plan);
        // With one image, what the workspace holds becomes a tensor in one copy.
        let mut batch: Vec<Vec<f32>> = vec![Vec::new(); op.outputs.len()];
        let mut made = tvec![];
        for pixels in pixels.chunks_exact(3 * plan.size().area()) {
            encoder.run(plan, &mut self.workspace, pool, pixels)?;
            for (output, all) in op.outputs.iter().zip(&mut batch) {
                let place =
                    |kept: &[usize], layer| kept.iter().position(|&kept| kept == layer).context("not kept");
                let found = match *output {
                    Made::Tokens => self.workspace.features(encoder, plan),
                    Made::Stream(block) => {
                        self.workspace.stream(encoder, plan, place(plan.streams(), block)?)
                    }
                    Made::Layer(block) => self.workspace.tap(encoder, plan, place(plan.taps(), block)?),
                };
                if op.batch == 1 {
                    made.push(Tensor::from_shape(&op.output_shape(), found)?.into());
                } else {
                    all.extend_from_slice(found);
                }
            }
        }
        if op.batch > 1 {
            for all in batch {
                made.push(Tensor::from_shape(&op.output_shape(), &all)?.into());
            }
        }
        Ok(made)
    }
}

impl OpState for State {
    fn eval(&mut self, _: &EvalContext, op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let op = op.downcast_ref::<EncoderOp>().context("the state of an encoder, of another operator")?;
        if !self.reserved {
            self.workspace = Workspace::interrupted_by(op.interrupt.clone());
            self.workspace.reserve(&op.encoder, &op.plan)?;
            self.reserved = true;
        }
        let input = inputs.first().context("an encoder without pixels")?.to_plain_array_view::<f32>()?;
        let pixels = input.as_slice().context("pixels that are not contiguous")?;
        match &op.host {
            Host::Caller => self.run(op, &mut Pool::new(1)?, pixels),
            Host::Shared(threads) => Pool::hosted(threads, |pool| self.run(op, pool, pixels)),
            // A panic leaves a pool as usable as before.
            Host::Own(pool) => self.run(op, &mut pool.lock().unwrap_or_else(PoisonError::into_inner), pixels),
        }
    }

    fn reset_lanes(&mut self, _: &[LaneId]) -> TractResult<()> {
        // Nothing is kept between runs but memory.
        Ok(())
    }
}
