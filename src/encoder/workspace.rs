//! Working memory, which a plan grows before a run and never during one.

use std::collections::TryReserveError;
use std::sync::Arc;
use std::time::Instant;

use atomic_refcell::AtomicRefCell;

use super::interrupt::Interrupt;
use super::rows::{Qkv, QuantisedBuffer};
use super::times::{Clock, nanoseconds};
use super::{Encoder, EncoderError, Operator, OperatorTimes, Plan, STEP_ROWS};
use crate::kernels::aligned::Aligned;
use crate::kernels::attention::{self, FloatHead, IntHead};
use crate::kernels::linear::{self, codes_stride};

/// Working memory for one image at a time, large enough for every plan it was reserved for.
#[derive(Default)]
pub struct Workspace {
    /// The residual stream, `[tokens, dim]`; after a run it holds the features.
    pub(super) stream: Aligned<f32>,
    /// The tapped outputs, `[taps, tokens, dim]`.
    pub(super) taps: Aligned<f32>,
    /// The streams that are kept, `[streams, tokens, dim]`.
    pub(super) streams: Aligned<f32>,
    pub(super) qkv: Qkv,
    pub(super) heads: PackedHeads,
    /// One per thread. The cell only checks for exclusive use and never blocks: each worker is used by one thread.
    pub(super) workers: Vec<AtomicRefCell<Worker>>,
    /// What may end a run.
    pub(super) interrupt: Arc<Interrupt>,
    /// Whether runs are timed, and the times of the last one.
    timed: bool,
    times: Option<OperatorTimes>,
}

/// Packed keys and values of every head; each empty if no block's attention is of that kind.
#[derive(Default)]
pub(super) struct PackedHeads {
    pub int: Vec<IntHead>,
    pub float: Vec<FloatHead>,
}

/// A thread's working memory for one unit.
#[derive(Default)]
pub(super) struct Worker {
    pub input: LayerInput,
    /// `[unit, dim]`: queries or keys before quantisation, then attention's output.
    pub wide: Aligned<f32>,
    pub hidden: Hidden,
    /// Scratch memory of the layers.
    pub layers: linear::Scratch,
    /// Scratch memory of attention.
    pub scratch: attention::Scratch,
    pub clock: Clock,
}

/// Inputs of layers that read `dim` channels: rows after a norm, or codes.
#[derive(Default)]
pub(super) struct LayerInput {
    /// `[dim]`: a row after a norm, before quantisation.
    pub row: Aligned<f32>,
    /// `[unit, dim]`: rows after a norm; empty if every layer after a norm is int8.
    pub normed: Aligned<f32>,
    /// Codes `[unit, codes_stride(dim)]`, parameters `[unit]`.
    pub codes: QuantisedBuffer,
}

/// Hidden activations.
#[derive(Default)]
pub(super) struct Hidden {
    /// `[step, hidden]`, or extracted patches.
    pub values: Aligned<f32>,
    /// `[step, hidden]`, for SwiGLU.
    pub gate: Aligned<f32>,
    /// Codes `[unit, codes_stride(hidden)]`, parameters `[unit]`.
    pub codes: QuantisedBuffer,
}

impl Workspace {
    /// An empty one, whose runs `interrupt` may end.
    pub fn interrupted_by(interrupt: Arc<Interrupt>) -> Workspace {
        Workspace { interrupt, ..Workspace::default() }
    }

    /// The tokens after the final norm from the last run of `plan`: what [`Encoder::run`] returned.
    pub fn features(&self, encoder: &Encoder, plan: &Plan) -> &[f32] {
        &self.stream[..plan.tokens * encoder.config().dim]
    }

    /// The tokens of tap number `index` from the last run of `plan`, `[tokens, dim]` in the same order as
    /// [`Encoder::run`].
    ///
    /// # Panics
    /// If the plan has no such tap.
    pub fn tap(&self, encoder: &Encoder, plan: &Plan, index: usize) -> &[f32] {
        assert!(index < plan.taps.len());
        let values = plan.tokens * encoder.config().dim;
        &self.taps[index * values..(index + 1) * values]
    }

