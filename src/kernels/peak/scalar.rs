//! Plain Rust, as `tile/scalar.rs`. What the compiler makes of it is vectorised for the architecture's baseline (SSE2, NEON)
//! where it can be; on x86-64 `mul_add` of f32 is a call of the C library there. Operands come from L1, since nothing keeps
//! values of plain Rust in registers.

use std::hint::black_box;

use super::{W, X};

/// Sums, as many as a panel has columns.
const SUMS: usize = 16;

/// Products of each sum in a round, a group of k.
const GROUP: usize = 4;

/// Multiply-accumulates of a round.
pub(super) const MACS: usize = SUMS * GROUP;

pub(super) fn int8(rounds: usize) -> f64 {
    let (a, b) = ([X as u8; GROUP], [W; MACS]);
    let mut sums = [0i32; SUMS];
    for _ in 0..rounds {
        // Each time anew, or one product would stand for all.
        let (a, b) = black_box((&a, &b));
        for (sum, b) in sums.iter_mut().zip(b.chunks_exact(GROUP)) {
            for (&a, &b) in a.iter().zip(b) {
                *sum += i32::from(a) * i32::from(b);
            }
        }
    }
    sums.into_iter().map(f64::from).sum()
}

pub(super) fn f32(rounds: usize) -> f64 {
    let (a, b) = ([f32::from(X); GROUP], [f32::from(W); MACS]);
    let mut sums = [0f32; SUMS];
    for _ in 0..rounds {
        let (a, b) = black_box((&a, &b));
        for (&a, b) in a.iter().zip(b.chunks_exact(SUMS)) {
            for (sum, &b) in sums.iter_mut().zip(b) {
                *sum = a.mul_add(b, *sum);
            }
        }
    }
    sums.into_iter().map(f64::from).sum()
}
