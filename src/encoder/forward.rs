//! The forward pass.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::rows::{QuantisedBuffer, TokenRows};
use super::times::Clock;
use super::workspace::{Hidden, LayerInput, PackedHeads, Worker};
use super::{Block, Encoder, EncoderError, Operator, Plan, STEP_ROWS, Workspace};
use crate::kernels::linear::{OutputMode, PackedLinear, Rows, codes_stride};
use crate::kernels::pool::{Pool, RowsMut};
use crate::kernels::quantise::{self, QuantisedKeysMut, QuantisedRowsMut};
use crate::kernels::{activation, attention, norm, patches, reduce, rope};
use crate::vit::{Mlp, Norm};

/// A unit, and the memory that its layers use.
struct Unit<'a> {
    /// Its first token.
    first: usize,
    rows: TokenRows<'a>,
    worker: &'a mut Worker,
    /// Packed keys and values of every token.
    heads: &'a PackedHeads,
}

/// The first layer whose output is not finite: 0 is patch_embed, then the blocks, then the final norm.
struct FirstNonFinite {
    layer: AtomicUsize,
}

impl FirstNonFinite {
    /// No such layer so far.
    fn none() -> FirstNonFinite {
        FirstNonFinite { layer: AtomicUsize::new(usize::MAX) }
    }

    /// Checks some output of `layer`.
    fn check(&self, values: &[f32], layer: usize) {
        if !reduce::all_finite(values) {
            self.layer.fetch_min(layer, Ordering::Relaxed);
        }
    }

    /// An error if there is such a layer, in a network of `depth` blocks.
    fn into_result(self, depth: usize) -> Result<(), EncoderError> {
        let layer = match self.layer.into_inner() {
            usize::MAX => return Ok(()),
            0 => "patch_embed".into(),
            i if i > depth => "norm".into(),
            i => format!("block {}", i - 1),
        };
        Err(EncoderError::NonFinite { layer })
    }
}

