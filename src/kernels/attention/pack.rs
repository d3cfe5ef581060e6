//! Packs the keys and values of a head for the two products of attention.

use bytemuck::Zeroable as _;

use super::blocks::Runs;
use super::{Dims, Head, grow};
use crate::kernels::Isa;
use crate::kernels::aligned::Aligned;
use crate::kernels::isa::per_isa;
use crate::kernels::linear::packed_len;
use crate::kernels::quantise::{QuantisedKeys, round_scaled};
use crate::kernels::tile::{BLOCKS, BlockKernel, F32, GemmTypes, PANEL, U8S8, block_kernel, prefetch};

/// Number of tokens by which values are prefetched ahead.
const AHEAD: usize = 8;

/// One head for integer attention.
#[derive(Default)]
pub struct IntHead {
    /// `[tokens / 16][head_dim / 4][16][4]`
    pub(super) keys: Aligned<i8>,
    /// Scale of each key.
    pub(super) key_scales: Vec<f32>,
    /// Sum of each key's codes.
    pub(super) key_sums: Vec<i32>,
    /// `[head_dim / 16][runs][8 blocks][words][16]`: words as the [`BlockKernel`] takes them, each block behind its
    /// sums if there are such.
    pub(super) values: Aligned<u32>,
    /// Scale of each channel of the values.
    pub(super) value_scales: Vec<f32>,
}

impl IntHead {
    /// Reserves memory for a head of `dims`.
    ///
    /// # Errors
    /// If the memory cannot be allocated.
    pub fn reserve(&mut self, dims: Dims) -> Result<(), std::collections::TryReserveError> {
        let Dims { tokens, head_dim, .. } = dims;
        let runs = Runs::of(tokens);
        self.keys.grow(packed_len::<U8S8>(tokens, head_dim))?;
        // At most two words of a step, which is at least `BlockKernel::room`, and the sums of each block.
        let words = runs.count * BLOCKS * PANEL + runs.steps() * 2 * BLOCKS * PANEL;
        self.values.grow(head_dim.div_ceil(PANEL) * words)?;
        grow(&mut self.key_scales, tokens.next_multiple_of(PANEL))?;
        grow(&mut self.key_sums, tokens.next_multiple_of(PANEL))?;
        grow(&mut self.value_scales, head_dim.next_multiple_of(PANEL))
    }
}

/// Position of the values of run `run` in a panel.
#[inline(always)]
pub(super) fn values_start(kernel: BlockKernel, runs: Runs, run: usize) -> usize {
    run * kernel.values_len(0) + kernel.room(runs.steps_of(run).start, run) * BLOCKS * PANEL
}

/// Distance between the panels of values.
#[inline(always)]
pub(super) fn values_stride(kernel: BlockKernel, runs: Runs) -> usize {
    runs.count * kernel.values_len(0) + kernel.room(runs.steps(), runs.count) * BLOCKS * PANEL
}

/// One head for f32 attention.
#[derive(Default)]
pub struct FloatHead {
    /// `[tokens / 16][head_dim][16]`
    pub(super) keys: Aligned<f32>,
    /// `[head_dim / 16][tokens][16]`
    pub(super) values: Aligned<f32>,
}

impl FloatHead {
    /// Reserves memory for a head of `dims`.
    ///
    /// # Errors
    /// If the memory cannot be allocated.
    pub fn reserve(&mut self, dims: Dims) -> Result<(), std::collections::TryReserveError> {
        let Dims { tokens, head_dim, .. } = dims;
        self.keys.grow(packed_len::<F32>(tokens, head_dim))?;
        self.values.grow(packed_len::<F32>(head_dim, tokens))
    }
}

