//! Dense layers: weights packed once for an instruction set, and the product of rows and weights with a fused epilogue.

use half::f16;

mod epilogue;
mod scratch;
#[cfg(test)]
mod tests;

use super::Isa;
use super::aligned::Aligned;
use super::isa::per_isa;
use super::output::Output;
use super::quantise::{QuantParams, QuantisedRows};
use super::tile::{self, F16, F32, GemmTypes, I16, Kernel, NARROW, PANEL, Product, U8S8, Widening};

pub(super) use epilogue::columns;
use epilogue::{Channels, FloatOutput, IntOutput};
pub use scratch::Scratch;

/// Maximum number of inputs of an int8 layer: the largest sum, 255 * 127 * inputs, must fit into an i32.
pub const MAX_INPUTS: usize = 66_000;

/// `y = x W^T + b`, packed for one instruction set.
pub struct PackedLinear {
    isa: Isa,
    outputs: usize,
    inputs: usize,
    weights: Weights,
    /// `[outputs]`, padded with zeros to whole panels.
    bias: Vec<f32>,
}

enum Weights {
    /// With the micro-kernel that is exact for these weights.
    U8S8(Kernel<U8S8>, Aligned<i8>, Channels),
    I16(Aligned<i16>, Channels),
    F32(Aligned<f32>),
    /// Widened panel by panel if there is a [`Widening`], otherwise as they are read.
    F16(Aligned<u16>, Option<Widening>),
}

/// Share of the L2 cache for a block of rows of codes. A block is multiplied by all panels before the next one, so its
/// codes are read once per panel and should stay in L2. On Zen 3 it hardly matters: 768 outputs of 3072 inputs run at
/// 82 GMAC/s with 60 rows, 84 with 120, 86 with all.
const BLOCK_SHARE: (usize, usize) = (3, 4);

/// Rows of floats are multiplied by a panel all at once: a panel of floats is four times as long and shared by fewer
/// rows. 768 outputs of 3072 inputs, with weights from L3 on Zen 3: 16 to 26 GMAC/s with the 12 rows that fit into
/// three eighths of L2, 33 with 96, 41 with all.
const FLOAT_ROWS: usize = 1 << 16;

/// A multiple of the number of rows of every kind of tile.
const BLOCK_TILES: usize = 12;

/// Number of codes that are held widened in memory, for [`I16`]: 96 rows of ViT-S's hidden activations.
const WIDE_CODES: usize = 96 * 1536;

/// Rows that a layer is applied to.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    /// `[rows, inputs]`, for F32 and F16 weights.
    Float(&'a [f32]),
    /// Codes `[rows, stride]` with [`codes_stride`], and the parameters of each row, for int8 weights.
    Codes(QuantisedRows<'a>),
}

impl Rows<'_> {
    /// All but the first `count` rows of `inputs` values.
    pub fn from(self, count: usize, inputs: usize) -> Self {
        match self {
            Rows::Float(x) => Rows::Float(&x[count * inputs..]),
            Rows::Codes(rows) => Rows::Codes(rows.from(count, codes_stride(inputs))),
        }
    }
}

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputMode {
    /// The result is stored.
    Store,
    /// The result is added to what is already there: the residual stream.
    Add,
}

/// Distance between rows of codes: `inputs` rounded up to the group of the widest integer product.
pub const fn codes_stride(inputs: usize) -> usize {
    inputs.next_multiple_of(4)
}

/// Packs `matrix: [n, k]`, row-major, into panels of 16 columns (the rows of `matrix`), each value through `convert`.
fn pack<S: Copy, N: GemmTypes>(
    n: usize,
    k: usize,
    matrix: &[S],
    convert: impl Fn(S) -> N::B,
) -> Aligned<N::B> {
    match N::GROUP {
        1 => pack_groups::<S, N, 1>(n, k, matrix, convert),
        2 => pack_groups::<S, N, 2>(n, k, matrix, convert),
        4 => pack_groups::<S, N, 4>(n, k, matrix, convert),
        _ => unreachable!("no product takes groups of {}", N::GROUP),
    }
}

