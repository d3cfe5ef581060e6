//! Dense layers: weights packed once for an instruction set, then rows times weights with a fused epilogue.

use half::f16;

use super::Isa;
use super::aligned::Aligned;
use super::isa::per_isa;
use super::quantise::Quant;
use super::tile::{self, Epilogue, F16, F32, I16, Kernel, NARROW, Numbers, PANEL, Sums, U8S8, for_tiles};

/// Most inputs of an int8 layer: the largest sum, 255 * 127 * inputs, must fit an i32.
pub const MAX_INPUTS: usize = 66_000;

/// `y = x W^T + b`, packed for one instruction set.
pub struct Linear {
    isa: Isa,
    outputs: usize,
    inputs: usize,
    weights: Weights,
    /// `[outputs]`, padded with zeros to whole panels.
    bias: Vec<f32>,
}

enum Weights {
    U8S8(Aligned<i8>, Channels),
    I16(Aligned<i16>, Channels),
    F32(Aligned<f32>),
    F16(Aligned<u16>),
}

/// What an output channel of an int8 layer needs besides its weights; padded to whole panels.
struct Channels {
    scales: Vec<f32>,
    /// Sum of the channel's weights: the zero point of a row of activations multiplies it.
    sums: Vec<i32>,
}

/// Rows that a layer is applied to.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    /// `[rows, inputs]`, for F32 and F16 weights.
    Float(&'a [f32]),
    /// Quantised: codes `[rows, stride]` with [`codes_stride`], and each row's [`Quant`]; for int8 weights.
    Codes(&'a [u8], &'a [Quant]),
}

/// What happens to a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Into {
    /// It is stored.
    Store,
    /// It is added to what is there: the residual stream.
    Add,
}

/// Distance between rows of codes: `inputs` rounded up to the group of the widest integer product.
pub const fn codes_stride(inputs: usize) -> usize {
    inputs.next_multiple_of(4)
}

/// Packs `matrix: [n, k]`, row-major, into panels of 16 columns (its rows), each value through `convert`.
fn pack<S: Copy, N: Numbers>(n: usize, k: usize, matrix: &[S], convert: impl Fn(S) -> N::B) -> Aligned<N::B> {
    let mut panels = Aligned::zeroed(packed_len::<N>(n, k));
    let panel_len = k.div_ceil(N::GROUP) * N::GROUP * PANEL;
    for (panel, rows) in panels.chunks_exact_mut(panel_len).zip(matrix.chunks(PANEL * k)) {
        for (column, row) in rows.chunks_exact(k).enumerate() {
            for (g, group) in row.chunks(N::GROUP).enumerate() {
                let to = &mut panel[(g * PANEL + column) * N::GROUP..][..group.len()];
                to.iter_mut().zip(group).for_each(|(to, &v)| *to = convert(v));
            }
        }
    }
    panels
}

/// Elements that `n x k` take when packed.
pub(super) fn packed_len<N: Numbers>(n: usize, k: usize) -> usize {
    n.div_ceil(PANEL) * PANEL * k.div_ceil(N::GROUP) * N::GROUP
}

fn padded<T: Copy + Default>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.resize(values.len().next_multiple_of(PANEL), T::default());
    values
}

impl Linear {
    fn new(isa: Isa, inputs: usize, weights: Weights, bias: &[f32]) -> Linear {
        Linear { isa, outputs: bias.len(), inputs, weights, bias: padded(bias.iter().copied()) }
    }

    /// Single precision: `weight: [outputs, inputs]`, `bias: [outputs]`.
    pub fn f32(isa: Isa, weight: &[f32], bias: &[f32]) -> Linear {
        let (n, k) = (bias.len(), weight.len() / bias.len());
        assert_eq!(weight.len(), n * k);
        Linear::new(isa, k, Weights::F32(pack::<_, F32>(n, k, weight, |w| w)), bias)
    }

    /// Weights in half precision, products and sums in single.
    ///
    /// Where widening them on the way costs more than it saves ([`tile::keeps_fp16`]) they are widened here: the same bits,
    /// twice the memory.
    pub fn f16(isa: Isa, weight: &[f16], bias: &[f32]) -> Linear {
        let (n, k) = (bias.len(), weight.len() / bias.len());
        assert_eq!(weight.len(), n * k);
        let weights = if tile::keeps_fp16(isa) {
            Weights::F16(pack::<_, F16>(n, k, weight, f16::to_bits))
        } else {
            Weights::F32(pack::<_, F32>(n, k, weight, f16::to_f32))
        };
        Linear::new(isa, k, weights, bias)
    }

    /// int8 weights `[outputs, inputs]`, a scale for each output.
    ///
    /// The product is chosen here: [`U8S8`] where it is exact on `isa` for these very weights, else
    /// [`I16`]. Both give the same sums.
    pub fn int8(isa: Isa, weight: &[i8], scales: &[f32], bias: &[f32]) -> Linear {
        let (n, k) = (bias.len(), weight.len() / bias.len());
        assert!(weight.len() == n * k && scales.len() == n);
        assert!(k <= MAX_INPUTS, "{k} inputs would overflow a 32-bit sum");
        let row_sum = |row: &[i8]| row.iter().map(|&w| i32::from(w)).sum();
        let channels = Channels {
            scales: padded(scales.iter().copied()),
            sums: padded(weight.chunks_exact(k).map(row_sum)),
        };
        let narrow = weight.iter().all(|w| w.unsigned_abs() <= NARROW.unsigned_abs());
        let weights = if narrow || tile::wide_u8s8(isa) {
            let mut panels = pack::<_, U8S8>(n, k, weight, |w| w);
            U8S8::arrange(isa, k.div_ceil(U8S8::GROUP), &mut panels);
            Weights::U8S8(panels, channels)
        } else {
            Weights::I16(pack::<_, I16>(n, k, weight, i16::from), channels)
        };
        Linear::new(isa, k, weights, bias)
    }

