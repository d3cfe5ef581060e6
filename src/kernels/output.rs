//! Where the results of tiles go.

use super::tile::{PANEL, prefetch};

/// Some columns of rows: `out: [rows, stride]`, of which the first `columns` of each are written.
pub(super) struct Output<'a> {
    pub(super) out: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) columns: usize,
}

/// What is computed of a row's sums. A trait and no closure, as [`super::tile::Epilogue`].
pub(super) trait RowOf {
    /// Of row `r` of the tile.
    fn row(&self, r: usize) -> [f32; PANEL];
}

impl Output<'_> {
    /// Rows; of the last there may be but the columns that are written.
    #[inline(always)]
    pub(super) fn rows(&self) -> usize {
        self.out.len().div_ceil(self.stride)
    }

    /// Asks for what [`Output::put`] will write. A panel's rows are lines of memory far apart, which no CPU guesses: without this a
    /// third of the epilogue's time was the wait for the residual stream (Zen 3, ViT-S at 224 px).
    #[inline(always)]
    pub(super) fn expect(&self, row: usize, panel: usize, rows: usize) {
        let first = panel * PANEL;
        for r in row..row + rows {
            let line = &self.out[r * self.stride + first..];
            prefetch(&line[..PANEL.min(line.len())]);
        }
    }

    /// Stores, or adds, `y.row(r)` as columns `panel * PANEL..` of each row `row + r`, cut to the width. Whole panels have a loop of
    /// their own: sixteen values that may be cut anywhere are kept in memory, whether they are cut or not.
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
