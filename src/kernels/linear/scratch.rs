//! Working memory of layers.

use std::collections::TryReserveError;

use super::{Linear, Weights, codes_stride};
use crate::kernels::aligned::Aligned;

/// What layers need besides input and output, one thread's. What a layer does not use stays as it is.
#[derive(Default)]
pub struct Scratch {
    /// `[rows, codes_stride(inputs)]`: codes, widened.
    pub(super) wide: Aligned<i16>,
}

impl Scratch {
    /// Makes room for `layer` applied to `rows` rows at most.
    ///
    /// # Errors
    /// When the system does not give that much memory.
    pub fn reserve(&mut self, layer: &Linear, rows: usize) -> Result<(), TryReserveError> {
        let rows = rows.min(layer.block_rows());
        match &layer.weights {
            Weights::I16(..) => self.wide.grow(rows * codes_stride(layer.inputs)),
            Weights::U8S8(..) | Weights::F32(..) | Weights::F16(..) => Ok(()),
        }
    }

    /// Room for `layer` applied to `rows` rows at most.
    pub fn of(layer: &Linear, rows: usize) -> Scratch {
        let mut scratch = Scratch::default();
        scratch.reserve(layer, rows).expect("memory for a layer");
        scratch
    }
}
