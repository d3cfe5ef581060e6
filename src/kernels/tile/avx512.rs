//! AVX-512 F, BW, VL and VNNI: 12 rows x 32 columns of two panels, 24 accumulators in 32 registers; 12 x 16 for the
//! last panel if the number of panels is odd.

use std::arch::x86_64::*;

use super::blocks::{BLOCKS, Blocks};
use super::{Ahead, Direct, Extent, Sums, Tile};
use crate::kernels::quantise::QuantParams;

pub(super) const ROWS: usize = 12;

/// Minimum number of groups over which a tile's prefetches are spread, a part of them for each of its rows: a part
/// costs some cycles.
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
            direct: Option<&mut Direct>,
            tile: &mut Tile<$sum>,
        ) {
            let [first, second] = tile;
            // SAFETY: the caller fulfils the contract of `Kernel::run`, which `$inner` shares.
            unsafe {
                match (rows, panels, groups >= SPREAD_GROUPS) {
                    $(($rows, 1, false) => $inner::<$rows, 1, false>(groups, a, stride, b, ahead, direct, [first]),)*
                    $(($rows, 1, true) => $inner::<$rows, 1, true>(groups, a, stride, b, ahead, direct, [first]),)*
                    $(($rows, 2, false) => $inner::<$rows, 2, false>(groups, a, stride, b, ahead, direct, [first, second]),)*
                    $(($rows, 2, true) => $inner::<$rows, 2, true>(groups, a, stride, b, ahead, direct, [first, second]),)*
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
            direct: Option<&mut Direct>,
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
            if let Some(direct) = direct {
                // SAFETY: the caller guarantees that it holds `R` rows and `P` panels.
                return unsafe {
                    if direct.add {
                        dequantise::<R, P, true>(direct, &sums)
                    } else {
                        dequantise::<R, P, false>(direct, &sums)
                    }
                };
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

/// Writes a tile's sums as [`Direct`] tells.
///
/// # Safety
/// `to` must hold `R` rows and `P` panels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn dequantise<const R: usize, const P: usize, const ADD: bool>(
    to: &mut Direct,
    sums: &[[__m512i; P]; R],
) {
    let (stride, out) = (to.stride, to.out.as_mut_ptr());
    for p in 0..P {
        // SAFETY: the caller guarantees 16 values of each panel, a set of parameters of each row, and 16 values of each
        // row and panel in `out`.
        unsafe {
            let scales = _mm512_loadu_ps(to.scales.as_ptr().add(p * 16));
            let column_sums = _mm512_loadu_si512(to.sums.as_ptr().add(p * 16).cast());
            let bias = _mm512_loadu_ps(to.bias.as_ptr().add(p * 16));
            for (r, sums) in sums.iter().enumerate() {
                let QuantParams { scale, zero } = *to.quants.get_unchecked(r);
                let zeros = _mm512_mullo_epi32(column_sums, _mm512_set1_epi32(zero));
                let y = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[p], zeros));
                let mut y = _mm512_fmadd_ps(y, _mm512_mul_ps(scales, _mm512_set1_ps(scale)), bias);
                let out = out.add(r * stride + p * 16);
                if ADD {
                    y = _mm512_add_ps(_mm512_loadu_ps(out), y);
                }
                _mm512_storeu_ps(out, y);
            }
        }
    }
}

dot_tile!(u8s8_tile, u8, i8, 4, _mm512_dpbusd_epi32);
dot_tile!(i16_tile, i16, i16, 2, _mm512_dpwssd_epi32);

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
            _: Option<&mut Direct>,
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

// Sums of blocks of bytes: 6 rows x 32 columns, 12 accumulators of the block and 12 of all blocks.
blocks_by_rows!("avx512f,avx512bw,avx512vl,avx512vnni", 1 2 3 4 5 6);

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn block_rows<const R: usize>(of: Blocks) {
    // SAFETY: the caller fulfils the contract of `BlockKernel::run`, which `block_tile` shares.
    unsafe { if of.panels == 2 { block_tile::<R, 2>(of) } else { block_tile::<R, 1>(of) } }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn block_tile<const R: usize, const P: usize>(of: Blocks) {
    let Blocks { groups, codes, values, weights, sums, .. } = of;
    let sum = |r: usize, p: usize| sums.0.wrapping_add(r * sums.1 + p * 16);
    let mut totals = [[_mm512_setzero_ps(); P]; R];
    for (r, totals) in totals.iter_mut().enumerate() {
        for (p, total) in totals.iter_mut().enumerate() {
            // SAFETY: the caller guarantees 16 sums of each row and panel.
            *total = unsafe { _mm512_loadu_ps(sum(r, p)) };
        }
    }
    for block in 0..BLOCKS {
        let mut block_sums = [[_mm512_setzero_si512(); P]; R];
        for g in 0..groups {
            // SAFETY: for each group the caller guarantees 16 words of panel `p` and 8 of row `r`.
            unsafe {
                let mut panels = [_mm512_setzero_si512(); P];
                for (p, panel) in panels.iter_mut().enumerate() {
                    *panel = _mm512_load_si512(values.0.add(p * values.1 + (block * groups + g) * 16).cast());
                }
                for (r, sums) in block_sums.iter_mut().enumerate() {
                    let x = _mm512_set1_epi32(*codes.0.add(r * codes.1 + g * BLOCKS + block) as i32);
                    for (sum, panel) in sums.iter_mut().zip(panels) {
                        *sum = _mm512_dpbusd_epi32(*sum, x, panel);
                    }
                }
            }
        }
        for (r, (totals, sums)) in totals.iter_mut().zip(block_sums).enumerate() {
            // SAFETY: the caller guarantees 8 weights of row `r`.
            let weight = unsafe { _mm512_set1_ps(*weights.0.add(r * weights.1 + block)) };
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), weight, *total);
            }
        }
    }
    for (r, totals) in totals.into_iter().enumerate() {
        for (p, total) in totals.into_iter().enumerate() {
            // SAFETY: as for the loads above.
            unsafe { _mm512_storeu_ps(sum(r, p), total) };
        }
    }
}