impl Encoder {
    /// Runs `pixels` (`[3, height, width]`, preprocessed). Returns the tokens after the final LayerNorm,
    /// `[tokens, dim]` in the order CLS, registers, patches row by row; they are stored in the workspace.
    ///
    /// `workspace` must have been [reserved](Workspace::reserve) for `plan`, and `pool` must have the plan's number of
    /// threads.
    ///
    /// # Errors
    /// [`EncoderError::NonFinite`] names the first layer whose output is not finite.
    ///
    /// # Panics
    /// If `pixels` has the wrong length, or the workspace or the pool does not match the plan.
    pub fn run<'w>(
        &self,
        plan: &Plan,
        workspace: &'w mut Workspace,
        pool: &mut Pool,
        pixels: &[f32],
    ) -> Result<&'w [f32], EncoderError> {
        assert_eq!(pixels.len(), 3 * plan.size.area());
        assert_eq!(pool.threads(), plan.threads);
        let bad = FirstNonFinite::none();
        let depth = self.blocks.len();
        let start = workspace.start_clocks();
        for layer in 0..=depth {
            workspace.interrupt.check()?;
            if layer > 0 {
                self.pack_heads(plan, workspace, pool, &self.blocks[layer - 1]);
            }
            self.units(plan, workspace, pool, layer, |mut unit| {
                match layer.checked_sub(1).map(|i| &self.blocks[i]) {
                    None => self.embed(plan, pixels, &mut unit),
                    Some(block) => {
                        self.attend(plan, block, &mut unit);
                        self.mlp(block, &mut unit);
                    }
                }
                self.finish_layer(layer, &mut unit, &bad);
                match self.blocks.get(layer) {
                    Some(block) => self.project(plan, block, &mut unit),
                    None => self.final_norm(&mut unit, &bad),
                }
            });
        }
        workspace.stop_clocks(start, plan.threads);
        bad.into_result(depth)?;
        Ok(&workspace.stream[..plan.tokens * self.config.dim])
    }

    /// Calls `run` for every unit, on the pool's threads, with the memory for what is kept of `layer`.
    fn units(
        &self,
        plan: &Plan,
        workspace: &mut Workspace,
        pool: &mut Pool,
        layer: usize,
        run: impl Fn(Unit) + Sync,
    ) {
        let values = plan.tokens * self.config.dim;
        let Workspace { stream, taps, streams, qkv, heads, workers, .. } = workspace;
        let of = |kept: &[usize]| {
            let place = kept.iter().position(|block| block + 1 == layer);
            place.map_or(0..0, |place| place * values..(place + 1) * values)
        };
        let (tapped, copied) = (&mut taps[of(&plan.taps)], &mut streams[of(&plan.streams)]);
        let rows = TokenRows { stream, tapped, copied, qkv: qkv.rows_mut() };
        let (workers, heads) = (&*workers, &*heads);
        pool.for_parts(&plan.bounds, rows.split(self.dims(plan.tokens)), |i, worker, rows| {
            let worker = &mut workers[worker].borrow_mut();
            worker.clock.start();
            run(Unit { first: plan.bounds[i], rows, worker, heads });
        });
    }

    /// Phase 2: packs the keys and values of every head.
    fn pack_heads(&self, plan: &Plan, workspace: &mut Workspace, pool: &mut Pool, block: &Block) {
        let (isa, dims) = (self.isa, self.dims(plan.tokens));
        let Workspace { qkv, heads, workers, .. } = workspace;
        let (qkv, workers) = (&*qkv, &*workers);
        if block.int8_attention {
            pool.for_parts(&plan.heads, RowsMut::new(&mut heads.int, 1), |head, worker, to| {
                workers[worker].borrow_mut().clock.time(Operator::AttentionPack, || {
                    attention::pack_int(isa, dims.head(head), qkv.key_codes(), qkv.values(), &mut to[0]);
                });
            });
        } else {
            pool.for_parts(&plan.heads, RowsMut::new(&mut heads.float, 1), |head, worker, to| {
                workers[worker].borrow_mut().clock.time(Operator::AttentionPack, || {
                    attention::pack_float(isa, dims.head(head), qkv.keys(), qkv.values(), &mut to[0]);
                });
            });
        }
    }

    /// Patch embedding.
    fn embed(&self, plan: &Plan, pixels: &[f32], unit: &mut Unit) {
        let (dim, prefix) = (self.config.dim, self.config.prefix());
        let Unit { first, rows: TokenRows { stream, .. }, worker, .. } = unit;
        stream.copy_from_slice(&plan.base[*first * dim..][..stream.len()]);
        let skip = prefix.saturating_sub(*first).min(stream.len() / dim);
        let stream = &mut stream[skip * dim..];
        let inputs = self.patch.inputs();
        for (i, stream) in stream.chunks_mut(STEP_ROWS * dim).enumerate() {
            let cut = &mut worker.hidden.values[..stream.len() / dim * inputs];
            let from = *first + skip - prefix + i * STEP_ROWS;
            patches::cut(pixels, plan.rows, plan.cols, self.config.patch, from, cut);
            self.patch.apply(Rows::Float(cut), &mut worker.layers, stream, OutputMode::Add);
        }
    }

    /// Checks the output of `layer`, copies it if the stream is kept, and normalises it into the tap if it is tapped.
    fn finish_layer(&self, layer: usize, unit: &mut Unit, bad: &FirstNonFinite) {
        let Unit { rows: TokenRows { stream, tapped, copied, .. }, worker, .. } = unit;
        bad.check(stream, layer);
        if !copied.is_empty() {
            copied.copy_from_slice(stream);
        }
        // The last matrix product and the check of its output.
        worker.clock.lap(if layer == 0 { Operator::PatchEmbed } else { Operator::Fc2 });
        if !tapped.is_empty() {
            self.normalise(&self.norm, stream, tapped);
            worker.clock.lap(Operator::FinalNorm);
        }
    }

    /// The final norm, in place, and the check of its output.
    fn final_norm(&self, unit: &mut Unit, bad: &FirstNonFinite) {
        let Unit { rows: TokenRows { stream, .. }, worker, .. } = unit;
        let normed = &mut worker.input.row[..self.config.dim];
        for row in stream.chunks_exact_mut(self.config.dim) {
            self.normalise(&self.norm, row, normed);
            row.copy_from_slice(normed);
        }
        bad.check(stream, self.blocks.len() + 1);
        worker.clock.lap(Operator::FinalNorm);
    }

    /// LayerNorm of each row.
    fn normalise(&self, norm: &Norm, rows: &[f32], out: &mut [f32]) {
        let dim = self.config.dim;
        for (x, out) in rows.chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
            norm::norm_row(self.isa, x, &norm.weight, &norm.bias, self.config.norm_eps, out);
        }
    }

    /// LayerNorm of a unit's rows in the format that `layer` reads: 8-bit codes, quantised row by row, or floats.
    fn normalised<'w>(
        &self,
        norm: &Norm,
        layer: &PackedLinear,
        stream: &[f32],
        input: &'w mut LayerInput,
        clock: &mut Clock,
    ) -> Rows<'w> {
        let LayerInput { row, normed, codes } = input;
        if !layer.is_int8() {
            self.normalise(norm, stream, normed);
            clock.lap(Operator::Norm);
            return Rows::Float(normed);
        }
        let row = &mut row[..self.config.dim];
        let mut quantised = codes.rows_mut();
        let rows = stream.chunks_exact(self.config.dim);
        for (x, (codes, quant)) in rows.zip(quantised.each(codes_stride(layer.inputs()))) {
            self.normalise(norm, x, row);
            clock.lap(Operator::Norm);
            *quant = quantise::row(self.isa, row, codes);
            clock.lap(Operator::Quantise);
        }
        Rows::Codes(codes.rows())
    }

    /// `x: [rows, inputs]` in the format that `layer` reads: unchanged, or as 8-bit codes.
    fn quantised<'a>(
        &self,
        layer: &PackedLinear,
        x: &'a [f32],
        codes: &'a mut QuantisedBuffer,
        clock: &mut Clock,
    ) -> Rows<'a> {
        if !layer.is_int8() {
            return Rows::Float(x);
        }
        let mut quantised = codes.rows_mut();
        let rows = x.chunks_exact(layer.inputs());
        for (x, (codes, quant)) in rows.zip(quantised.each(codes_stride(layer.inputs()))) {
            *quant = quantise::row(self.isa, x, codes);
        }
        clock.lap(Operator::Quantise);
        Rows::Codes(codes.rows())
    }

    /// Phase 1: LayerNorm, then queries, keys and values.
    fn project(&self, plan: &Plan, block: &Block, unit: &mut Unit) {
        let Unit { first, rows: TokenRows { stream, qkv, .. }, worker, .. } = unit;
        let Worker { input, wide, layers, clock, .. } = &mut **worker;
        let rows = self.normalised(&block.norm1, &block.queries, stream, input, clock);
        block.values.apply(rows, layers, qkv.values, OutputMode::Store);
        if !block.int8_attention {
            block.queries.apply(rows, layers, qkv.queries, OutputMode::Store);
            block.keys.apply(rows, layers, qkv.keys, OutputMode::Store);
            clock.lap(Operator::Qkv);
            self.rotate(plan, *first, qkv.queries, clock);
            self.rotate(plan, *first, qkv.keys, clock);
            return;
        }
        let wide = &mut wide[..stream.len()];
        block.queries.apply(rows, layers, wide, OutputMode::Store);
        clock.lap(Operator::Qkv);
        self.rotate(plan, *first, wide, clock);
        self.quantise_queries(wide, &mut qkv.query_codes);
        clock.lap(Operator::Quantise);
        block.keys.apply(rows, layers, wide, OutputMode::Store);
        clock.lap(Operator::Qkv);
        self.rotate(plan, *first, wide, clock);
        self.quantise_keys(block, wide, &mut qkv.key_codes);
        clock.lap(Operator::Quantise);
    }

    /// Quantises each head of each query in `x: [rows, dim]`.
    fn quantise_queries(&self, x: &[f32], to: &mut QuantisedRowsMut) {
        let head_dim = self.config.head_dim();
        for (x, (codes, quant)) in x.chunks_exact(head_dim).zip(to.each(head_dim)) {
            *quant = quantise::row(self.isa, x, codes);
        }
    }

    /// Quantises each head of each key in `x: [rows, dim]`, which becomes centred.
    fn quantise_keys(&self, block: &Block, x: &mut [f32], to: &mut QuantisedKeysMut) {
        let (dim, head_dim) = (self.config.dim, self.config.head_dim());
        for (x, (codes, scales)) in x.chunks_exact_mut(dim).zip(to.each(dim, dim / head_dim)) {
            for (h, scale) in scales.iter_mut().enumerate() {
                let head = h * head_dim..(h + 1) * head_dim;
                let centre = block.key_centre.get(head.clone()).unwrap_or(&[]);
                *scale = quantise::key(self.isa, &mut x[head.clone()], centre, &mut codes[head]);
            }
        }
    }

    /// Applies RoPE to rows whose first token is `first`; CLS and registers are unchanged.
    fn rotate(&self, plan: &Plan, first: usize, rows: &mut [f32], clock: &mut Clock) {
        let Some(table) = &plan.rope else { return };
        let prefix = self.config.prefix();
        let half = self.config.head_dim() / 2;
        for (i, row) in rows.chunks_exact_mut(self.config.dim).enumerate() {
            if let Some(patch) = (first + i).checked_sub(prefix) {
                let angles = patch * half..(patch + 1) * half;
                rope::rotate_row(self.isa, row, &table.cos[angles.clone()], &table.sin[angles]);
            }
        }
        clock.lap(Operator::Rope);
    }

    /// Phase 3, first half: attention of the unit's queries, projection, residual.
    fn attend(&self, plan: &Plan, block: &Block, unit: &mut Unit) {
        let (isa, dims) = (self.isa, self.dims(plan.tokens));
        let Unit { rows: TokenRows { stream, qkv, .. }, worker, heads, .. } = unit;
        let Worker { input, wide, layers, scratch, clock, .. } = &mut **worker;
        let out = &mut wide[..stream.len()];
        for index in 0..self.config.heads {
            let head = dims.head(index);
            if block.int8_attention {
                let queries = qkv.query_codes.as_rows();
                attention::int(isa, head, queries, &heads.int[index], scratch, out);
            } else {
                attention::float(isa, head, qkv.queries, &heads.float[index], scratch, out);
            }
        }
        clock.lap(Operator::Attention);
        let rows = self.quantised(&block.proj, out, &mut input.codes, clock);
        block.proj.apply(rows, layers, stream, OutputMode::Add);
        clock.lap(Operator::Proj);
    }

    /// Phase 3, second half: LayerNorm, MLP, residual. Hidden activations are held in f32 for `STEP_ROWS` rows at a
    /// time. If `down` is int8, their codes are kept for all rows, so that its weights are read once per unit.
    fn mlp(&self, block: &Block, unit: &mut Unit) {
        let dim = self.config.dim;
        let Unit { rows: TokenRows { stream, .. }, worker, .. } = unit;
        let Worker { input, hidden, layers, clock, .. } = &mut **worker;
        let Hidden { values, gate, codes } = hidden;
        let (up, down) = (block.mlp.up(), block.mlp.down());
        let rows = self.normalised(&block.norm2, up, stream, input, clock);
        let stride = codes_stride(down.inputs());
        for (i, stream) in stream.chunks_mut(STEP_ROWS * dim).enumerate() {
            let first = i * STEP_ROWS;
            let hidden = &mut values[..stream.len() / dim * down.inputs()];
            let rows = rows.from(first, up.inputs());
            up.apply(rows, layers, hidden, OutputMode::Store);
            clock.lap(Operator::Fc1);
            if let Some(gated) = block.mlp.gate() {
                gated.apply(rows, layers, &mut gate[..hidden.len()], OutputMode::Store);
                clock.lap(Operator::Fc1);
            }
            self.activate(block, hidden, gate, codes.rows_mut().from(first, stride), clock);
            if !down.is_int8() {
                down.apply(Rows::Float(hidden), layers, stream, OutputMode::Add);
                clock.lap(Operator::Fc2);
            }
        }
        if down.is_int8() {
            down.apply(Rows::Codes(codes.rows()), layers, stream, OutputMode::Add);
        }
    }

    /// Applies the activation in place and, if `down` is int8, quantises each row while it is in L1.
    fn activate(
        &self,
        block: &Block,
        hidden: &mut [f32],
        gate: &[f32],
        to: QuantisedRowsMut,
        clock: &mut Clock,
    ) {
        let (isa, width, scale) = (self.isa, self.config.hidden, &block.hidden_scale);
        let (QuantisedRowsMut { codes, quants }, stride) = (to, codes_stride(width));
        for (r, row) in hidden.chunks_exact_mut(width).enumerate() {
            match block.mlp.kind() {
                Mlp::Gelu => activation::gelu_row(isa, row, scale),
                Mlp::SwiGlu => activation::silu_row(isa, row, &gate[r * width..][..width], scale),
            }
            clock.lap(Operator::Activation);
            if block.mlp.down().is_int8() {
                quants[r] = quantise::row(isa, row, &mut codes[r * stride..][..stride]);
                clock.lap(Operator::Quantise);
            }
        }
    }
}
