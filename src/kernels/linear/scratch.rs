//! Working memory of layers.

use std::collections::TryReserveError;

use super::{PackedLinear, Weights, codes_stride};
use crate::kernels::aligned::Aligned;
use crate::kernels::tile::{self, PANEL};

/// One thread's buffers that layers need besides input and output. A layer leaves the unused ones unchanged.
pub struct Scratch {
    /// L2 cache available to the thread, in bytes.
    pub(super) l2: usize,
    /// `[rows, codes_stride(inputs)]`: widened codes.
    pub(super) wide: Aligned<i16>,
    /// `[inputs, 16]`: a widened panel of fp16 weights.
    pub(super) panel: Aligned<f32>,
    /// [`tile::paired_len`] of some rows: codes, in pairs of rows.
    pub(super) pairs: Aligned<u8>,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch {
            l2: USUAL_L2,
            wide: Aligned::default(),
            panel: Aligned::default(),
            pairs: Aligned::default(),
        }
    }
}

/// L2 cache of a core if it is unknown: that of a Cortex-A76 and of a Zen 3.
const USUAL_L2: usize = 512 << 10;

impl Scratch {
    /// Sets the L2 cache available to the thread, in bytes. Call it before any [`Scratch::reserve`].
    pub fn set_l2(&mut self, bytes: usize) {
        self.l2 = bytes;
    }

    /// Reserves memory for `layer` applied to at most `rows` rows.
    ///
    /// # Errors
    /// If the memory cannot be allocated.
    pub fn reserve(&mut self, layer: &PackedLinear, rows: usize) -> Result<(), TryReserveError> {
        let rows = rows.min(layer.block_rows(self.l2));
        let stride = codes_stride(layer.inputs);
        match &layer.weights {
            Weights::I16(..) => self.wide.grow(rows * stride),
            Weights::U8S8(kernel, ..) if kernel.pairs() => self.pairs.grow(tile::paired_len(rows, stride)),
            Weights::F16(_, Some(_)) => self.panel.grow(layer.inputs * PANEL),
            Weights::U8S8(..) | Weights::F32(..) | Weights::F16(_, None) => Ok(()),
        }
    }

    /// Working memory for `layer` applied to at most `rows` rows.
    pub fn of(layer: &PackedLinear, rows: usize) -> Scratch {
        let mut scratch = Scratch::default();
        scratch.reserve(layer, rows).expect("memory for a layer");
        scratch
    }
}
