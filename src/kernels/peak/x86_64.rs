//! AVX2, AVX-VNNI and AVX-512.

use std::arch::asm;
use std::arch::x86_64::*;
use std::hint::black_box;

use super::{W, X};

/// Number of independent accumulators. Two multiplications per cycle with a latency of 4 or 5 cycles (Zen 3, Zen 4,
/// Golden Cove) need 10; with the operands, 12 take all 16 registers of AVX2.
pub(super) const CHAINS: usize = 12;

/// Defines a loop that applies `$step(sum, x, w)` to every chain, whose lanes have type `$lane`.
macro_rules! chains {
    ($(#[$doc:meta])* $name:ident, $features:literal, $lane:ty, $lanes:literal, $zero:expr, $x:expr, $w:expr, $step:expr) => {
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
            // SAFETY: both types have the same size, and `$lane` is a number type, which accepts any bits.
            let lanes: [$lane; CHAINS * $lanes] = unsafe { std::mem::transmute(sums) };
            lanes.into_iter().map(f64::from).sum()
        }
    };
}

chains!(
    /// 32 products per step, in three instructions.
    avx2_int8,
    "avx2",
    i32,
    8,
    _mm256_setzero_si256(),
    (_mm256_set1_epi8(black_box(X)), _mm256_set1_epi16(1)),
    _mm256_set1_epi8(black_box(W)),
    maddubs
);
chains!(
    /// 32 products per step.
    avxvnni_int8,
    "avx2,avxvnni",
    i32,
    8,
    _mm256_setzero_si256(),
    _mm256_set1_epi8(black_box(X)),
    _mm256_set1_epi8(black_box(W)),
    _mm256_dpbusd_avx_epi32
);
chains!(
    /// 64 products per step.
    avx512_int8,
    "avx512f,avx512bw,avx512vl,avx512vnni",
    i32,
    16,
    _mm512_setzero_si512(),
    _mm512_set1_epi8(black_box(X)),
    _mm512_set1_epi8(black_box(W)),
    _mm512_dpbusd_epi32
);
chains!(
    /// 8 products per step.
    avx2_f32,
    "avx2,fma",
    f32,
    8,
    _mm256_setzero_ps(),
    _mm256_set1_ps(black_box(f32::from(X))),
    _mm256_set1_ps(black_box(f32::from(W))),
    |sum, x, w| _mm256_fmadd_ps(x, w, sum)
);
chains!(
    /// 16 products per step.
    avx512_f32,
    "avx512f,avx512bw,avx512vl,avx512vnni",
    f32,
    16,
    _mm512_setzero_ps(),
    _mm512_set1_ps(black_box(f32::from(X))),
    _mm512_set1_ps(black_box(f32::from(W))),
    |sum, x, w| _mm512_fmadd_ps(x, w, sum)
);

/// In `asm!` because neither multiplication depends on the sum, and a compiler would hoist both out of the loop.
#[inline]
#[target_feature(enable = "avx2")]
fn maddubs(sum: __m256i, (x, ones): (__m256i, __m256i), w: __m256i) -> __m256i {
    let mut sum = sum;
    // SAFETY: the instructions use only registers and belong to this function's target features.
    unsafe {
        asm!(
            "vpmaddubsw {t}, {x}, {w}",
            "vpmaddwd {t}, {t}, {ones}",
            "vpaddd {s}, {s}, {t}",
            s = inout(ymm_reg) sum,
            t = out(ymm_reg) _,
            x = in(ymm_reg) x,
            w = in(ymm_reg) w,
            ones = in(ymm_reg) ones,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