/// [`pack`] with the group size as a constant, so that the compiler makes one load and one store of a group.
fn pack_groups<S: Copy, N: GemmTypes, const GROUP: usize>(
    n: usize,
    k: usize,
    matrix: &[S],
    convert: impl Fn(S) -> N::B,
) -> Aligned<N::B> {
    let mut panels = Aligned::zeroed(packed_len::<N>(n, k));
    let panel_len = k.div_ceil(GROUP) * GROUP * PANEL;
    for (panel, rows) in panels.chunks_exact_mut(panel_len).zip(matrix.chunks(PANEL * k)) {
        for (g, group) in panel.chunks_exact_mut(GROUP * PANEL).enumerate() {
            for (to, row) in group.as_chunks_mut::<GROUP>().0.iter_mut().zip(rows.chunks_exact(k)) {
                match row[g * GROUP..].first_chunk::<GROUP>() {
                    Some(whole) => *to = whole.map(&convert),
                    None => to.iter_mut().zip(&row[g * GROUP..]).for_each(|(to, &v)| *to = convert(v)),
                }
            }
        }
    }
    panels
}

/// Number of elements of an `n x k` matrix when packed.
pub(super) fn packed_len<N: GemmTypes>(n: usize, k: usize) -> usize {
    n.div_ceil(PANEL) * PANEL * k.div_ceil(N::GROUP) * N::GROUP
}

fn padded<T: Copy + Default>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.resize(values.len().next_multiple_of(PANEL), T::default());
    values
}

impl PackedLinear {
    fn new(isa: Isa, inputs: usize, weights: Weights, bias: &[f32]) -> PackedLinear {
        PackedLinear { isa, outputs: bias.len(), inputs, weights, bias: padded(bias.iter().copied()) }
    }

    /// A layer in single precision: `weight: [outputs, inputs]`, `bias: [outputs]`.
    pub fn f32(isa: Isa, weight: &[f32], bias: &[f32]) -> PackedLinear {
        let (n, k) = (bias.len(), weight.len() / bias.len());
        assert_eq!(weight.len(), n * k);
        PackedLinear::new(isa, k, Weights::F32(pack::<_, F32>(n, k, weight, |w| w)), bias)
    }

    /// A layer with weights in half precision, in memory too; products and sums are in single precision.
    pub fn f16(isa: Isa, weight: &[f16], bias: &[f32]) -> PackedLinear {
        let (n, k) = (bias.len(), weight.len() / bias.len());
        assert_eq!(weight.len(), n * k);
        let panels = pack::<_, F16>(n, k, weight, f16::to_bits);
        PackedLinear::new(isa, k, Weights::F16(panels, tile::widening(isa)), bias)
    }

    /// A layer with int8 weights `[outputs, inputs]` and one scale per output.
    ///
    /// The product is chosen here: [`U8S8`] with a micro-kernel that is exact on `isa` for these weights, or [`I16`] if
    /// there is none. All give the same sums.
    ///
    /// # Panics
    /// If a weight is -128, the lengths do not agree, or there are more than [`MAX_INPUTS`] inputs.
    pub fn int8(isa: Isa, weight: &[i8], scales: &[f32], bias: &[f32]) -> PackedLinear {
        let (n, k) = (bias.len(), weight.len() / bias.len());
        assert!(weight.len() == n * k && scales.len() == n);
        assert!(k <= MAX_INPUTS, "{k} inputs would overflow a 32-bit sum");
        let row_sum = |row: &[i8]| row.iter().map(|&w| i32::from(w)).sum();
        let channels = Channels {
            scales: padded(scales.iter().copied()),
            sums: padded(weight.chunks_exact(k).map(row_sum)),
        };
        // Not `all`: a search that may stop early is not vectorised, and took longer than packing.
        let largest = weight.iter().fold(0, |most, w| w.unsigned_abs().max(most));
        assert!(largest <= 127, "a weight is -128: int8 weights are -127 to 127");
        let kernel =
            if largest <= NARROW.unsigned_abs() { Some(U8S8::kernel(isa)) } else { tile::wide_u8s8(isa) };
        let weights = if let Some(kernel) = kernel {
            let mut panels = pack::<_, U8S8>(n, k, weight, |w| w);
            U8S8::arrange(isa, k.div_ceil(U8S8::GROUP), &mut panels);
            Weights::U8S8(kernel, panels, channels)
        } else {
            Weights::I16(pack::<_, I16>(n, k, weight, i16::from), channels)
        };
        PackedLinear::new(isa, k, weights, bias)
    }

