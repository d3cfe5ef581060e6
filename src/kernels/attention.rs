//! Multi-head attention (arXiv 1706.03762), a tile of queries at a time; the n x n matrix is never in memory.
//!
//! In integers: `q` 8 bits for each token, `k` 7 bits for each token ([`super::quantise::key`]), their product exact; softmax in
//! f32; probabilities are rounded to [`probability_max`] steps of the row's largest, `v` to 8 bits for each channel, and
//! the second product is exact again, as is the sum that it is divided by. A row's true maximum is found before the first
//! exponential is taken, so a result does not depend on how the keys were cut into tiles.
//!
//! 12 bits for probabilities, not 8: at 1029 tokens a thousand keys of 1/1000 each are lost or doubled by rounding to
//! 1/255. On DeiT-Ti (BUSI, 224 px) 8 bits cost 1 - cosine = 2.4e-3 in the patch tokens, 12 bits 1.7e-4.

use bytemuck::Zeroable as _;

use super::Isa;
use super::activation::exp2;
use super::aligned::Aligned;
use super::isa::per_isa;
use super::lanes;
use super::linear::{columns, packed_len};
use super::quantise::{Quant, round_scaled};
use super::tile::{Epilogue, F32, I16, Kernel, Numbers, PANEL, Sums, U8S8, for_tiles};

/// Queries whose scores are in memory at once: two to four tiles, so that a panel of keys is read from L2 once for them.
pub const QUERIES: usize = 24;

/// The sizes of one attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Tokens, prefix included.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

impl Dims {
    /// Width of a token.
    pub const fn dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// What makes a product of query and key an exponent of 2: `log2(e) / sqrt(head_dim)`.
    fn log2_scale(&self) -> f32 {
        std::f32::consts::LOG2_E / (self.head_dim as f32).sqrt()
    }
}

/// The largest code of a probability: 12 bits, fewer where sums over more than 4129 tokens could overflow an i32.
pub fn probability_max(tokens: usize) -> i32 {
    (i32::MAX / (127 * tokens.max(1) as i32)).min(4095)
}

/// Keys and values of one head, packed for the two products. `K` and `V` are the products' types.
pub struct Packed<K: Numbers, V: Numbers> {
    /// `[tokens / 16][head_dim / GROUP][16][GROUP]`
    keys: Aligned<K::B>,
    /// `[head_dim / 16][tokens / GROUP][16][GROUP]`
    values: Aligned<V::B>,
    /// Scale of each key and of each channel of the values; integers only.
    key_scales: Vec<f32>,
    key_sums: Vec<i32>,
    value_scales: Vec<f32>,
}

/// One head in integers.
pub type IntHead = Packed<U8S8, I16>;
/// One head in f32.
pub type FloatHead = Packed<F32, F32>;

impl<K: Numbers, V: Numbers> Default for Packed<K, V> {
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

/// Grows a vector and says so when there is no memory.
fn grow<T: Copy + Default>(v: &mut Vec<T>, len: usize) -> Result<(), std::collections::TryReserveError> {
    v.try_reserve_exact(len.saturating_sub(v.len()))?;
    v.resize(len.max(v.len()), T::default());
    Ok(())
}

impl<K: Numbers, V: Numbers> Packed<K, V> {
    /// Makes room for a head of `dims`.
    ///
    /// # Errors
    /// When the system does not give that much memory.
    pub fn reserve(&mut self, dims: Dims) -> Result<(), std::collections::TryReserveError> {
        let Dims { tokens, head_dim, .. } = dims;
        self.keys.grow(packed_len::<K>(tokens, head_dim))?;
        self.values.grow(packed_len::<V>(head_dim, tokens))?;
        grow(&mut self.key_scales, tokens.next_multiple_of(PANEL))?;
        grow(&mut self.key_sums, tokens.next_multiple_of(PANEL))?;
        grow(&mut self.value_scales, head_dim.next_multiple_of(PANEL))
    }
}

/// Copies `from(token)`, `[head_dim]`, into panels of 16 tokens.
#[inline(always)]
fn pack_keys<'a, N: Numbers>(dims: Dims, panels: &mut [N::B], from: impl Fn(usize) -> &'a [N::B])
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

/// Sixteen channels of a token, padded with zeros; `None` is a token past the last.
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

