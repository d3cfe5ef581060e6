//! The specification, in plain Rust.

use half::f16;

use super::blocks::{BLOCKS, Blocks};
use super::{Ahead, Direct, Extent, PANEL, Tile};

pub(super) const ROWS: usize = 4;

/// Defines a micro-kernel: sums over k of `widen(a) * widen(b)`, computed by `step(sum, a, b)`.
macro_rules! kernel {
    ($name:ident, $a:ty, $b:ty, $sum:ty, $group:literal, $step:expr) => {
        /// # Safety
        /// See `Kernel::run`.
        pub(in super::super) unsafe fn $name(
            Extent { rows, groups, .. }: Extent,
            a: *const $a,
            stride: usize,
            b: *const $b,
            _: &Ahead,
            _: Option<&mut Direct>,
            [sums, _]: &mut Tile<$sum>,
        ) {
            let step: fn($sum, $a, $b) -> $sum = $step;
            for (r, sums) in sums.iter_mut().enumerate().take(rows) {
                // SAFETY: the caller guarantees `rows` rows of `groups * GROUP` elements and one panel.
                let (a, b) = unsafe {
                    (
                        std::slice::from_raw_parts(a.add(r * stride), groups * $group),
                        std::slice::from_raw_parts(b, groups * $group * PANEL),
                    )
                };
                *sums = [<$sum>::default(); PANEL];
                for (a, b) in a.chunks_exact($group).zip(b.chunks_exact($group * PANEL)) {
                    for (sum, b) in sums.iter_mut().zip(b.chunks_exact($group)) {
                        for (&a, &b) in a.iter().zip(b) {
                            *sum = step(*sum, a, b);
                        }
                    }
                }
            }
        }
    };
}

kernel!(u8s8, u8, i8, i32, 4, |sum, a, b| sum + i32::from(a) * i32::from(b));
kernel!(i16, i16, i16, i32, 2, |sum, a, b| sum + i32::from(a) * i32::from(b));
kernel!(f32, f32, f32, f32, 1, |sum, a, b| a.mul_add(b, sum));
kernel!(f16, f32, u16, f32, 1, |sum, a, b| a.mul_add(f16::from_bits(b).to_f32(), sum));

/// Sums of blocks of bytes: see `BlockKernel::run`.
///
/// # Safety
/// See `BlockKernel::run`.
pub(in super::super) unsafe fn blocks(of: Blocks) {
    let Blocks { rows, panels, groups, codes, values, weights, sums } = of;
    for (r, p) in (0..rows).flat_map(|r| (0..panels).map(move |p| (r, p))) {
        // SAFETY: the caller guarantees `rows` rows of codes, weights and sums, and `panels` panels of values.
        let (codes, values, weights, sums) = unsafe {
            (
                std::slice::from_raw_parts(codes.0.add(r * codes.1), groups * BLOCKS),
                std::slice::from_raw_parts(values.0.add(p * values.1), BLOCKS * groups * PANEL),
                std::slice::from_raw_parts(weights.0.add(r * weights.1), BLOCKS),
                std::slice::from_raw_parts_mut(sums.0.add(r * sums.1 + p * PANEL), PANEL),
            )
        };
        for (block, (values, &weight)) in values.chunks_exact(groups * PANEL).zip(weights).enumerate() {
            for (c, sum) in sums.iter_mut().enumerate() {
                let mut total = 0;
                for g in 0..groups {
                    let (codes, values) = (codes[g * BLOCKS + block], values[g * PANEL + c]);
                    for (code, value) in codes.to_ne_bytes().into_iter().zip(values.to_ne_bytes()) {
                        total += i32::from(code) * i32::from(value as i8);
                    }
                }
                *sum = (total as f32).mul_add(weight, *sum);
            }
        }
    }
}
