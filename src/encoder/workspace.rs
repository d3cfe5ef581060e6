//! Working memory, which a plan grows before a run and never during one.

use std::collections::TryReserveError;
use std::time::Instant;

use atomic_refcell::AtomicRefCell;

use super::times::{Clock, nanoseconds};
use super::{Encoder, EncoderError, Operator, OperatorTimes, Plan, STEP_ROWS};
use crate::kernels::aligned::Aligned;
use crate::kernels::attention::{self, FloatHead, IntHead};
use crate::kernels::linear::{self, codes_stride};
use crate::kernels::quantise::QuantParams;

/// Working memory for one image at a time, large enough for every plan it was reserved for.
#[derive(Default)]
pub struct Workspace {
    /// The residual stream, `[tokens, dim]`; after a run it holds the features.
    pub(super) stream: Aligned<f32>,
    /// The tapped outputs, `[taps, tokens, dim]`.
    pub(super) taps: Aligned<f32>,
    pub(super) attention: Attention,
    /// One per thread. The cell only checks for exclusive use and never blocks: each worker is used by one thread.
    pub(super) workers: Vec<AtomicRefCell<Worker>>,
    /// Whether runs are timed, and the times of the last one.
    timed: bool,
    times: Option<OperatorTimes>,
}

/// Queries, keys and values of every token. Blocks with int8 attention use the codes, others the float buffers.
#[derive(Default)]
pub(super) struct Attention {
    /// `[tokens, dim]`
    pub query_codes: Aligned<u8>,
    /// `[tokens, heads]`
    pub query_quants: Vec<QuantParams>,
    /// `[tokens, dim]`
    pub key_codes: Aligned<i8>,
    /// `[tokens, heads]`
    pub key_scales: Aligned<f32>,
    /// `[tokens, dim]`; empty if every block's attention is int8.
    pub queries: Aligned<f32>,
    /// Like `queries`.
    pub keys: Aligned<f32>,
    /// `[tokens, dim]`
    pub values: Aligned<f32>,
    /// One per head; empty for the kind of attention that no block uses.
    pub int_heads: Vec<IntHead>,
    pub float_heads: Vec<FloatHead>,
}

/// A thread's working memory for one unit.
#[derive(Default)]
pub(super) struct Worker {
    /// `[dim]`
    pub row: Aligned<f32>,
    /// `[unit, dim]`; empty if every layer after a norm is int8.
    pub normed: Aligned<f32>,
    /// `[unit, dim]`: queries or keys before quantisation, then attention's output.
    pub wide: Aligned<f32>,
    /// `[unit, codes_stride(dim)]`
    pub codes: Aligned<u8>,
    /// `[unit]`
    pub quants: Vec<QuantParams>,
    /// `[step, hidden]`, or extracted patches.
    pub hidden: Aligned<f32>,
    /// `[step, hidden]`, for SwiGLU.
    pub gate: Aligned<f32>,
    /// `[unit, codes_stride(hidden)]`
    pub hidden_codes: Aligned<u8>,
    /// `[unit]`
    pub hidden_quants: Vec<QuantParams>,
    /// Scratch memory of the layers.
    pub layers: linear::Scratch,
    /// Scratch memory of attention.
    pub scratch: attention::Scratch,
    pub clock: Clock,
}

fn grow<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) -> Result<(), TryReserveError> {
    buffer.try_reserve_exact(len.saturating_sub(buffer.len()))?;
    buffer.resize(len.max(buffer.len()), T::default());
    Ok(())
}

impl Workspace {
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
        let config = encoder.config();
        let tokens = plan.tokens;
        let (dim, values) = (config.dim, tokens * config.dim);
        self.stream.grow(values)?;
        self.taps.grow(plan.taps.len() * values)?;
        let dims = encoder.dims(tokens);
        let a = &mut self.attention;
        a.values.grow(values)?;
        if encoder.blocks.iter().any(|b| b.int8_attention) {
            a.query_codes.grow(values)?;
            grow(&mut a.query_quants, tokens * config.heads)?;
            a.key_codes.grow(values)?;
            a.key_scales.grow(tokens * config.heads)?;
            a.int_heads.resize_with(config.heads, IntHead::default);
            a.int_heads.iter_mut().try_for_each(|head| head.reserve(dims))?;
        }
        if encoder.blocks.iter().any(|b| !b.int8_attention) {
            a.queries.grow(values)?;
            a.keys.grow(values)?;
            a.float_heads.resize_with(config.heads, FloatHead::default);
            a.float_heads.iter_mut().try_for_each(|head| head.reserve(dims))?;
        }

        let unit = plan.unit_rows();
        let step = unit.min(STEP_ROWS);
        let gated = encoder.blocks.iter().any(|b| b.mlp.gate().is_some());
        if self.workers.len() < plan.threads {
            self.workers.resize_with(plan.threads, AtomicRefCell::default);
        }
        for worker in &mut self.workers {
            let w = worker.get_mut();
            w.layers.set_l2(plan.cache.l2);
            w.row.grow(dim)?;
            if !encoder.blocks.iter().all(|b| b.queries.is_int8() && b.mlp.up().is_int8()) {
                w.normed.grow(unit * dim)?;
            }
            w.wide.grow(unit * dim)?;
            w.codes.grow(unit * codes_stride(dim))?;
            grow(&mut w.quants, unit)?;
            w.hidden.grow(step * config.hidden.max(3 * config.patch * config.patch))?;
            if gated {
                w.gate.grow(step * config.hidden)?;
            }
            w.hidden_codes.grow(unit * codes_stride(config.hidden))?;
            grow(&mut w.hidden_quants, unit)?;
            encoder.layers().try_for_each(|layer| w.layers.reserve(layer, unit))?;
            w.scratch.reserve(dims)?;
        }
        Ok(())
    }
}