/// Quantises one panel's 16 columns of two tokens and stores them in pairs.
#[inline(always)]
fn put_pairs(group: &mut [i16], first: &[f32; PANEL], second: &[f32; PANEL], inverse: &[f32; PANEL]) {
    let mut codes = [0; 2 * PANEL];
    for c in 0..PANEL {
        let a = round_scaled(first[c], inverse[c], 0.0).clamp(-127, 127);
        let b = round_scaled(second[c], inverse[c], 0.0).clamp(-127, 127);
        (codes[2 * c], codes[2 * c + 1]) = (a as i16, b as i16);
    }
    group.copy_from_slice(&codes);
}

per_isa! {
    /// Packs head `head`: keys `codes: [tokens, dim]` with `scales: [tokens, heads]` (see [`super::quantise::key`]), and
    /// values `[tokens, dim]`, which are quantised here, each channel symmetrically to 8 bits.
    pub fn pack_int(dims: Dims, head: usize, codes: &[i8], scales: &[f32], values: &[f32], to: &mut IntHead) {
        let Dims { tokens, heads, head_dim } = dims;
        let dim = dims.dim();
        let at = |token: usize| token * dim + head * head_dim;
        let panels = &mut to.keys[..packed_len::<U8S8>(tokens, head_dim)];
        pack_keys::<U8S8>(dims, panels, |token| &codes[at(token)..at(token) + head_dim]);
        let padded = tokens.next_multiple_of(PANEL);
        to.key_scales[tokens..padded].fill(0.0);
        to.key_sums[tokens..padded].fill(0);
        for token in 0..tokens {
            to.key_scales[token] = scales[token * heads + head];
            to.key_sums[token] = codes[at(token)..at(token) + head_dim].iter().map(|&c| i32::from(c)).sum();
        }

        let largest = &mut to.value_scales[..head_dim];
        largest.fill(0.0);
        for token in 0..tokens {
            for (l, v) in largest.iter_mut().zip(&values[at(token)..at(token) + head_dim]) {
                *l = if v.abs() > *l { v.abs() } else { *l };
            }
        }
        // Below 1e-30 a channel is 0: the inverse of less could be infinite.
        let inverse = |l: f32| if l > 1e-30 { 127.0 / l } else { 0.0 };
        let groups = tokens.div_ceil(I16::GROUP);
        let panels = &mut to.values[..packed_len::<I16>(head_dim, tokens)];
        for (p, panel) in panels.chunks_exact_mut(groups * I16::GROUP * PANEL).enumerate() {
            let channels = p * PANEL..head_dim.min((p + 1) * PANEL);
            let mut inverses = [0.0; PANEL];
            for (i, &l) in inverses.iter_mut().zip(&largest[channels.clone()]) {
                *i = inverse(l);
            }
            for (g, group) in panel.chunks_exact_mut(I16::GROUP * PANEL).enumerate() {
                let (first, second) = (at(2 * g), at(2 * g + 1));
                let (first, second) =
                    (first + channels.start..first + channels.end, second + channels.start..second + channels.end);
                let second = if 2 * g + 1 < tokens { values.get(second) } else { None };
                put_pairs(group, &sixteen(values.get(first)), &sixteen(second), &inverses);
            }
        }
        for scale in largest {
            *scale *= 1.0 / 127.0;
        }
    }
}

