//! Separable antialiased resampling in a specified order of operations, so that every machine computes the same bits.
//!
//! The filter is that of Pillow and of PyTorch's `interpolate(antialias=True)`: pixel centres at half-integers, a
//! kernel whose support grows with the scale when the image shrinks, and weights normalised over the pixels inside it.
//! Weights are computed in f64 and rounded once to f32. Each pass sums its taps in ascending order, one multiplication
//! and one addition per step (no fused multiply-add); rows are filtered first, then columns. The loops can therefore be
//! compiled for every instruction set, and all give the same bits.

use super::isa::{Isa, per_isa};

/// A resampling kernel: its radius in source pixels at scale 1, and its value as a function of distance.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Distance beyond which the kernel is zero.
    pub radius: f64,
    /// The kernel's value at a distance from the centre.
    pub value: fn(f64) -> f64,
}

/// The triangle kernel.
pub const TRIANGLE: Kernel = Kernel { radius: 1.0, value: |x| (1.0 - x.abs()).max(0.0) };

/// Keys' cubic convolution with a = -0.5 (Keys 1981), as Pillow and PyTorch's antialiased bicubic use it.
pub const CUBIC: Kernel = Kernel {
    radius: 2.0,
    value: |x| {
        const A: f64 = -0.5;
        let x = x.abs();
        if x < 1.0 {
            ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
        } else if x < 2.0 {
            (((x - 5.0) * x + 8.0) * x - 4.0) * A
        } else {
            0.0
        }
    },
};

/// Pillow's box: the mean of the pixels under it.
pub const BOX: Kernel = Kernel { radius: 0.5, value: |x| if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 } };

/// Pillow's Hamming window of radius 1.
pub const HAMMING: Kernel = Kernel {
    radius: 1.0,
    value: |x| {
        let x = x.abs();
        if x < 1.0 { sinc(x) * (0.54 + 0.46 * libm::cos(std::f64::consts::PI * x)) } else { 0.0 }
    },
};

/// Pillow's Lanczos window of radius 3.
pub const LANCZOS: Kernel =
    Kernel { radius: 3.0, value: |x| if x.abs() < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 } };

/// `sin(pi x) / (pi x)`, without the platform's sine; exact at whole numbers, where pi has no exact multiple.
fn sinc(x: f64) -> f64 {
    if x == x.trunc() {
        return if x == 0.0 { 1.0 } else { 0.0 };
    }
    let x = std::f64::consts::PI * x;
    libm::sin(x) / x
}

/// The taps of one axis: for each output position, the first input position and its weights.
#[derive(Clone, Debug)]
pub struct Filter {
    input: usize,
    taps: Vec<(usize, Vec<f32>)>,
}

impl Filter {
    /// The taps that turn `input` samples into `output` samples.
    ///
    /// # Panics
    /// If `input` or `output` is zero.
    pub fn new(input: usize, output: usize, kernel: Kernel) -> Filter {
        Filter::part(input, output, 0, output, kernel)
    }

    /// The `count` output samples of [`Filter::new`] from index `first` on. Samples before the first or past the last
    /// have no taps and become zero.
    ///
    /// # Panics
    /// As [`Filter::new`].
    pub fn part(input: usize, output: usize, first: isize, count: usize, kernel: Kernel) -> Filter {
        assert!(input > 0 && output > 0, "an axis of zero samples cannot be resampled");
        let scale = input as f64 / output as f64;
        let stretch = scale.max(1.0);
        let support = kernel.radius * stretch;
        Filter::of(input, output, first, count, |i| {
            let centre = (i as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).floor().max(0.0) as usize;
            let last = ((centre + support + 0.5).floor() as usize).min(input);
            let weights: Vec<f64> =
                (first..last).map(|j| (kernel.value)((j as f64 - centre + 0.5) / stretch)).collect();
            let sum: f64 = weights.iter().sum();
            (first, weights.iter().map(|w| (w / sum) as f32).collect())
        })
    }

    /// Like [`Filter::part`], but takes the nearest sample, as Pillow's `NEAREST` and PyTorch's `nearest-exact` do.
    ///
    /// # Panics
    /// As [`Filter::new`].
    pub fn nearest(input: usize, output: usize, first: isize, count: usize) -> Filter {
        assert!(input > 0 && output > 0, "an axis of zero samples cannot be resampled");
        let scale = input as f64 / output as f64;
        Filter::of(input, output, first, count, |i| {
            ((((i as f64 + 0.5) * scale) as usize).min(input - 1), vec![1.0])
        })
    }