    /// Number of input channels.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of output channels.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Whether its weights are int8, so that it takes [`Rows::Codes`].
    pub fn is_int8(&self) -> bool {
        matches!(self.weights, Weights::U8S8(..) | Weights::I16(..))
    }

    /// Whether its weights are half precision.
    pub fn is_f16(&self) -> bool {
        matches!(self.weights, Weights::F16(..))
    }

    /// Number of rows in a block, which is multiplied by all panels before the next block, for a core with `l2` bytes
    /// of L2 cache. A block is whole tiles on every instruction set.
    fn block_rows(&self, l2: usize) -> usize {
        let block_bytes = l2 / BLOCK_SHARE.1 * BLOCK_SHARE.0;
        let stride = codes_stride(self.inputs);
        let rows = match &self.weights {
            Weights::I16(..) => (WIDE_CODES / stride).max(96),
            Weights::U8S8(..) => block_bytes / stride,
            Weights::F32(..) | Weights::F16(_, None) => FLOAT_ROWS,
            Weights::F16(_, Some(widening)) => {
                (widening.block_bytes / (4 * self.inputs)).max(Widening::LEAST_ROWS)
            }
        };
        (rows / BLOCK_TILES * BLOCK_TILES).max(BLOCK_TILES)
    }

    /// Applies the layer to `rows` and writes `out: [rows, outputs]`. `scratch` must have been reserved for this layer
    /// and at least as many rows.
    ///
    /// # Panics
    /// If the kind of `rows` does not match the weights, a length is wrong, or `scratch` was not reserved.
    pub fn apply(&self, rows: Rows, scratch: &mut Scratch, out: &mut [f32], into: OutputMode) {
        let most = self.block_rows(scratch.l2);
        for (i, out) in out.chunks_mut(most * self.outputs).enumerate() {
            self.apply_block(rows.from(i * most, self.inputs), scratch, out, into);
        }
    }

    fn apply_block(&self, rows: Rows, scratch: &mut Scratch, out: &mut [f32], into: OutputMode) {
        let m = out.len() / self.outputs;
        let stride = codes_stride(self.inputs);
        let output = Output { out, stride: self.outputs, columns: self.outputs };
        let bias = &self.bias[..];
        let isa = self.isa;
        match (&self.weights, rows) {
            (Weights::F32(w), Rows::Float(x)) => {
                let product = self.float_product(F32::kernel(isa), x, w, &output);
                float(isa, product, bias, &[], output, into);
            }
            (Weights::F16(w, None), Rows::Float(x)) => {
                let product = self.float_product(F16::kernel(isa), x, w, &output);
                float(isa, product, bias, &[], output, into);
            }
            (Weights::F16(w, Some(widening)), Rows::Float(x)) => {
                self.widened(w, widening.widen, x, &mut scratch.panel, output, into);
            }
            (Weights::U8S8(kernel, w, channels), Rows::Codes(QuantisedRows { codes, quants })) => {
                let groups = self.inputs.div_ceil(U8S8::GROUP);
                let (codes, stride) = if kernel.pairs() {
                    tile::pair_rows(codes, stride, m, stride, &mut scratch.pairs);
                    (&scratch.pairs[..], tile::paired_stride(stride))
                } else {
                    (codes, stride)
                };
                let product = Product { kernel: *kernel, m: output.rows(), groups, a: codes, stride, b: w };
                int(isa, product, quants, channels, bias, output, into);
            }
            (Weights::I16(w, channels), Rows::Codes(QuantisedRows { codes, quants })) => {
                let wide = &mut scratch.wide[..m * stride];
                widen(isa, &codes[..m * stride], wide);
                let groups = self.inputs.div_ceil(I16::GROUP);
                let product =
                    Product { kernel: I16::kernel(isa), m: output.rows(), groups, a: wide, stride, b: w };
                int(isa, product, quants, channels, bias, output, into);
            }
            _ => panic!("int8 weights take codes, float weights take floats"),
        }
    }