per_isa! {
    /// Packs head `head` of `qkv: [tokens, 3 * dim]`.
    pub fn pack_float(dims: Dims, head: usize, keys: &[f32], values: &[f32], to: &mut FloatHead) {
        let Dims { tokens, head_dim, .. } = dims;
        let at = |token: usize| token * dims.dim() + head * head_dim;
        let panels = &mut to.keys[..packed_len::<F32>(tokens, head_dim)];
        pack_keys::<F32>(dims, panels, |token| &keys[at(token)..at(token) + head_dim]);
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

/// One thread's working memory.
#[derive(Default)]
pub struct Scratch {
    /// `[QUERIES, tokens rounded up to a panel]`
    scores: Aligned<f32>,
    /// As the scores.
    probabilities: Aligned<i16>,
}

impl Scratch {
    /// Makes room for `tokens` tokens.
    ///
    /// # Errors
    /// When the system does not give that much memory.
    pub fn reserve(&mut self, tokens: usize) -> Result<(), std::collections::TryReserveError> {
        let len = QUERIES * tokens.next_multiple_of(PANEL);
        self.scores.grow(len)?;
        self.probabilities.grow(len)
    }
}

/// Scores of integer queries and keys, as exponents of 2.
struct IntScores<'a> {
    scores: &'a mut [f32],
    padded: usize,
    head: usize,
    heads: usize,
    quants: &'a [Quant],
    packed: &'a IntHead,
    scale: f32,
}

impl Epilogue<i32> for IntScores<'_> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, acc: &Sums<i32>) {
        let scales = columns(&self.packed.key_scales, panel);
        let sums = columns(&self.packed.key_sums, panel);
        for (r, acc) in acc.iter().enumerate().take(rows) {
            let Quant { scale, zero } = self.quants[(row + r) * self.heads + self.head];
            let scale = scale * self.scale;
            let mut y = [0.0; PANEL];
            for c in 0..PANEL {
                y[c] = (acc[c] - zero * sums[c]) as f32 * (scale * scales[c]);
            }
            self.scores[(row + r) * self.padded + panel * PANEL..][..PANEL].copy_from_slice(&y);
        }
    }
}

/// Scores of float queries and keys, as exponents of 2.
struct FloatScores<'a> {
    scores: &'a mut [f32],
    padded: usize,
    scale: f32,
}

impl Epilogue<f32> for FloatScores<'_> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, acc: &Sums<f32>) {
        for (r, acc) in acc.iter().enumerate().take(rows) {
            let y = acc.map(|y| y * self.scale);
            self.scores[(row + r) * self.padded + panel * PANEL..][..PANEL].copy_from_slice(&y);
        }
    }
}

/// A head's channels of some rows of `[rows, dim]`, and what each row is multiplied by.
struct Heads<'a> {
    out: &'a mut [f32],
    dim: usize,
    head_dim: usize,
    inverse: &'a [f32; QUERIES],
}

impl Heads<'_> {
    #[inline(always)]
    fn put(&mut self, row: usize, panel: usize, y: &[f32; PANEL]) {
        let out = &mut self.out[row * self.dim + panel * PANEL..];
        match self.head_dim - panel * PANEL {
            PANEL.. => out[..PANEL].copy_from_slice(y),
            width => out[..width].copy_from_slice(&y[..width]),
        }
    }
}

impl Epilogue<f32> for Heads<'_> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, acc: &Sums<f32>) {
        for (r, acc) in acc.iter().enumerate().take(rows) {
            let inverse = self.inverse[row + r];
            self.put(row + r, panel, &acc.map(|y| y * inverse));
        }
    }
}

/// Means of integer values, weighted by integer probabilities.
struct IntMeans<'a> {
    out: Heads<'a>,
    /// Of the values' channels.
    scales: &'a [f32],
}

impl Epilogue<i32> for IntMeans<'_> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, acc: &Sums<i32>) {
        let scales = columns(self.scales, panel);
        for (r, acc) in acc.iter().enumerate().take(rows) {
            let inverse = self.out.inverse[row + r];
            let mut y = [0.0; PANEL];
            for c in 0..PANEL {
                y[c] = acc[c] as f32 * (scales[c] * inverse);
            }
            self.out.put(row + r, panel, &y);
        }
    }
}

/// Attention of some queries of head `head` in integers, into their rows of `out: [rows, dim]`.
///
/// `codes: [rows, dim]` (and 4 bytes more), `quants: [rows, heads]`.
#[allow(clippy::too_many_arguments, reason = "the sizes, the queries, the packed head, and where to")]
pub fn int(
    isa: Isa,
    dims: Dims,
    head: usize,
    codes: &[u8],
    quants: &[Quant],
    packed: &IntHead,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let kernels = (U8S8::kernel(isa), I16::kernel(isa));
    int_rows(isa, dims, head, codes, quants, packed, kernels, scratch, out);
}