    /// PyTorch's `interpolate(mode="bicubic")` without antialiasing: Keys' kernel with a = -0.75 over four samples at
    /// any scale; samples past an edge take the edge's value.
    ///
    /// # Panics
    /// As [`Filter::new`].
    pub fn plain_cubic(input: usize, output: usize) -> Filter {
        assert!(input > 0 && output > 0, "an axis of zero samples cannot be resampled");
        const A: f64 = -0.75;
        let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
        let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
        let scale = input as f64 / output as f64;
        Filter::of(input, output, 0, output, |i| {
            let centre = (i as f64 + 0.5) * scale - 0.5;
            let t = centre - centre.floor();
            let base = centre.floor() as isize - 1;
            let edge = input as isize - 1;
            let first = base.clamp(0, edge);
            let mut weights = vec![0.0; ((base + 3).clamp(0, edge) - first) as usize + 1];
            for (j, w) in [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)].into_iter().enumerate() {
                weights[((base + j as isize).clamp(0, edge) - first) as usize] += w;
            }
            (first as usize, weights.iter().map(|w| *w as f32).collect())
        })
    }

    fn of(
        input: usize,
        output: usize,
        first: isize,
        count: usize,
        tap: impl Fn(usize) -> (usize, Vec<f32>),
    ) -> Filter {
        let taps = (first..first + count as isize).map(|i| match usize::try_from(i) {
            Err(_) => (0, Vec::new()),
            Ok(i) if i >= output => (input, Vec::new()),
            Ok(i) => tap(i),
        });
        Filter { input, taps: taps.collect() }
    }

    /// Number of input samples.
    pub fn input(&self) -> usize {
        self.input
    }

    /// Number of output samples.
    pub fn output(&self) -> usize {
        self.taps.len()
    }

    /// Filters one line: `input` is `[self.input(), channels]`, `output` is `[self.output(), channels]`. Several lines
    /// whose values are interleaved are filtered as one line with that many times the channels.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn line(&self, isa: Isa, input: &[f32], output: &mut [f32], channels: usize) {
        assert_eq!(input.len(), self.input * channels);
        assert_eq!(output.len(), self.output() * channels);
        filter_line(isa, &self.taps, input, output, channels);
    }

    /// Filters across lines: `lines` is `[self.input(), width]`, and line `row` of the result goes to `out`
    /// (`[width]`).
    ///
    /// # Panics
    /// If a slice has the wrong length or `row` is not below [`Filter::output`].
    pub fn across(&self, lines: &[f32], width: usize, row: usize, out: &mut [f32]) {
        assert_eq!(lines.len(), self.input * width);
        let (first, weights) = &self.taps[row];
        weighted_sum(&lines[first * width..], width, weights, out);
    }

    /// Adds input line `row` (`[width]`) to every line of `lines` (`[self.output(), width]`, initially zero) that it
    /// contributes to. Adding all input lines in ascending order gives the bits of [`Filter::across`], and only one of
    /// them has to be in memory.
    ///
    /// # Panics
    /// If a slice has the wrong length or `row` is not below [`Filter::input`].
    pub fn spread(&self, isa: Isa, row: usize, line: &[f32], lines: &mut [f32]) {
        let width = line.len();
        assert!(row < self.input && lines.len() == self.output() * width);
        // The positions of the first and last tap never decrease from one output line to the next.
        let begin = self.taps.partition_point(|(first, weights)| first + weights.len() <= row);
        let end = self.taps.partition_point(|(first, _)| *first <= row);
        spread_line(isa, &self.taps[begin..end], row, line, &mut lines[begin * width..]);
    }
}

/// The first input position and the weights of each output.
type Taps = [(usize, Vec<f32>)];

per_isa! {
    fn filter_line(taps: &Taps, input: &[f32], output: &mut [f32], channels: usize) {
        for ((first, weights), out) in taps.iter().zip(output.chunks_exact_mut(channels)) {
            weighted_sum(&input[first * channels..], channels, weights, out);
        }
    }
}

per_isa! {
    fn spread_line(taps: &Taps, row: usize, line: &[f32], lines: &mut [f32]) {
        for ((first, weights), out) in taps.iter().zip(lines.chunks_exact_mut(line.len())) {
            let weight = weights[row - first];
            for (o, v) in out.iter_mut().zip(line) {
                *o += weight * v;
            }
        }
    }
}

