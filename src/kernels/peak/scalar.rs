//! Plain Rust, as in `tile/scalar.rs`. The compiler vectorises it for the architecture's baseline (SSE2, NEON) where it
//! can; on x86-64, `mul_add` of f32 is then a call into the C library. Operands come from L1, since nothing keeps the
//! values of plain Rust in registers.

use std::hint::black_box;

use super::{W, X};

/// Number of accumulators, one per column of a panel.
const SUMS: usize = 16;

/// Products per accumulator in a round: a group of k.
const GROUP: usize = 4;

/// Multiply-accumulates per round.
pub(super) const MACS: usize = SUMS * GROUP;

pub(super) fn int8(rounds: usize) -> f64 {
    let (a, b) = ([X as u8; GROUP], [W; MACS]);
    let mut sums = [0i32; SUMS];
    for _ in 0..rounds {
        // Hides the values in each round, or the compiler could use one product for all rounds.
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
