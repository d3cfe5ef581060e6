//! Integer sums that a micro-kernel writes as floats by itself, from its registers.

use super::{MAX_PANELS, PANEL};
use crate::kernels::quantise::QuantParams;

/// Where and how a micro-kernel writes whole panels of some rows: `out = (sum - zero * column's sum) * (scale *
/// column's scale) + bias`, or `out += ...`. The product with the scales and the addition of the bias are one fused
/// multiply-add; the addition to `out` is rounded by itself.
pub(in crate::kernels) struct Direct<'a> {
    /// Parameters of the rows.
    pub(in crate::kernels) quants: &'a [QuantParams],
    /// Scales of the columns.
    pub(in crate::kernels) scales: &'a [f32],
    /// Sums of the columns' codes.
    pub(in crate::kernels) sums: &'a [i32],
    /// Bias of the columns.
    pub(in crate::kernels) bias: &'a [f32],
    /// `[rows, stride]`, from the first column on.
    pub(in crate::kernels) out: &'a mut [f32],
    pub(in crate::kernels) stride: usize,
    /// Whether the results are added to what is in `out`.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only AVX-512 writes sums by itself"))]
    pub(in crate::kernels) add: bool,
}

impl Direct<'_> {
    /// Whether it is long enough for `rows` rows and `panels` whole panels.
    pub(super) fn holds(&self, rows: usize, panels: usize) -> bool {
        let columns = panels * PANEL;
        panels <= MAX_PANELS
            && self.quants.len() >= rows
            && [self.scales.len(), self.sums.len(), self.bias.len()].iter().all(|&len| len >= columns)
            && self.out.len() >= (rows - 1) * self.stride + columns
    }
}
