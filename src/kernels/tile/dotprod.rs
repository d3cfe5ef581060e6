//! `sdot`: four products of signed bytes in each of four lanes. The float kernels are NEON's.
//!
//! Its intrinsic is unstable in Rust 1.95, hence `asm!`, one instruction at a time: the compiler allocates registers.

use std::arch::aarch64::*;
use std::arch::asm;

use super::blocks::{BLOCKS, Blocks};
use super::neon::{spread, store_i32};
use super::{Ahead, Direct, Extent, Sums, Tile};

pub(super) use super::neon::{f16, f32, i16};

/// Number of rows of each micro-kernel.
#[allow(non_upper_case_globals, reason = "named as the micro-kernels")]
pub(super) mod rows {
    /// 24 registers of accumulators, 6 of codes, 2 of weights: all 32.
    pub const u8s8: usize = 6;
    pub use super::super::neon::rows::{f16, f32, i16};
}

by_rows!(u8s8, u8s8_rows, "neon,dotprod", u8, i8, i32, 1 2 3 4 5 6);

/// Adds the products of four columns' groups in `b` with group `LANE` of `a`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: usize>(sum: int32x4_t, b: int8x16_t, a: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction uses only registers and belongs to this function's target features.
    unsafe {
        asm!(
            "sdot {s:v}.4s, {b:v}.16b, {a:v}.4b[{lane}]",
            s = inout(vreg) sum,
            b = in(vreg) b,
            a = in(vreg) a,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Adds group `LANE` of the rows' codes times a group of the panel at `b`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn step<const R: usize, const LANE: usize>(
    sums: &mut [[int32x4_t; 4]; R],
    x: &[int8x16_t; R],
    b: *const i8,
) {
    for c in 0..4 {
        // SAFETY: the caller guarantees a readable group of the panel, 64 bytes.
        let b = unsafe { vld1q_s8(b.add(c * 16)) };
        for (sums, &x) in sums.iter_mut().zip(x) {
            sums[c] = sdot::<LANE>(sums[c], b, x);
        }
    }
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn u8s8_rows<const R: usize>(
    groups: usize,
    a: *const u8,
    stride: usize,
    b: *const i8,
    out: &mut Sums<i32>,
) {
    let mut sums = [[vdupq_n_s32(0); 4]; R];
    let whole = groups / 4 * 4;
    for g in (0..whole).step_by(4) {
        // SAFETY: for four groups the caller guarantees 256 readable bytes of the panel and 16 of row `r`.
        unsafe {
            let mut x = [vdupq_n_s8(0); R];
            for (r, x) in x.iter_mut().enumerate() {
                *x = vld1q_s8(a.add(r * stride + g * 4).cast());
            }
            let b = b.add(g * 64);
            step::<R, 0>(&mut sums, &x, b);
            step::<R, 1>(&mut sums, &x, b.add(64));
            step::<R, 2>(&mut sums, &x, b.add(128));
            step::<R, 3>(&mut sums, &x, b.add(192));
        }
    }
    for g in whole..groups {
        // SAFETY: as above, for one group.
        unsafe {
            let mut x = [vdupq_n_s8(0); R];
            for (r, x) in x.iter_mut().enumerate() {
                *x = spread(a.add(r * stride + g * 4));
            }
            step::<R, 0>(&mut sums, &x, b.add(g * 64));
        }
    }
    for (row, sums) in out.iter_mut().zip(sums) {
        store_i32(row, sums);
    }
}

// Sums of blocks of bytes: 3 rows x 16 columns, 12 accumulators of the block and 12 of all blocks.
blocks_by_rows!("neon,dotprod", 1 2 3);

#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn block_rows<const R: usize>(of: Blocks) {
    let Blocks { groups, codes, values, weights, sums, .. } = of;
    let mut totals = [[vdupq_n_f32(0.0); 4]; R];
    for (r, totals) in totals.iter_mut().enumerate() {
        for (c, total) in totals.iter_mut().enumerate() {
            // SAFETY: the caller guarantees 16 sums of each row.
            *total = unsafe { vld1q_f32(sums.0.add(r * sums.1 + 4 * c)) };
        }
    }
    for block in 0..BLOCKS {
        let values = values.0.wrapping_add(block * (groups + 1) * 16);
        // SAFETY: the caller guarantees 16 sums and `groups` times 16 words of each block, and of row `r` 8 words for
        // each group and 8 weights.
        unsafe {
            let mut start = [vdupq_n_s32(0); 4];
            for (c, start) in start.iter_mut().enumerate() {
                *start = vld1q_s32(values.add(4 * c).cast());
            }
            let mut block_sums = [start; R];
            for g in 0..groups {
                let mut x = [vdupq_n_s8(0); R];
                for (r, x) in x.iter_mut().enumerate() {
                    *x = load_word(codes.0.add(r * codes.1 + g * BLOCKS + block));
                }
                step::<R, 0>(&mut block_sums, &x, values.add((g + 1) * 16).cast());
            }
            for (r, (totals, sums)) in totals.iter_mut().zip(block_sums).enumerate() {
                let weight = vdupq_n_f32(*weights.0.add(r * weights.1 + block));
                for (total, sum) in totals.iter_mut().zip(sums) {
                    *total = vfmaq_f32(*total, vcvtq_f32_s32(sum), weight);
                }
            }
        }
    }
    for (r, totals) in totals.into_iter().enumerate() {
        for (c, total) in totals.into_iter().enumerate() {
            // SAFETY: as for the loads above.
            unsafe { vst1q_f32(sums.0.add(r * sums.1 + 4 * c), total) };
        }
    }
}

/// Loads a word into the lowest lane of a register: a load alone, where `ld1r` also takes a pipe that multiplies. `a`
/// must be readable.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load_word(a: *const u32) -> int8x16_t {
    let x;
    // SAFETY: it reads 4 bytes, which the caller guarantees to be readable.
    unsafe {
        asm!(
            "ldr {x:s}, [{a}]",
            x = out(vreg) x,
            a = in(reg) a,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    x
}