per_isa! {
    #[allow(clippy::too_many_arguments)]
    fn int_rows(
        dims: Dims,
        head: usize,
        codes: &[u8],
        quants: &[Quant],
        packed: &IntHead,
        kernels: (Kernel<U8S8>, Kernel<I16>),
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let Dims { tokens, heads, head_dim } = dims;
        let dim = dims.dim();
        let padded = tokens.next_multiple_of(PANEL);
        let groups = head_dim.div_ceil(U8S8::GROUP);
        let keys = &packed.keys[..packed_len::<U8S8>(tokens, head_dim)];
        let values = &packed.values[..packed_len::<I16>(head_dim, tokens)];
        let most = probability_max(tokens);
        let rows = out.len() / dim;
        for first in (0..rows).step_by(QUERIES) {
            let m = QUERIES.min(rows - first);
            let scores = &mut scratch.scores[..m * padded];
            let codes = &codes[first * dim + head * head_dim..];
            let quants = &quants[first * heads..];
            let mut to = IntScores { scores, padded, head, heads, quants, packed, scale: dims.log2_scale() };
            for_tiles::<U8S8>(kernels.0, m, groups, codes, dim, keys, &mut to);
            let probabilities = &mut scratch.probabilities[..m * padded];
            let mut inverse = [0.0; QUERIES];
            for r in 0..m {
                let to = &mut probabilities[r * padded..][..padded];
                let sum = probabilities_of(&scores[r * padded..][..tokens], most as f32, &mut to[..tokens]);
                to[tokens..].fill(0);
                inverse[r] = 1.0 / sum as f32;
            }
            let groups = tokens.div_ceil(I16::GROUP);
            let out = Heads { out: &mut out[first * dim + head * head_dim..], dim, head_dim, inverse: &inverse };
            let mut to = IntMeans { out, scales: &packed.value_scales };
            for_tiles::<I16>(kernels.1, m, groups, probabilities, padded, values, &mut to);
        }
    }
}

/// `codes = round(2^(score - largest score) * most)`, `scores` and `codes: [n]`; gives the sum of the codes. Scores that
/// are not finite give 0.
#[inline(always)]
fn probabilities_of(scores: &[f32], most: f32, codes: &mut [i16]) -> i32 {
    let largest = lanes::max(scores);
    let mut sum = 0;
    for (code, &score) in codes.iter_mut().zip(scores) {
        let q = round_scaled(exp2(score - largest), most, 0.0);
        sum += q;
        *code = q as i16;
    }
    sum
}

/// Attention of some queries of head `head` in f32, into their rows of `out: [rows, dim]`; `queries: [rows, dim]`.
pub fn float(
    isa: Isa,
    dims: Dims,
    head: usize,
    queries: &[f32],
    packed: &FloatHead,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    float_rows(isa, dims, head, queries, packed, F32::kernel(isa), scratch, out);
}

per_isa! {
    #[allow(clippy::too_many_arguments)]
    fn float_rows(
        dims: Dims,
        head: usize,
        queries: &[f32],
        packed: &FloatHead,
        kernel: Kernel<F32>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let Dims { tokens, head_dim, .. } = dims;
        let dim = dims.dim();
        let padded = tokens.next_multiple_of(PANEL);
        let keys = &packed.keys[..packed_len::<F32>(tokens, head_dim)];
        let values = &packed.values[..packed_len::<F32>(head_dim, tokens)];
        let rows = out.len() / dim;
        for first in (0..rows).step_by(QUERIES) {
            let m = QUERIES.min(rows - first);
            let scores = &mut scratch.scores[..m * padded];
            let queries = &queries[first * dim + head * head_dim..];
            let mut to = FloatScores { scores, padded, scale: dims.log2_scale() };
            for_tiles::<F32>(kernel, m, head_dim, queries, dim, keys, &mut to);
            let mut inverse = [0.0; QUERIES];
            for r in 0..m {
                let row = &mut scores[r * padded..][..tokens];
                let largest = lanes::max(row);
                for s in row.iter_mut() {
                    *s = exp2(*s - largest);
                }
                // `exp2` knows no NaN: a score that is not finite spoils its row here.
                inverse[r] = if largest.is_finite() { 1.0 / lanes::sum(row) } else { f32::NAN };
            }
            let mut to =
                Heads { out: &mut out[first * dim + head * head_dim..], dim, head_dim, inverse: &inverse };
            for_tiles::<F32>(kernel, m, tokens, scores, padded, values, &mut to);
        }
    }
}
