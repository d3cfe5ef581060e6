//! Epilogues of layers: from accumulators to outputs.

use crate::kernels::output::{Output, RowOf};
use crate::kernels::quantise::QuantParams;
use crate::kernels::tile::{Direct, Epilogue, Lines, PANEL, Sums, prefetch};

/// The sixteen values of panel `panel` in a padded vector.
#[inline(always)]
pub(in crate::kernels) fn columns<T>(padded: &[T], panel: usize) -> &[T; PANEL] {
    padded[panel * PANEL..][..PANEL].try_into().expect("padded to whole panels")
}

/// Parameters of an int8 layer's output channels besides the weights; padded to whole panels.
pub(super) struct Channels {
    pub(super) scales: Vec<f32>,
    /// Sum of each channel's weights, by which the zero point of a row of activations is multiplied.
    pub(super) sums: Vec<i32>,
}

/// Writes float sums to `output`, with their bias, or adds them if `ADD`.
pub(super) struct FloatOutput<'a, const ADD: bool> {
    pub(super) output: Output<'a>,
    /// Bias of the columns, padded.
    pub(super) bias: &'a [f32],
    /// Weights that are read next: each tile prefetches its share.
    pub(super) ahead: &'a [u16],
}

/// A tile's float accumulators, and the bias of its columns.
struct FloatRows<'a> {
    acc: &'a Sums<f32>,
    bias: &'a [f32; PANEL],
}

impl RowOf for FloatRows<'_> {
    #[inline(always)]
    fn row(&self, r: usize) -> [f32; PANEL] {
        let acc = &self.acc[r];
        let mut y = [0.0; PANEL];
        for c in 0..PANEL {
            y[c] = acc[c] + self.bias[c];
        }
        y
    }
}

impl<const ADD: bool> Epilogue<f32> for FloatOutput<'_, ADD> {
    #[inline(always)]
    fn written(&self, row: usize, panel: usize) -> Option<Lines> {
        Some(self.output.lines(row, panel))
    }

    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, acc: &Sums<f32>) {
        if !self.ahead.is_empty() {
            let until = |row: usize| self.ahead.len() * row / self.output.rows();
            prefetch(&self.ahead[until(row)..until(row + rows)]);
        }
        let bias = columns(self.bias, panel);
        self.output.put::<ADD>(row, panel, rows, FloatRows { acc, bias });
    }
}

/// Writes integer sums to `output` as floats, with their bias, or adds them if `ADD`.
pub(super) struct IntOutput<'a, const ADD: bool> {
    pub(super) output: Output<'a>,
    pub(super) quants: &'a [QuantParams],
    pub(super) channels: &'a Channels,
    /// Bias of the columns, padded.
    pub(super) bias: &'a [f32],
}

/// A tile's integer accumulators, and the parameters that convert them to floats.
struct IntRows<'a> {
    acc: &'a Sums<i32>,
    quants: &'a [QuantParams],
    scales: &'a [f32; PANEL],
    sums: &'a [i32; PANEL],
    bias: &'a [f32; PANEL],
}

impl RowOf for IntRows<'_> {
    #[inline(always)]
    fn row(&self, r: usize) -> [f32; PANEL] {
        let QuantParams { scale, zero } = self.quants[r];
        let acc = &self.acc[r];
        let mut y = [0.0; PANEL];
        for c in 0..PANEL {
            let sum = acc[c] - zero * self.sums[c];
            y[c] = (sum as f32).mul_add(scale * self.scales[c], self.bias[c]);
        }
        y
    }
}

impl<const ADD: bool> Epilogue<i32> for IntOutput<'_, ADD> {
    #[inline(always)]
    fn written(&self, row: usize, panel: usize) -> Option<Lines> {
        Some(self.output.lines(row, panel))
    }

    #[inline(always)]
    fn direct(&mut self, row: usize, panel: usize, panels: usize) -> Option<Direct<'_>> {
        let columns = panel * PANEL..(panel + panels) * PANEL;
        Some(Direct {
            quants: &self.quants[row..],
            scales: &self.channels.scales[columns.clone()],
            sums: &self.channels.sums[columns.clone()],
            bias: &self.bias[columns],
            stride: self.output.stride,
            out: self.output.whole(row, panel, panels)?,
            add: ADD,
        })
    }

    #[inline(always)]
    fn take(&mut self, row: usize, panel: usize, rows: usize, acc: &Sums<i32>) {
        let bias = columns(self.bias, panel);
        let scales = columns(&self.channels.scales, panel);
        let sums = columns(&self.channels.sums, panel);
        let quants = &self.quants[row..row + rows];
        self.output.put::<ADD>(row, panel, rows, IntRows { acc, quants, scales, sums, bias });
    }
}
