//! Writes the results of tiles to rows of the output.

use super::tile::{Lines, PANEL};

/// Some columns of an output matrix: `out: [rows, stride]`, of which the first `columns` of each row are written.
///
/// The rows of a panel are cache lines far apart, which hardware prefetchers do not predict. Without prefetching them a
/// third of the epilogue's time was spent waiting for the residual stream (Zen 3, ViT-S at 224 px).
pub(super) struct Output<'a> {
    pub(super) out: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) columns: usize,
}

/// Computes output rows from a tile's accumulators. A trait, not a closure: see [`super::tile::Epilogue`].
pub(super) trait RowOf {
    /// Output values of row `r` of the tile.
    fn row(&self, r: usize) -> [f32; PANEL];
}

impl Output<'_> {
    /// Number of rows; the last row may end after the columns that are written.
    #[inline(always)]
    pub(super) fn rows(&self) -> usize {
        self.out.len().div_ceil(self.stride)
    }

    /// Where [`Output::put`] writes.
    #[inline(always)]
    pub(super) fn lines(&self, row: usize, panel: usize) -> Lines {
        let first = self.out.as_ptr().wrapping_add(row * self.stride + panel * PANEL);
        Lines { first: first.cast(), stride: self.stride * size_of::<f32>() }
    }

    /// The output from `row` and `panel` on, if `panels` panels are not truncated.
    #[inline(always)]
    pub(super) fn whole(&mut self, row: usize, panel: usize, panels: usize) -> Option<&mut [f32]> {
        let first = panel * PANEL;
        (first + panels * PANEL <= self.columns).then(|| &mut self.out[row * self.stride + first..])
    }

    /// Stores `y.row(r)` in columns `panel * PANEL..` of each row `row + r`, or adds it to them if `ADD`, truncated to
    /// the width. Whole panels have a separate loop: sixteen values that may be truncated anywhere are kept in memory,
    /// even if none is.
    #[inline(always)]
    pub(super) fn put<const ADD: bool>(&mut self, row: usize, panel: usize, rows: usize, y: impl RowOf) {
        let first = panel * PANEL;
        let width = self.columns - first;
        let out = &mut self.out[row * self.stride + first..];
        if width >= PANEL {
            for r in 0..rows {
                let y = y.row(r);
                let out: &mut [f32; PANEL] = out[r * self.stride..].first_chunk_mut().expect("a whole panel");
                for c in 0..PANEL {
                    out[c] = if ADD { out[c] + y[c] } else { y[c] };
                }
            }
        } else {
            for r in 0..rows {
                for (out, y) in out[r * self.stride..][..width].iter_mut().zip(y.row(r)) {
                    *out = if ADD { *out + y } else { y };
                }
            }
        }
    }
}
