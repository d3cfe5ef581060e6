//! Working memory of layers.

use std::collections::TryReserveError;

use super::{Linear, Weights, codes_stride};
use crate::kernels::aligned::Aligned;
use crate::kernels::tile::{self, PANEL};

/// What layers need besides input and output, one thread's. What a layer does not use stays as it is.
#[derive(Default)]
pub struct Scratch {
    /// `[rows, codes_stride(inputs)]`: codes, widened.
    pub(super) wide: Aligned<i16>,
    /// `[inputs, 16]`: a panel of fp16 weights, widened.
    pub(super) panel: Aligned<f32>,
    /// [`tile::paired_len`] of some rows: codes, in pairs of rows.
    pub(super) pairs: Aligned<u8>,
}

impl Scratch {
    /// Makes room for `layer` applied to `rows` rows at most.
    ///
    /// # Errors
    /// When the system does not give that much memory.
    pub fn reserve(&mut self, layer: &Linear, rows: usize) -> Result<(), TryReserveError> {
        let rows = rows.min(layer.block_rows());
        let stride = codes_stride(layer.inputs);
        match &layer.weights {
            Weights::I16(..) => self.wide.grow(rows * stride),
            Weights::U8S8(kernel, ..) if kernel.pairs() => self.pairs.grow(tile::paired_len(rows, stride)),
            Weights::F16(_, Some(_)) => self.panel.grow(layer.inputs * PANEL),
            Weights::U8S8(..) | Weights::F32(..) | Weights::F16(_, None) => Ok(()),
        }
    }

    /// Room for `layer` applied to `rows` rows at most.
    pub fn of(layer: &Linear, rows: usize) -> Scratch {
        let mut scratch = Scratch::default();
        scratch.reserve(layer, rows).expect("memory for a layer");
        scratch
    }
}
