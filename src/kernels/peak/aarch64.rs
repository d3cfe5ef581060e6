//! NEON, `sdot` and `smmla`.
//!
//! The latter two have no stable intrinsics in Rust 1.95, hence `asm!`.

use std::arch::aarch64::*;
use std::arch::asm;
use std::hint::black_box;

use super::{W, X};

/// Number of independent accumulators, as many as the micro-kernels have. Four multiplications per cycle with a latency
/// of 4 cycles (Neoverse V1) need 16.
pub(super) const CHAINS: usize = 24;

/// The same for widening products, which need four temporary registers as well.
pub(super) const WIDENED: usize = 16;

/// Defines a loop that applies `$step(sum, x, w)` to every chain.
macro_rules! chains {
    ($(#[$doc:meta])* $name:ident, $features:literal, $zero:expr, $x:expr, $w:expr, $step:expr, $total:ident) => {
        $(#[$doc])*
        #[target_feature(enable = $features)]
        pub(super) fn $name(rounds: usize) -> f64 {
            let (x, w) = ($x, $w);
            let mut sums = [$zero; CHAINS];
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = $step(*sum, x, w);
                }
            }
            $total(&sums)
        }
    };
}

chains!(
    /// 16 products per step.
    dotprod_int8,
    "neon,dotprod",
    vdupq_n_s32(0),
    vdupq_n_s8(black_box(X)),
    vdupq_n_s8(black_box(W)),
    sdot,
    total_i32
);
chains!(
    /// 32 products per step.
    i8mm_int8,
    "neon,i8mm",
    vdupq_n_s32(0),
    vdupq_n_s8(black_box(X)),
    vdupq_n_s8(black_box(W)),
    smmla,
    total_i32
);
chains!(
    /// 4 products per step.
    neon_f32,
    "neon",
    vdupq_n_f32(0.0),
    vdupq_n_f32(black_box(f32::from(X))),
    vdupq_n_f32(black_box(f32::from(W))),
    |sum, x, w| vfmaq_laneq_f32::<0>(sum, w, x),
    total_f32
);

/// 32 products per accumulator in five instructions.
#[target_feature(enable = "neon")]
pub(super) fn neon_int8(rounds: usize) -> f64 {
    let (x, w) = (vdupq_n_s8(black_box(X)), vdupq_n_s8(black_box(W)));
    let mut sums = [[vdupq_n_s32(0); 4]; WIDENED / 4];
    for _ in 0..rounds {
        for four in &mut sums {
            *four = widened(*four, x, w);
        }
    }
    total_i32(sums.as_flattened())
}

/// Adds 32 products to each of four accumulators: four groups into i16, then into i32, as in `tile/neon.rs`. Four
/// accumulators at a time, so that an in-order CPU (Cortex-A53, A55) has work while a product is in flight.
#[inline]
#[target_feature(enable = "neon")]
fn widened(sums: [int32x4_t; 4], x: int8x16_t, w: int8x16_t) -> [int32x4_t; 4] {
    let [mut s0, mut s1, mut s2, mut s3] = sums;
    // SAFETY: the instructions use only registers and belong to this function's target features.
    unsafe {
        asm!(
            "smull {t0:v}.8h, {x:v}.8b, {w:v}.8b",
            "smull2 {t1:v}.8h, {x:v}.16b, {w:v}.16b",
            "smull {t2:v}.8h, {x:v}.8b, {w:v}.8b",
            "smull2 {t3:v}.8h, {x:v}.16b, {w:v}.16b",
            "smlal {t0:v}.8h, {x:v}.8b, {w:v}.8b",
            "smlal2 {t1:v}.8h, {x:v}.16b, {w:v}.16b",
            "smlal {t2:v}.8h, {x:v}.8b, {w:v}.8b",
            "smlal2 {t3:v}.8h, {x:v}.16b, {w:v}.16b",
            "smlal {t0:v}.8h, {x:v}.8b, {w:v}.8b",
            "smlal2 {t1:v}.8h, {x:v}.16b, {w:v}.16b",
            "smlal {t2:v}.8h, {x:v}.8b, {w:v}.8b",
            "smlal2 {t3:v}.8h, {x:v}.16b, {w:v}.16b",
            "smlal {t0:v}.8h, {x:v}.8b, {w:v}.8b",
            "smlal2 {t1:v}.8h, {x:v}.16b, {w:v}.16b",
            "smlal {t2:v}.8h, {x:v}.8b, {w:v}.8b",
            "smlal2 {t3:v}.8h, {x:v}.16b, {w:v}.16b",
            "sadalp {s0:v}.4s, {t0:v}.8h",
            "sadalp {s1:v}.4s, {t1:v}.8h",
            "sadalp {s2:v}.4s, {t2:v}.8h",
            "sadalp {s3:v}.4s, {t3:v}.8h",
            s0 = inout(vreg) s0,
            s1 = inout(vreg) s1,
            s2 = inout(vreg) s2,
            s3 = inout(vreg) s3,
            t0 = out(vreg) _,
            t1 = out(vreg) _,
            t2 = out(vreg) _,
            t3 = out(vreg) _,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    [s0, s1, s2, s3]
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(sum: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction uses only registers and belongs to this function's target features.
    unsafe {
        asm!(
            "sdot {s:v}.4s, {w:v}.16b, {x:v}.4b[0]",
            s = inout(vreg) sum,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(sum: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction uses only registers and belongs to this function's target features.
    unsafe {
        asm!(
            "smmla {s:v}.4s, {x:v}.16b, {w:v}.16b",
            s = inout(vreg) sum,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// The sum of all lanes. (`vaddlvq_s32` adds in 64 bits.)
#[target_feature(enable = "neon")]
fn total_i32(sums: &[int32x4_t]) -> f64 {
    sums.iter().map(|&sum| vaddlvq_s32(sum) as f64).sum()
}

/// The sum of all lanes; the values are small integers, so it is exact.
#[target_feature(enable = "neon")]
fn total_f32(sums: &[float32x4_t]) -> f64 {
    sums.iter().map(|&sum| f64::from(vaddvq_f32(sum))).sum()
}