    /// The residual stream number `index` of [`Plan::streams`] from the last run of `plan`, `[tokens, dim]`.
    ///
    /// # Panics
    /// If the plan has no such stream.
    pub fn stream(&self, encoder: &Encoder, plan: &Plan, index: usize) -> &[f32] {
        assert!(index < plan.streams.len());
        let values = plan.tokens * encoder.config().dim;
        &self.streams[index * values..(index + 1) * values]
    }

    /// Enables or disables the timing of runs, which is off at first. The features are bit-identical either way.
    pub fn time_operators(&mut self, on: bool) {
        self.timed = on;
        self.times = None;
    }

    /// Operator times of the last run; `None` if it was not timed.
    pub fn operator_times(&self) -> Option<OperatorTimes> {
        self.times
    }

    /// Called at the start of a run; returns the start time if runs are timed.
    pub(super) fn start_clocks(&mut self) -> Option<Instant> {
        let timed = self.timed;
        self.workers.iter_mut().for_each(|worker| worker.get_mut().clock.reset(timed));
        timed.then(Instant::now)
    }

    /// Called at the end of a run that began at `start` on `threads` threads.
    pub(super) fn stop_clocks(&mut self, start: Option<Instant>, threads: usize) {
        let Some(start) = start else { return };
        let wall = nanoseconds(start, Instant::now());
        let mut operators = [0; Operator::COUNT];
        for worker in &mut self.workers {
            let clock = &worker.get_mut().clock;
            operators.iter_mut().zip(clock.operators()).for_each(|(sum, time)| *sum += time);
        }
        self.times = Some(OperatorTimes::new(operators, wall, threads));
    }

    /// Allocates the memory for `plan`.
    ///
    /// # Errors
    /// [`EncoderError::Memory`]: the memory cannot be allocated.
    pub fn reserve(&mut self, encoder: &Encoder, plan: &Plan) -> Result<(), EncoderError> {
        let Plan { tokens, threads, .. } = *plan;
        self.try_reserve(encoder, plan).map_err(|source| EncoderError::Memory { tokens, threads, source })
    }

    fn try_reserve(&mut self, encoder: &Encoder, plan: &Plan) -> Result<(), TryReserveError> {
        let values = plan.tokens * encoder.config().dim;
        self.stream.grow(values)?;
        self.taps.grow(plan.taps.len() * values)?;
        self.streams.grow(plan.streams.len() * values)?;
        let dims = encoder.dims(plan.tokens);
        self.qkv.grow_values(dims)?;
        if encoder.blocks.iter().any(|b| b.int8_attention) {
            self.qkv.grow_codes(dims)?;
            self.heads.int.resize_with(dims.heads, IntHead::default);
            self.heads.int.iter_mut().try_for_each(|head| head.reserve(dims))?;
        }
        if encoder.blocks.iter().any(|b| !b.int8_attention) {
            self.qkv.grow_floats(dims)?;
            self.heads.float.resize_with(dims.heads, FloatHead::default);
            self.heads.float.iter_mut().try_for_each(|head| head.reserve(dims))?;
        }
        if self.workers.len() < plan.threads {
            self.workers.resize_with(plan.threads, AtomicRefCell::default);
        }
        self.workers.iter_mut().try_for_each(|worker| worker.get_mut().reserve(encoder, plan))
    }
}

impl Worker {
    fn reserve(&mut self, encoder: &Encoder, plan: &Plan) -> Result<(), TryReserveError> {
        let config = encoder.config();
        let unit = plan.unit_rows();
        self.layers.set_l2(plan.cache.l2);
        self.input.row.grow(config.dim)?;
        if !encoder.blocks.iter().all(|b| b.queries.is_int8() && b.mlp.up().is_int8()) {
            self.input.normed.grow(unit * config.dim)?;
        }
        self.input.codes.grow(unit * codes_stride(config.dim), unit)?;
        self.wide.grow(unit * config.dim)?;
        let step = unit.min(STEP_ROWS);
        self.hidden.values.grow(step * config.hidden.max(3 * config.patch * config.patch))?;
        if encoder.blocks.iter().any(|b| b.mlp.gate().is_some()) {
            self.hidden.gate.grow(step * config.hidden)?;
        }
        self.hidden.codes.grow(unit * codes_stride(config.hidden), unit)?;
        encoder.layers().try_for_each(|layer| self.layers.reserve(layer, unit))?;
        self.scratch.reserve(encoder.dims(plan.tokens))
    }
}