    /// The product of rows `x: [rows, inputs]`, as many as `output` has, and the panels of `weights`.
    fn float_product<'a, N: FloatNumbers>(
        &self,
        kernel: Kernel<N>,
        x: &'a [f32],
        weights: &'a [N::B],
        output: &Output,
    ) -> Product<'a, N> {
        Product { kernel, m: output.rows(), groups: self.inputs, a: x, stride: self.inputs, b: weights }
    }

    /// Applies fp16 `weights` panel by panel, each widened in `panel` while the next one is prefetched.
    fn widened(
        &self,
        weights: &[u16],
        widen: fn(&[u16], &mut [f32]),
        x: &[f32],
        panel: &mut [f32],
        output: Output,
        into: OutputMode,
    ) {
        let len = self.inputs * PANEL;
        let panel = &mut panel[..len];
        let Output { out, stride, columns } = output;
        let mut weights = weights.chunks_exact(len).peekable();
        let mut first = 0;
        while let Some(half) = weights.next() {
            widen(half, panel);
            let ahead = weights.peek().copied().unwrap_or(&[]);
            let output = Output { out: &mut out[first..], stride, columns: PANEL.min(columns - first) };
            let bias = &self.bias[first..first + PANEL];
            let product = self.float_product(F32::kernel(self.isa), x, panel, &output);
            float(self.isa, product, bias, ahead, output, into);
            first += PANEL;
        }
    }
}

per_isa! {
    fn widen(codes: &[u8], wide: &mut [i16]) {
        for (w, &c) in wide.iter_mut().zip(codes) {
            *w = i16::from(c);
        }
    }
}

// In the next two, what the epilogue reads is passed as slices and not as its struct: only of a parameter that is a
// reference does the compiler know that writing the output does not change it.
per_isa! {
    fn float<N: FloatNumbers>(
        product: Product<N>,
        bias: &[f32],
        ahead: &[u16],
        output: Output,
        into: OutputMode,
    ) {
        match into {
            OutputMode::Store => product.for_tiles(FloatOutput::<false> { output, bias, ahead }),
            OutputMode::Add => product.for_tiles(FloatOutput::<true> { output, bias, ahead }),
        }
    }
}

per_isa! {
    fn int<N: IntNumbers>(
        product: Product<N>,
        quants: &[QuantParams],
        channels: &Channels,
        bias: &[f32],
        output: Output,
        into: OutputMode,
    ) {
        match into {
            OutputMode::Store => product.for_tiles(IntOutput::<false> { output, quants, channels, bias }),
            OutputMode::Add => product.for_tiles(IntOutput::<true> { output, quants, channels, bias }),
        }
    }
}

/// Data types of float products.
trait FloatNumbers: GemmTypes<A = f32, Sum = f32> {}
impl FloatNumbers for F32 {}
impl FloatNumbers for F16 {}

/// Data types of integer products.
trait IntNumbers: GemmTypes<Sum = i32> {}
impl IntNumbers for U8S8 {}
impl IntNumbers for I16 {}
