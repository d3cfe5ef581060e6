//! Working memory of layers.

use std::collections::TryReserveError;

use super::{PackedLinear, Weights, codes_stride};
use crate::kernels::aligned::Aligned;
use crate::kernels::tile::{self, PANEL};

/// What layers need besides input and output, one thread's. What a layer does not use stays as it is.
pub struct Scratch {
    /// Bytes of second-level cache that the thread has.
    pub(super) l2: usize,
    /// `[rows, codes_stride(inputs)]`: codes, widened.
    pub(super) wide: Aligned<i16>,
    /// `[inputs, 16]`: a panel of fp16 weights, widened.
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

/// Second-level cache of a core where nothing is known of it: a Cortex-A76's, a Zen 3's.
const USUAL_L2: usize = 512 << 10;

impl Scratch {
    /// For a thread that has `bytes` of second-level cache: before any [`Scratch::reserve`].
    pub fn set_l2(&mut self, bytes: usize) {
        self.l2 = bytes;
    }

    /// Makes room for `layer` applied to `rows` rows at most.
    ///
    /// # Errors
    /// When the system does not give that much memory.
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

    /// Room for `layer` applied to `rows` rows at most.
    pub fn of(layer: &PackedLinear, rows: usize) -> Scratch {
        let mut scratch = Scratch::default();
        scratch.reserve(layer, rows).expect("memory for a layer");
        scratch
    }
}
