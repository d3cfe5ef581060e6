//! The specification, in plain Rust.

use half::f16;

use super::{Ahead, Extent, PANEL, Tile};

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
