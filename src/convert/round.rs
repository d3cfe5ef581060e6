//! Activation rounding, as in the kernels.

use crate::kernels::{Isa, quantise};

/// Rounds each row of `x`, `[rows, width]`, to 8 bits as the kernels do.
pub(super) fn round_rows(isa: Isa, x: &mut [f32], width: usize) {
    let mut codes = vec![0; width];
    for row in x.chunks_exact_mut(width) {
        let quant = quantise::row(isa, row, &mut codes);
        quantise::decode(isa, &codes, quant, row);
    }
}
