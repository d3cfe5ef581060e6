//! Packs the keys and values of a head for the two products of attention.

use bytemuck::Zeroable as _;

use super::weighted_sum::{IntProduct, OfInts, WeightedSum};
use super::{Dims, Head, grow};
use crate::kernels::Isa;
use crate::kernels::aligned::Aligned;
use crate::kernels::isa::per_isa;
use crate::kernels::linear::packed_len;
use crate::kernels::quantise::{QuantisedKeys, round_scaled};
use crate::kernels::tile::{F32, GemmTypes, PANEL, U8S8, prefetch};

/// Number of tokens by which values are prefetched ahead.
const AHEAD: usize = 8;

/// Keys and values of one head, packed for the two products. `K` and `V` are the data types of the products.
pub struct Packed<K: GemmTypes, V: GemmTypes> {
    /// `[tokens / 16][head_dim / GROUP][16][GROUP]`
    pub(super) keys: Aligned<K::B>,
    /// `[head_dim / 16][tokens / GROUP][16][GROUP]`
    pub(super) values: Aligned<V::B>,
    /// Scale of each key; this and the next two fields are for integers only.
    pub(super) key_scales: Vec<f32>,
    pub(super) key_sums: Vec<i32>,
    pub(super) value_scales: Vec<f32>,
}

/// One head for integer attention.
pub type IntHead = Packed<U8S8, IntProduct>;
/// One head for f32 attention.
pub type FloatHead = Packed<F32, F32>;

impl<K: GemmTypes, V: GemmTypes> Default for Packed<K, V> {
    fn default() -> Self {
        Packed {
            keys: Aligned::default(),
            values: Aligned::default(),
            key_scales: Vec::new(),
            key_sums: Vec::new(),
            value_scales: Vec::new(),
        }
    }
}

impl<K: GemmTypes, V: GemmTypes> Packed<K, V> {
    /// Reserves memory for a head of `dims`.
    ///
    /// # Errors
    /// If the memory cannot be allocated.
    pub fn reserve(&mut self, dims: Dims) -> Result<(), std::collections::TryReserveError> {
        let Dims { tokens, head_dim, .. } = dims;
        self.keys.grow(packed_len::<K>(tokens, head_dim))?;
        self.values.grow(packed_len::<V>(head_dim, tokens))?;
        grow(&mut self.key_scales, tokens.next_multiple_of(PANEL))?;
        grow(&mut self.key_sums, tokens.next_multiple_of(PANEL))?;
        grow(&mut self.value_scales, head_dim.next_multiple_of(PANEL))
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

/// Quantises one panel's 16 columns of a group of tokens and stores them in the layout of the product.
#[inline(always)]
fn put_group<N: GemmTypes>(
    group: &mut [N::B],
    values: impl Fn(usize) -> [f32; PANEL],
    inverse: &[f32; PANEL],
    code: impl Fn(i32) -> N::B,
) {
    // Rounded token by token, then interleaved: a single loop with a stride of GROUP takes twice as long.
    let mut codes = [[0; PANEL]; 4];
    for (t, codes) in codes.iter_mut().enumerate().take(N::GROUP) {
        let values = values(t);
        for c in 0..PANEL {
            codes[c] = round_scaled(values[c], inverse[c], 0.0).clamp(-127, 127);
        }
    }
    let mut packed = [N::B::zeroed(); 4 * PANEL];
    for c in 0..PANEL {
        for t in 0..N::GROUP {
            packed[c * N::GROUP + t] = code(codes[t][c]);
        }
    }
    group.copy_from_slice(&packed[..N::GROUP * PANEL]);
}

/// Packs a head of the keys, and of the values `[tokens, dim]`, which are quantised here symmetrically to 8 bits per
/// channel.
pub fn pack_int(isa: Isa, head: Head, keys: QuantisedKeys, values: &[f32], to: &mut IntHead) {
    pack_ints(isa, head, keys.codes, keys.scales, values, to);
    let Dims { tokens, head_dim, .. } = head.dims;
    let keys = &mut to.keys[..packed_len::<U8S8>(tokens, head_dim)];
    U8S8::arrange(isa, head_dim.div_ceil(U8S8::GROUP), keys);
    let values = &mut to.values[..packed_len::<IntProduct>(head_dim, tokens)];
    IntProduct::arrange(isa, tokens.div_ceil(IntProduct::GROUP), values);
}

per_isa! {
    fn pack_ints(head: Head, codes: &[i8], scales: &[f32], values: &[f32], to: &mut IntHead) {
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

        // A channel of 1e-30 or less is treated as 0: the inverse of a smaller value could be infinite.
        let inverse = |l: f32| if l > 1e-30 { 127.0 / l } else { 0.0 };
        let groups = tokens.div_ceil(IntProduct::GROUP);
        let panels = &mut to.values[..packed_len::<IntProduct>(head_dim, tokens)];
        for (p, panel) in panels.chunks_exact_mut(groups * IntProduct::GROUP * PANEL).enumerate() {
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
            for (g, group) in panel.chunks_exact_mut(IntProduct::GROUP * PANEL).enumerate() {
                let token = |t: usize| token(g * IntProduct::GROUP + t);
                put_group::<IntProduct>(group, token, &inverses, OfInts::value);
            }
            let scales = &mut to.value_scales[channels];
            scales.iter_mut().zip(largest).for_each(|(scale, largest)| *scale = largest * (1.0 / 127.0));
        }
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