/// Packs the keys `from(token)`, `[head_dim]` each, into panels of 16 tokens.
#[inline(always)]
fn pack_keys<'a, N: GemmTypes>(dims: Dims, panels: &mut [N::B], from: impl Fn(usize) -> &'a [N::B])
where
    N::B: 'a,
{
    let groups = dims.head_dim.div_ceil(N::GROUP);
    for (p, panel) in panels.chunks_exact_mut(groups * N::GROUP * PANEL).enumerate() {
        for column in 0..PANEL {
            let token = p * PANEL + column;
            let key = if token < dims.tokens { from(token) } else { &[] };
            for g in 0..groups {
                let to = &mut panel[(g * PANEL + column) * N::GROUP..][..N::GROUP];
                match key.get(g * N::GROUP..(g + 1) * N::GROUP) {
                    Some(part) => to.copy_from_slice(part),
                    None => {
                        let part = key.get(g * N::GROUP..).unwrap_or(&[]);
                        to[..part.len()].copy_from_slice(part);
                        to[part.len()..].fill(N::B::zeroed());
                    }
                }
            }
        }
    }
}

/// Sixteen channels of a token, padded with zeros; `None` stands for a token past the last.
#[inline(always)]
fn sixteen(values: Option<&[f32]>) -> [f32; PANEL] {
    let mut padded = [0.0; PANEL];
    if let Some(values) = values {
        match <&[f32; PANEL]>::try_from(values) {
            Ok(full) => padded = *full,
            Err(_) => padded[..values.len()].copy_from_slice(values),
        }
    }
    padded
}

/// Quantises sixteen channels of the `KEYS` keys of a word, whose values are `values(0)` and so on, and adds the codes
/// to
/// `sums`.
#[inline(always)]
fn word<const KEYS: usize>(
    values: impl Fn(usize) -> [f32; PANEL],
    inverse: &[f32; PANEL],
    sums: &mut [i32; PANEL],
) -> [u32; PANEL] {
    let bits = 32 / KEYS as u32;
    let mut words = [0; PANEL];
    for k in 0..KEYS {
        let values = values(k);
        for c in 0..PANEL {
            let code = round_scaled(values[c], inverse[c], 0.0).clamp(-127, 127);
            sums[c] += code;
            words[c] |= (code as u32 & (u32::MAX >> (32 - bits))) << (k as u32 * bits);
        }
    }
    words
}

/// Packs a head of the keys, and of the values `[tokens, dim]`, which are quantised here symmetrically to 8 bits per
/// channel.
pub fn pack_int(isa: Isa, head: Head, keys: QuantisedKeys, values: &[f32], to: &mut IntHead) {
    let kernel = block_kernel(isa);
    pack_ints(isa, head, keys.codes, keys.scales, to);
    pack_values(isa, head, kernel, values, to);
    let Dims { tokens, head_dim, .. } = head.dims;
    let keys = &mut to.keys[..packed_len::<U8S8>(tokens, head_dim)];
    U8S8::arrange(isa, head_dim.div_ceil(U8S8::GROUP), keys);
}

per_isa! {
    fn pack_ints(head: Head, codes: &[i8], scales: &[f32], to: &mut IntHead) {
        let Dims { tokens, heads, head_dim } = head.dims;
        let at = |token: usize| head.at(token);
        let panels = &mut to.keys[..packed_len::<U8S8>(tokens, head_dim)];
        pack_keys::<U8S8>(head.dims, panels, |token| &codes[at(token)..at(token) + head_dim]);
        let padded = tokens.next_multiple_of(PANEL);
        to.key_scales[tokens..padded].fill(0.0);
        to.key_sums[tokens..padded].fill(0);
        for token in 0..tokens {
            to.key_scales[token] = scales[token * heads + head.index];
            to.key_sums[token] = codes[at(token)..at(token) + head_dim].iter().map(|&c| i32::from(c)).sum();
        }
    }
}

