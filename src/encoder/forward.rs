//! The forward pass.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::times::Clock;
use super::workspace::{Attention, Worker};
use super::{Block, Encoder, EncoderError, Operator, Plan, STEP_ROWS, Workspace};
use crate::kernels::linear::{OutputMode, PackedLinear, Rows, codes_stride};
use crate::kernels::pool::{Pool, RowsMut};
use crate::kernels::quantise::{self, QuantParams};
use crate::kernels::{activation, attention, norm, patches, reduce, rope};
use crate::vit::{Mlp, Norm};

/// The slices of one work unit: its rows of the stream, the tap and the key scales; of the query codes, query
/// quantisation parameters and key codes; and of the float queries, keys and values. Slices that the network does not
/// use are empty.
type UnitParts<'a> = (
    (&'a mut [f32], &'a mut [f32], &'a mut [f32]),
    (&'a mut [u8], &'a mut [QuantParams], &'a mut [i8]),
    (&'a mut [f32], &'a mut [f32], &'a mut [f32]),
);

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
        // Index of the first layer whose output is not finite: 0 is patch_embed, then the blocks, then the final norm.
        let bad = AtomicUsize::new(usize::MAX);
        let depth = self.blocks.len();
        let start = workspace.start_clocks();
        for layer in 0..=depth {
            if layer > 0 {
                self.pack_heads(plan, workspace, pool, &self.blocks[layer - 1]);
            }
            let tap = plan.taps.iter().position(|tap| tap + 1 == layer);
            self.units(plan, workspace, pool, tap, |rows, worker, packed, parts| {
                let ((stream, tapped, scales), codes, floats) = parts;
                let finite = |stream: &[f32], layer: usize| {
                    if !reduce::all_finite(stream) {
                        bad.fetch_min(layer, Ordering::Relaxed);
                    }
                };
                match layer.checked_sub(1).map(|i| &self.blocks[i]) {
                    None => self.embed(plan, pixels, rows, worker, stream),
                    Some(block) => {
                        let queries = (&*codes.0, &*codes.1, &*floats.0);
                        self.attend(plan, block, packed, worker, queries, stream);
                        self.mlp(block, worker, stream);
                    }
                }
                finite(stream, layer);
                // The last matrix product and the check of its output.
                worker.clock.lap(if layer == 0 { Operator::PatchEmbed } else { Operator::Fc2 });
                if !tapped.is_empty() {
                    self.normalise(&self.norm, stream, tapped);
                    worker.clock.lap(Operator::FinalNorm);
                }
                if layer < depth {
                    self.project(plan, &self.blocks[layer], rows, worker, stream, codes, floats, scales);
                } else {
                    let normed = &mut worker.row[..self.config.dim];
                    for row in stream.chunks_exact_mut(self.config.dim) {
                        self.normalise(&self.norm, row, normed);
                        row.copy_from_slice(normed);
                    }
                    finite(stream, depth + 1);
                    worker.clock.lap(Operator::FinalNorm);
                }
            });
        }
        workspace.stop_clocks(start, plan.threads);
        match bad.into_inner() {
            usize::MAX => Ok(&workspace.stream[..plan.tokens * self.config.dim]),
            0 => Err(EncoderError::NonFinite { layer: "patch_embed".into() }),
            i if i > depth => Err(EncoderError::NonFinite { layer: "norm".into() }),
            i => Err(EncoderError::NonFinite { layer: format!("block {}", i - 1) }),
        }
    }

    /// Calls `f(first row, worker, packed heads, parts)` for every unit, on the pool's threads. `tap` is the index of
    /// the tap that the units write.
    fn units(
        &self,
        plan: &Plan,
        workspace: &mut Workspace,
        pool: &mut Pool,
        tap: Option<usize>,
        f: impl Fn(usize, &mut Worker, &Heads, UnitParts) + Sync,
    ) {
        let (dim, heads, tokens) = (self.config.dim, self.config.heads, plan.tokens);
        let Workspace { stream, taps, attention: a, workers, .. } = workspace;
        let Attention { int_heads, float_heads, .. } = a;
        let packed = Heads { int: int_heads, float: float_heads };
        fn rows<T>(data: &mut [T], width: usize, tokens: usize) -> RowsMut<'_, T> {
            if data.is_empty() {
                RowsMut::new(data, 0)
            } else {
                RowsMut::new(&mut data[..tokens * width], width)
            }
        }
        let tap = tap.map_or(0..0, |tap| tap * tokens * dim..(tap + 1) * tokens * dim);
        let split = (
            (
                rows(stream, dim, tokens),
                rows(&mut taps[tap], dim, tokens),
                rows(&mut a.key_scales, heads, tokens),
            ),
            (
                rows(&mut a.query_codes, dim, tokens),
                rows(&mut a.query_quants, heads, tokens),
                rows(&mut a.key_codes, dim, tokens),
            ),
            (
                rows(&mut a.queries, dim, tokens),
                rows(&mut a.keys, dim, tokens),
                rows(&mut a.values, dim, tokens),
            ),
        );
        let (workers, packed) = (&*workers, &packed);
        pool.for_parts(&plan.bounds, split, |i, worker, parts| {
            let worker = &mut workers[worker].borrow_mut();
            worker.clock.start();
            f(plan.bounds[i], worker, packed, parts);
        });
    }

    /// Phase 2: packs the keys and values of every head.
    fn pack_heads(&self, plan: &Plan, workspace: &mut Workspace, pool: &mut Pool, block: &Block) {
        let (isa, dims) = (self.isa, self.dims(plan.tokens));
        let Workspace { attention: a, workers, .. } = workspace;
        let workers = &*workers;
        if block.int8_attention {
            let (codes, scales, values) = (&a.key_codes, &a.key_scales, &a.values);
            pool.for_parts(&plan.heads, RowsMut::new(&mut a.int_heads, 1), |head, worker, to| {
                workers[worker].borrow_mut().clock.time(Operator::AttentionPack, || {
                    attention::pack_int(isa, dims, head, codes, scales, values, &mut to[0]);
                });
            });
        } else {
            let (keys, values) = (&a.keys, &a.values);
            pool.for_parts(&plan.heads, RowsMut::new(&mut a.float_heads, 1), |head, worker, to| {
                workers[worker].borrow_mut().clock.time(Operator::AttentionPack, || {
                    attention::pack_float(isa, dims, head, keys, values, &mut to[0]);
                });
            });
        }
    }

    /// Patch embedding of the unit whose first token is `first`.
    fn embed(&self, plan: &Plan, pixels: &[f32], first: usize, worker: &mut Worker, stream: &mut [f32]) {
        let (dim, prefix) = (self.config.dim, self.config.prefix());
        stream.copy_from_slice(&plan.base[first * dim..][..stream.len()]);
        let skip = prefix.saturating_sub(first).min(stream.len() / dim);
        let stream = &mut stream[skip * dim..];
        let inputs = self.patch.inputs();
        for (i, stream) in stream.chunks_mut(STEP_ROWS * dim).enumerate() {
            let cut = &mut worker.hidden[..stream.len() / dim * inputs];
            let from = first + skip - prefix + i * STEP_ROWS;
            patches::cut(pixels, plan.rows, plan.cols, self.config.patch, from, cut);
            self.patch.apply(Rows::Float(cut), &mut worker.layers, stream, OutputMode::Add);
        }
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
        (row, normed): (&mut [f32], &'w mut [f32]),
        (codes, quants): (&'w mut [u8], &'w mut [QuantParams]),
        clock: &mut Clock,
    ) -> Rows<'w> {
        if !layer.is_int8() {
            self.normalise(norm, stream, normed);
            clock.lap(Operator::Norm);
            return Rows::Float(normed);
        }
        let rows = stream.chunks_exact(self.config.dim);
        let row = &mut row[..self.config.dim];
        for ((x, codes), quant) in
            rows.zip(codes.chunks_exact_mut(codes_stride(layer.inputs()))).zip(&mut *quants)
        {
            self.normalise(norm, x, row);
            clock.lap(Operator::Norm);
            *quant = quantise::row(self.isa, row, codes);
            clock.lap(Operator::Quantise);
        }
        Rows::Codes(codes, quants)
    }

    /// Phase 1: LayerNorm, then queries, keys and values of the unit whose first token is `first`.
    #[expect(clippy::too_many_arguments, reason = "the unit's parts")]
    fn project(
        &self,
        plan: &Plan,
        block: &Block,
        first: usize,
        worker: &mut Worker,
        stream: &[f32],
        (query_codes, query_quants, key_codes): (&mut [u8], &mut [QuantParams], &mut [i8]),
        (queries, keys, values): (&mut [f32], &mut [f32], &mut [f32]),
        key_scales: &mut [f32],
    ) {
        let (isa, dim, head_dim) = (self.isa, self.config.dim, self.config.head_dim());
        let Worker { row, normed, wide, codes, layers, quants, clock, .. } = worker;
        let rows =
            self.normalised(&block.norm1, &block.queries, stream, (row, normed), (codes, quants), clock);
        block.values.apply(rows, layers, values, OutputMode::Store);
        if !block.int8_attention {
            block.queries.apply(rows, layers, queries, OutputMode::Store);
            block.keys.apply(rows, layers, keys, OutputMode::Store);
            clock.lap(Operator::Qkv);
            self.rotate(plan, first, queries, clock);
            self.rotate(plan, first, keys, clock);
            return;
        }
        let wide = &mut wide[..stream.len()];
        block.queries.apply(rows, layers, wide, OutputMode::Store);
        clock.lap(Operator::Qkv);
        self.rotate(plan, first, wide, clock);
        for ((x, codes), quant) in
            wide.chunks_exact(head_dim).zip(query_codes.chunks_exact_mut(head_dim)).zip(query_quants)
        {
            *quant = quantise::row(isa, x, codes);
        }
        clock.lap(Operator::Quantise);
        block.keys.apply(rows, layers, wide, OutputMode::Store);
        clock.lap(Operator::Qkv);
        self.rotate(plan, first, wide, clock);
        for (x, (codes, scales)) in wide
            .chunks_exact_mut(dim)
            .zip(key_codes.chunks_exact_mut(dim).zip(key_scales.chunks_exact_mut(dim / head_dim)))
        {
            for (h, scale) in scales.iter_mut().enumerate() {
                let head = h * head_dim..(h + 1) * head_dim;
                let centre = block.key_centre.get(head.clone()).unwrap_or(&[]);
                *scale = quantise::key(isa, &mut x[head.clone()], centre, &mut codes[head]);
            }
        }
        clock.lap(Operator::Quantise);
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

    /// Phase 3, first half: attention of the unit's queries (8-bit codes with their parameters, or floats), projection,
    /// residual.
    fn attend(
        &self,
        plan: &Plan,
        block: &Block,
        packed: &Heads,
        worker: &mut Worker,
        (codes, quants, queries): (&[u8], &[QuantParams], &[f32]),
        stream: &mut [f32],
    ) {
        let (isa, dims) = (self.isa, self.dims(plan.tokens));
        let Worker { wide, scratch, .. } = worker;
        let out = &mut wide[..stream.len()];
        for head in 0..self.config.heads {
            if block.int8_attention {
                attention::int(isa, dims, head, codes, quants, &packed.int[head], scratch, out);
            } else {
                attention::float(isa, dims, head, queries, &packed.float[head], scratch, out);
            }
        }
        let Worker { codes, layers, quants, clock, .. } = worker;
        clock.lap(Operator::Attention);
        let rows = rows_for(isa, &block.proj, out, codes, quants, clock);
        block.proj.apply(rows, layers, stream, OutputMode::Add);
        clock.lap(Operator::Proj);
    }

    /// Phase 3, second half: LayerNorm, MLP, residual. Hidden activations are held in f32 for `STEP_ROWS` rows at a
    /// time. If `down` is int8, their codes are kept for all rows, so that its weights are read once per unit.
    fn mlp(&self, block: &Block, worker: &mut Worker, stream: &mut [f32]) {
        let dim = self.config.dim;
        let Worker {
            row,
            normed,
            codes,
            layers,
            quants,
            hidden,
            gate,
            hidden_codes,
            hidden_quants,
            clock,
            ..
        } = worker;
        let (up, down) = (block.mlp.up(), block.mlp.down());
        let rows = self.normalised(&block.norm2, up, stream, (row, normed), (codes, quants), clock);
        let stride = codes_stride(down.inputs());
        for (i, stream) in stream.chunks_mut(STEP_ROWS * dim).enumerate() {
            let first = i * STEP_ROWS;
            let hidden = &mut hidden[..stream.len() / dim * down.inputs()];
            let rows = rows.from(first, up.inputs());
            up.apply(rows, layers, hidden, OutputMode::Store);
            clock.lap(Operator::Fc1);
            if let Some(gated) = block.mlp.gate() {
                gated.apply(rows, layers, &mut gate[..hidden.len()], OutputMode::Store);
                clock.lap(Operator::Fc1);
            }
            let to = (&mut hidden_codes[first * stride..], &mut hidden_quants[first..]);
            self.activate(block, hidden, gate, to, clock);
            if !down.is_int8() {
                down.apply(Rows::Float(hidden), layers, stream, OutputMode::Add);
                clock.lap(Operator::Fc2);
            }
        }
        if down.is_int8() {
            down.apply(Rows::Codes(hidden_codes, hidden_quants), layers, stream, OutputMode::Add);
        }
    }

    /// Applies the activation in place and, if `down` is int8, quantises each row while it is in L1.
    fn activate(
        &self,
        block: &Block,
        hidden: &mut [f32],
        gate: &[f32],
        (codes, quants): (&mut [u8], &mut [QuantParams]),
        clock: &mut Clock,
    ) {
        let (isa, width, scale) = (self.isa, self.config.hidden, &block.hidden_scale);
        let stride = codes_stride(width);
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

/// Packed keys and values of all heads.
struct Heads<'a> {
    int: &'a [attention::IntHead],
    float: &'a [attention::FloatHead],
}

/// `x: [rows, inputs]` in the format that `layer` reads: unchanged, or as 8-bit codes.
fn rows_for<'a>(
    isa: crate::kernels::Isa,
    layer: &PackedLinear,
    x: &'a [f32],
    codes: &'a mut [u8],
    quants: &'a mut [QuantParams],
    clock: &mut Clock,
) -> Rows<'a> {
    if !layer.is_int8() {
        return Rows::Float(x);
    }
    let stride = codes_stride(layer.inputs());
    let rows = x.chunks_exact(layer.inputs()).zip(codes.chunks_exact_mut(stride)).zip(quants.iter_mut());
    for ((x, codes), quant) in rows {
        *quant = quantise::row(isa, x, codes);
    }
    clock.lap(Operator::Quantise);
    Rows::Codes(codes, quants)
}