/// Number of values that are summed at once, in a register.
const LANES: usize = 8;

/// `out = sum_i weights[i] * input[i * stride ..]`, taps in ascending order.
#[inline(always)]
fn weighted_sum(input: &[f32], stride: usize, weights: &[f32], out: &mut [f32]) {
    let (whole, rest) = out.as_chunks_mut::<LANES>();
    let at = whole.len() * LANES;
    for (i, out) in whole.iter_mut().enumerate() {
        let mut sum = [0.0; LANES];
        for (tap, weight) in weights.iter().enumerate() {
            let values = &input[tap * stride + i * LANES..][..LANES];
            for l in 0..LANES {
                sum[l] += weight * values[l];
            }
        }
        *out = sum;
    }
    for (i, out) in rest.iter_mut().enumerate() {
        *out = weights
            .iter()
            .enumerate()
            .fold(0.0, |sum, (tap, weight)| sum + weight * input[tap * stride + at + i]);
    }
}

/// Resamples `input` (`[rows, cols, channels]`) to `[vertical.output(), horizontal.output(), channels]`.
///
/// # Panics
/// If `input` does not have `vertical.input() * cols * channels` values.
pub fn resample(
    input: &[f32],
    cols: usize,
    channels: usize,
    vertical: &Filter,
    horizontal: &Filter,
) -> Vec<f32> {
    assert_eq!(input.len(), vertical.input() * cols * channels);
    let width = horizontal.output() * channels;
    let mut lines = vec![0.0; vertical.input() * width];
    let isa = Isa::best();
    for (line, out) in input.chunks_exact(cols * channels).zip(lines.chunks_exact_mut(width)) {
        horizontal.line(isa, line, out, channels);
    }
    let mut output = vec![0.0; vertical.output() * width];
    for (row, out) in output.chunks_exact_mut(width).enumerate() {
        vertical.across(&lines, width, row, out);
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_keeps_the_bits() {
        let input: Vec<f32> = (0..35).map(|i| (i as f32).sin()).collect();
        for kernel in [TRIANGLE, CUBIC, BOX, HAMMING, LANCZOS] {
            let output = resample(&input, 7, 1, &Filter::new(5, 5, kernel), &Filter::new(7, 7, kernel));
            assert_eq!(output, input);
        }
    }

    #[test]
    fn lines_spread_one_by_one_give_the_same_bits() {
        for (from, to) in [(37, 16), (16, 37), (9, 9), (5, 1), (1, 5)] {
            for kernel in [TRIANGLE, CUBIC] {
                let filter = Filter::new(from, to, kernel);
                for width in [3, 19] {
                    let lines: Vec<f32> = (0..from * width).map(|i| (i as f32).sin()).collect();
                    let mut across = vec![0.0; to * width];
                    for (row, out) in across.chunks_exact_mut(width).enumerate() {
                        filter.across(&lines, width, row, out);
                    }
                    for isa in Isa::available() {
                        let (mut spread, mut along) = (vec![0.0; to * width], vec![0.0; to * width]);
                        for (row, line) in lines.chunks_exact(width).enumerate() {
                            filter.spread(isa, row, line, &mut spread);
                        }
                        filter.line(isa, &lines, &mut along, width);
                        assert_eq!(spread, across, "{from} -> {to} on {isa}");
                        assert_eq!(along, across, "{from} -> {to} on {isa}");
                    }
                }
            }
        }
    }

    #[test]
    fn weights_sum_to_one_and_a_constant_stays() {
        for (from, to) in [(1, 16), (7, 16), (500, 224), (16, 1), (224, 500)] {
            for kernel in [TRIANGLE, CUBIC] {
                let filter = Filter::new(from, to, kernel);
                let mut out = vec![0.0; to];
                filter.line(Isa::SCALAR, &vec![0.75; from], &mut out, 1);
                // Each of up to 2 * support weights is rounded once, and so is each addition.
                let taps = filter.taps.iter().map(|t| t.1.len()).max().unwrap();
                let bound = 2.0 * taps as f32 * f32::EPSILON;
                assert!(out.iter().all(|v| (v - 0.75).abs() <= bound), "{from} -> {to}");
            }
        }
    }
}
