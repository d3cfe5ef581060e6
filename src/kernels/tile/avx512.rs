//! AVX-512 F, BW, VL and VNNI: 12 rows x 32 columns of two panels, 24 accumulators in 32 registers; 12 x 16 for the
//! last panel if the number of panels is odd.

use std::arch::x86_64::*;

use super::{Ahead, Extent, Sums, Tile};

pub(super) const ROWS: usize = 12;

/// Minimum number of groups over which a tile's prefetches are spread, a part of them for each of its rows: a part costs
/// some cycles.
const SPREAD_GROUPS: usize = 64;

/// Defines the micro-kernel `$name`, which calls `$inner` with the numbers of rows and panels as constants.
macro_rules! by_rows_and_panels {
    ($name:ident, $inner:ident, $a:ty, $b:ty, $sum:ty, $($rows:literal)*) => {
        /// # Safety
        /// See `Kernel::run`.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        pub(in super::super) unsafe fn $name(
            Extent { rows, panels, groups }: Extent,
            a: *const $a,
            stride: usize,
            b: *const $b,
            ahead: &Ahead,
            tile: &mut Tile<$sum>,
        ) {
            let [first, second] = tile;
            // SAFETY: the caller fulfils the contract of `Kernel::run`, which `$inner` shares.
            unsafe {
                match (rows, panels, groups >= SPREAD_GROUPS) {
                    $(($rows, 1, false) => $inner::<$rows, 1, false>(groups, a, stride, b, ahead, [first]),)*
                    $(($rows, 1, true) => $inner::<$rows, 1, true>(groups, a, stride, b, ahead, [first]),)*
                    $(($rows, 2, false) => $inner::<$rows, 2, false>(groups, a, stride, b, ahead, [first, second]),)*
                    $(($rows, 2, true) => $inner::<$rows, 2, true>(groups, a, stride, b, ahead, [first, second]),)*
                    _ => unreachable!("a kernel takes 1 to `Kernel::rows` rows and 1 to `Kernel::panels` panels"),
                }
            }
        }
    };
}

by_rows_and_panels!(u8s8, u8s8_tile, u8, i8, i32, 1 2 3 4 5 6 7 8 9 10 11 12);
by_rows_and_panels!(i16, i16_tile, i16, i16, i32, 1 2 3 4 5 6 7 8 9 10 11 12);
by_rows_and_panels!(f32, f32_tile, f32, f32, f32, 1 2 3 4 5 6 7 8 9 10 11 12);
by_rows_and_panels!(f16, f16_tile, f32, u16, f32, 1 2 3 4 5 6 7 8 9 10 11 12);

/// Defines an integer micro-kernel: `$dot` adds the products of one group to the accumulators.
macro_rules! dot_tile {
    ($name:ident, $a:ty, $b:ty, $group:literal, $dot:ident) => {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        unsafe fn $name<const R: usize, const P: usize, const SPREAD: bool>(
            groups: usize,
            a: *const $a,
            stride: usize,
            b: *const $b,
            ahead: &Ahead,
            tile: [&mut Sums<i32>; P],
        ) {
            let mut sums = [[_mm512_setzero_si512(); P]; R];
            let parts = if SPREAD { R } else { 1 };
            for part in 0..parts {
                ahead.part::<R, P>(part, parts);
                for g in groups * part / parts..groups * (part + 1) / parts {
                    // SAFETY: for group `g` the caller guarantees 64 readable bytes of panel `p` and 4 of row `r`.
                    unsafe {
                        let mut panels = [_mm512_setzero_si512(); P];
                        for (p, panel) in panels.iter_mut().enumerate() {
                            *panel = _mm512_load_si512(b.add((p * groups + g) * 16 * $group).cast());
                        }
                        for (r, sums) in sums.iter_mut().enumerate() {
                            let x = _mm512_set1_epi32(
                                a.add(r * stride + g * $group).cast::<i32>().read_unaligned(),
                            );
                            for (sum, panel) in sums.iter_mut().zip(panels) {
                                *sum = $dot(*sum, x, panel);
                            }
                        }
                    }
                }
            }
            for (p, out) in tile.into_iter().enumerate() {
                for (row, sums) in out.iter_mut().zip(sums) {
                    // SAFETY: a row holds 16 values, which is one register.
                    unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), sums[p]) };
                }
            }
        }
    };
}

dot_tile!(u8s8_tile, u8, i8, 4, _mm512_dpbusd_epi32);
dot_tile!(i16_tile, i16, i16, 2, dpwssd);

/// `_mm512_dpwssd_epi32`. LLVM splits the intrinsic into `vpmaddwd` and `vpaddd`, since the sum alone is then ready
/// sooner; these loops wait for no sum, so the split only costs a second instruction.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dpwssd(mut sum: __m512i, x: __m512i, panel: __m512i) -> __m512i {
    // SAFETY: the instruction uses only registers and belongs to AVX-512 VNNI, a target feature of this function.
    unsafe {
        std::arch::asm!(
            "vpdpwssd {0}, {1}, {2}",
            inout(zmm_reg) sum, in(zmm_reg) x, in(zmm_reg) panel,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Defines a micro-kernel with f32 accumulators; `$load` reads 16 columns of a panel.
macro_rules! float_tile {
    ($name:ident, $b:ty, $load:expr) => {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        unsafe fn $name<const R: usize, const P: usize, const SPREAD: bool>(
            groups: usize,
            a: *const f32,
            stride: usize,
            b: *const $b,
            ahead: &Ahead,
            tile: [&mut Sums<f32>; P],
        ) {
            let mut sums = [[_mm512_setzero_ps(); P]; R];
            let parts = if SPREAD { R } else { 1 };
            for part in 0..parts {
                ahead.part::<R, P>(part, parts);
                for k in groups * part / parts..groups * (part + 1) / parts {
                    // SAFETY: for element `k` the caller guarantees 16 readable values of panel `p` and one of row `r`.
                    unsafe {
                        let mut panels = [_mm512_setzero_ps(); P];
                        for (p, panel) in panels.iter_mut().enumerate() {
                            *panel = $load(b.add((p * groups + k) * 16));
                        }
                        for (r, sums) in sums.iter_mut().enumerate() {
                            let x = _mm512_set1_ps(*a.add(r * stride + k));
                            for (sum, panel) in sums.iter_mut().zip(panels) {
                                *sum = _mm512_fmadd_ps(x, panel, *sum);
                            }
                        }
                    }
                }
            }
            for (p, out) in tile.into_iter().enumerate() {
                for (row, sums) in out.iter_mut().zip(sums) {
                    // SAFETY: a row holds 16 values, which is one register.
                    unsafe { _mm512_storeu_ps(row.as_mut_ptr(), sums[p]) };
                }
            }
        }
    };
}

float_tile!(f32_tile, f32, |p: *const f32| _mm512_load_ps(p));
float_tile!(f16_tile, u16, |p: *const u16| _mm512_cvtph_ps(_mm256_load_si256(p.cast())));
