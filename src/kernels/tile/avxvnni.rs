//! AVX-VNNI: `vpdpbusd` and `vpdpwssd` on 256 bits. The float kernels are AVX2's.

use std::arch::x86_64::*;

use super::avx2::store_i32;
use super::{Ahead, Extent, Sums, Tile};

pub(super) use super::avx2::{ROWS, f16, f32};

/// Defines an integer micro-kernel: `$dot` adds the products of one group to the accumulators.
macro_rules! dot_rows {
    ($name:ident, $features:literal, $a:ty, $b:ty, $group:literal, $dot:ident) => {
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $name<const R: usize>(
            groups: usize,
            a: *const $a,
            stride: usize,
            b: *const $b,
            out: &mut Sums<i32>,
        ) {
            let mut sums = [[_mm256_setzero_si256(); 2]; R];
            for g in 0..groups {
                // SAFETY: for group `g` the caller guarantees 64 readable bytes of the panel and 4 of row `r`.
                unsafe {
                    let b0 = _mm256_load_si256(b.add(g * 16 * $group).cast());
                    let b1 = _mm256_load_si256(b.add(g * 16 * $group + 8 * $group).cast());
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let x = a.add(r * stride + g * $group).cast::<i32>().read_unaligned();
                        let x = _mm256_set1_epi32(x);
                        sums[0] = $dot(sums[0], x, b0);
                        sums[1] = $dot(sums[1], x, b1);
                    }
                }
            }
            for (row, sums) in out.iter_mut().zip(sums) {
                store_i32(row, sums);
            }
        }
    };
}

dot_rows!(u8s8_rows, "avx2,avxvnni", u8, i8, 4, _mm256_dpbusd_avx_epi32);
dot_rows!(i16_rows, "avx2,avxvnni", i16, i16, 2, dpwssd);
by_rows!(u8s8, u8s8_rows, "avx2,avxvnni", u8, i8, i32, 1 2 3 4 5 6);
by_rows!(i16, i16_rows, "avx2,avxvnni", i16, i16, i32, 1 2 3 4 5 6);

/// `_mm256_dpwssd_avx_epi32`, which LLVM splits into two instructions: see [`super::avx512`].
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn dpwssd(mut sum: __m256i, x: __m256i, panel: __m256i) -> __m256i {
    // SAFETY: the instruction uses only registers and belongs to AVX-VNNI, a target feature of this function. (Its
    // other encoding is AVX-512's.)
    unsafe {
        std::arch::asm!(
            "{{vex}} vpdpwssd {0}, {1}, {2}",
            inout(ymm_reg) sum, in(ymm_reg) x, in(ymm_reg) panel,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}