    /// Input channels.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Whether it takes [`Rows::Codes`].
    pub fn is_int8(&self) -> bool {
        matches!(self.weights, Weights::U8S8(..) | Weights::I16(..))
    }

    /// Whether its weights are half precision in memory.
    pub fn is_f16(&self) -> bool {
        matches!(self.weights, Weights::F16(..))
    }

    /// Applies the layer to `rows`, into `out: [rows, outputs]`. `wide: [rows, codes_stride(inputs)]` is scratch, used
    /// by [`I16`] alone.
    ///
    /// # Panics
    /// When the kind of `rows` is not that of the weights, or a length is wrong.
    pub fn apply(&self, rows: Rows, wide: &mut [i16], out: &mut [f32], into: Into) {
        let m = out.len() / self.outputs;
        let stride = codes_stride(self.inputs);
        let output = Output { out, n: self.outputs, bias: &self.bias, into };
        let isa = self.isa;
        match (&self.weights, rows) {
            (Weights::F32(w), Rows::Float(x)) => {
                float(isa, F32::kernel(isa), x, self.inputs, w, output);
            }
            (Weights::F16(w), Rows::Float(x)) => {
                float(isa, F16::kernel(isa), x, self.inputs, w, output);
            }
            (Weights::U8S8(w, channels), Rows::Codes(codes, quants)) => {
                let groups = self.inputs.div_ceil(U8S8::GROUP);
                int(isa, U8S8::kernel(isa), codes, stride, groups, quants, w, channels, output);
            }
            (Weights::I16(w, channels), Rows::Codes(codes, quants)) => {
                let wide = &mut wide[..m * stride];
                widen(isa, &codes[..m * stride], wide);
                let groups = self.inputs.div_ceil(I16::GROUP);
                int(isa, I16::kernel(isa), wide, stride, groups, quants, w, channels, output);
            }
            _ => panic!("int8 weights take codes, float weights take floats"),
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

/// Where results go: `out: [rows, n]`, with the bias of each column (padded) added.
struct Output<'a> {
    out: &'a mut [f32],
    n: usize,
    bias: &'a [f32],
    into: Into,
}

impl Output<'_> {
    /// Stores or adds columns `panel * PANEL..` of a row, cut to the matrix's width.
    #[inline(always)]
    fn put(&mut self, row: usize, panel: usize, y: &[f32; PANEL]) {
        let first = panel * PANEL;
        let width = PANEL.min(self.n - first);
        let out = &mut self.out[row * self.n + first..][..width];
        match (self.into, <&mut [f32; PANEL]>::try_from(&mut *out)) {
            (Into::Store, Ok(full)) => *full = *y,
            (Into::Add, Ok(full)) => full.iter_mut().zip(y).for_each(|(o, y)| *o += y),
            (Into::Store, Err(_)) => out.copy_from_slice(&y[..width]),
            (Into::Add, Err(_)) => out.iter_mut().zip(y).for_each(|(o, y)| *o += y),
        }
    }
}

/// Sixteen values of a padded vector.
#[inline(always)]
pub(super) fn columns<T>(padded: &[T], panel: usize) -> &[T; PANEL] {
    padded[panel * PANEL..][..PANEL].try_into().expect("padded to whole panels")
}

struct FloatOutput<'a>(Output<'a>);

impl Epilogue<f32> for FloatOutput<'_> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, sums: &Sums<f32>) {
        let bias = columns(self.0.bias, panel);
        for (r, sums) in sums.iter().enumerate().take(rows) {
            let mut y = *sums;
            for c in 0..PANEL {
                y[c] += bias[c];
            }
            self.0.put(row + r, panel, &y);
        }
    }
}

struct IntOutput<'a> {
    output: Output<'a>,
    quants: &'a [Quant],
    channels: &'a Channels,
}

impl Epilogue<i32> for IntOutput<'_> {
    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, acc: &Sums<i32>) {
        let bias = columns(self.output.bias, panel);
        let scales = columns(&self.channels.scales, panel);
        let sums = columns(&self.channels.sums, panel);
        for (r, acc) in acc.iter().enumerate().take(rows) {
            let Quant { scale, zero } = self.quants[row + r];
            let mut y = [0.0; PANEL];
            for c in 0..PANEL {
                let sum = acc[c] - zero * sums[c];
                y[c] = (sum as f32).mul_add(scale * scales[c], bias[c]);
            }
            self.output.put(row + r, panel, &y);
        }
    }
}

per_isa! {
    fn float<N: FloatNumbers>(kernel: Kernel<N>, x: &[f32], k: usize, weights: &[N::B], output: Output) {
        let m = output.out.len() / output.n;
        for_tiles::<N>(kernel, m, k, x, k, weights, &mut FloatOutput(output));
    }
}

per_isa! {
    #[allow(clippy::too_many_arguments)]
    fn int<N: IntNumbers>(
        kernel: Kernel<N>,
        codes: &[N::A],
        stride: usize,
        groups: usize,
        quants: &[Quant],
        weights: &[N::B],
        channels: &Channels,
        output: Output,
    ) {
        let m = output.out.len() / output.n;
        for_tiles::<N>(kernel, m, groups, codes, stride, weights, &mut IntOutput { output, quants, channels });
    }
}

/// Products of floats.
trait FloatNumbers: Numbers<A = f32, Sum = f32> {}
impl FloatNumbers for F32 {}
impl FloatNumbers for F16 {}

/// Products of integers.
trait IntNumbers: Numbers<Sum = i32> {}
impl IntNumbers for U8S8 {}
impl IntNumbers for I16 {}