per_isa! {
    fn pack_values(head: Head, kernel: BlockKernel, values: &[f32], to: &mut IntHead) {
        let Dims { tokens, head_dim, .. } = head.dims;
        let at = |token: usize| head.at(token);
        let runs = Runs::of(tokens);
        // A channel of 1e-30 or less is treated as 0: the inverse of a smaller value could be infinite.
        let inverse = |l: f32| if l > 1e-30 { 127.0 / l } else { 0.0 };
        let stride = values_stride(kernel, runs);
        for p in 0..head_dim.div_ceil(PANEL) {
            let channels = p * PANEL..head_dim.min((p + 1) * PANEL);
            let token = |token: usize| {
                let channels = at(token) + channels.start..at(token) + channels.end;
                sixteen(if token < tokens { values.get(channels) } else { None })
            };
            // In registers, sixteen at a time: for a row in memory the compiler generates masked stores, which take as
            // long as everything else on Zen 3.
            let mut largest = [0f32; PANEL];
            for t in 0..tokens {
                // These cache lines are far apart, which hardware prefetchers do not predict.
                prefetch(values.get(at(t + AHEAD) + channels.start..at(t + AHEAD) + channels.end).unwrap_or(&[]));
                let values = token(t);
                for c in 0..PANEL {
                    largest[c] = if values[c].abs() > largest[c] { values[c].abs() } else { largest[c] };
                }
            }
            let inverses = largest.map(inverse);
            for run in 0..runs.count {
                let at = p * stride + values_start(kernel, runs, run);
                let panels = runs.panels_of(run);
                let groups = kernel.groups(panels.len());
                let run = &mut to.values[at..][..kernel.values_len(groups)];
                for (lane, block) in run.chunks_exact_mut(kernel.start() + groups * PANEL).enumerate() {
                    let value = |key: usize| {
                        // A last group may be longer than the run.
                        let (panel, half) = (panels.start + key / 2, key % 2);
                        token(if panel < panels.end { panel * PANEL + half * BLOCKS + lane } else { tokens })
                    };
                    match kernel.keys() {
                        4 => pack_block::<4>(block, kernel.start(), value, &inverses),
                        _ => pack_block::<2>(block, kernel.start(), value, &inverses),
                    }
                    kernel.arrange(&mut block[kernel.start()..]);
                }
            }
            let scales = &mut to.value_scales[channels];
            scales.iter_mut().zip(largest).for_each(|(scale, largest)| *scale = largest * (1.0 / 127.0));
        }
    }
}

/// Packs sixteen channels of a block, whose key `i` has the values `value(i)`. If `start` is not 0,
/// the block begins with 128 times the sums of the values: what a signed code lacks.
#[inline(always)]
fn pack_block<const KEYS: usize>(
    block: &mut [u32],
    start: usize,
    value: impl Fn(usize) -> [f32; PANEL],
    inverses: &[f32; PANEL],
) {
    let mut sums = [0; PANEL];
    let (first, words) = block.split_at_mut(start);
    for (g, words) in words.as_chunks_mut().0.iter_mut().enumerate() {
        *words = word::<KEYS>(|k| value(g * KEYS + k), inverses, &mut sums);
    }
    for (first, sum) in first.iter_mut().zip(sums) {
        *first = (128 * sum) as u32;
    }
}

per_isa! {
    /// Packs a head of keys and values, `[tokens, dim]` each.
    pub fn pack_float(head: Head, keys: &[f32], values: &[f32], to: &mut FloatHead) {
        let Dims { tokens, head_dim, .. } = head.dims;
        let at = |token: usize| head.at(token);
        let panels = &mut to.keys[..packed_len::<F32>(tokens, head_dim)];
        pack_keys::<F32>(head.dims, panels, |token| &keys[at(token)..at(token) + head_dim]);
        let panels = &mut to.values[..packed_len::<F32>(head_dim, tokens)];
        for (p, panel) in panels.chunks_exact_mut(tokens * PANEL).enumerate() {
            let channels = p * PANEL..head_dim.min((p + 1) * PANEL);
            for (token, column) in panel.chunks_exact_mut(PANEL).enumerate() {
                let (inside, padding) = column.split_at_mut(channels.len());
                inside.copy_from_slice(&values[at(token) + channels.start..at(token) + channels.end]);
                padding.fill(0.0);
            }
        }
    }
}
