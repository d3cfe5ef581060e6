//! `smmla`: a 2 x 8 matrix of signed bytes times an 8 x 2 one, both from one register. The float kernels are NEON's.
//!
//! Its intrinsic is unstable in Rust 1.95, hence `asm!`, one instruction at a time: the compiler allocates registers.

use std::arch::aarch64::*;
use std::arch::asm;

use super::blocks::{BLOCKS, Blocks};
use super::neon::store_i32;
use super::{Ahead, Direct, Extent, PANEL, Sums, Tile};

pub(super) use super::neon::{f16, f32, i16};

/// Number of rows of each micro-kernel.
#[allow(non_upper_case_globals, reason = "named as the micro-kernels")]
pub(super) mod rows {
    /// Three pairs of rows times eight pairs of columns: 24 registers of accumulators.
    pub const u8s8: usize = 6;
    pub use super::super::neon::rows::{f16, f32, i16};
}

/// Every tile must begin with a whole pair of rows.
const _: () = assert!(rows::u8s8.is_multiple_of(2));

by_rows!(u8s8, u8s8_rows, "neon,i8mm", u8, i8, i32, 1 2 3 4 5 6);

/// Merges two groups, `[2][16][4]`, into one of eight, `[16][8]`; an odd last group stays as it is.
pub(super) fn arrange(groups: usize, panels: &mut [i8]) {
    for panel in panels.chunks_exact_mut(groups * 4 * PANEL) {
        for pair in panel.chunks_exact_mut(2 * 4 * PANEL) {
            let pair: &mut [i8; 2 * 4 * PANEL] = pair.try_into().expect("two groups");
            let from = *pair;
            for (column, to) in pair.chunks_exact_mut(8).enumerate() {
                to[..4].copy_from_slice(&from[column * 4..][..4]);
                to[4..].copy_from_slice(&from[(PANEL + column) * 4..][..4]);
            }
        }
    }
}

/// Adds the products of two rows and two columns: the lanes of `sum` are `[row 0: column 0, 1; row 1: column 0, 1]`.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(sum: int32x4_t, rows: int8x16_t, columns: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction uses only registers and belongs to this function's target features.
    unsafe {
        asm!(
            "smmla {s:v}.4s, {a:v}.16b, {b:v}.16b",
            s = inout(vreg) sum,
            a = in(vreg) rows,
            b = in(vreg) columns,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Sums of up to three pairs of rows and eight pairs of columns.
type PairSums = [[int32x4_t; 8]; 3];

/// Adds the products of eight elements of k: `x`, for each pair of rows, times the 16 columns at `b`.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn step<const R: usize>(sums: &mut PairSums, x: &[int8x16_t; 3], b: *const i8) {
    for c in 0..8 {
        // SAFETY: the caller guarantees two readable groups of the panel, 128 bytes.
        let b = unsafe { vld1q_s8(b.add(c * 16)) };
        for (sums, &x) in sums.iter_mut().zip(x).take(R.div_ceil(2)) {
            sums[c] = smmla(sums[c], x, b);
        }
    }
}

#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn u8s8_rows<const R: usize>(
    groups: usize,
    a: *const u8,
    stride: usize,
    b: *const i8,
    out: &mut Sums<i32>,
) {
    let mut sums = [[vdupq_n_s32(0); 8]; 3];
    let whole = groups / 2 * 2;
    for g in (0..whole).step_by(2) {
        // SAFETY: for two groups the caller guarantees 128 readable bytes of the panel and 16 of a pair of rows.
        unsafe {
            let mut x = [vdupq_n_s8(0); 3];
            for (p, x) in x.iter_mut().enumerate().take(R.div_ceil(2)) {
                *x = vld1q_s8(a.add(2 * p * stride + g * 8).cast());
            }
            step::<R>(&mut sums, &x, b.add(g * 64));
        }
    }
    if whole < groups {
        // SAFETY: as above, for the last group. In the panel it is in packed order and is padded here with zeros; a
        // pair of rows has 16 bytes there too, since its stride is a multiple of 8.
        unsafe {
            let mut x = [vdupq_n_s8(0); 3];
            for (p, x) in x.iter_mut().enumerate().take(R.div_ceil(2)) {
                *x = vld1q_s8(a.add(2 * p * stride + whole * 8).cast());
            }
            let mut wide = [0; 8 * PANEL];
            for (column, to) in wide.chunks_exact_mut(8).enumerate() {
                b.add(whole * 64 + column * 4).copy_to_nonoverlapping(to.as_mut_ptr(), 4);
            }
            step::<R>(&mut sums, &x, wide.as_ptr());
        }
    }
    for p in 0..R.div_ceil(2) {
        let pairs = sums[p].map(|sum| vreinterpretq_s64_s32(sum));
        let first = [0, 2, 4, 6].map(|c| vreinterpretq_s32_s64(vtrn1q_s64(pairs[c], pairs[c + 1])));
        let second = [0, 2, 4, 6].map(|c| vreinterpretq_s32_s64(vtrn2q_s64(pairs[c], pairs[c + 1])));
        store_i32(&mut out[2 * p], first);
        if 2 * p + 1 < R {
            store_i32(&mut out[2 * p + 1], second);
        }
    }
}

/// Sums of blocks of bytes: two pairs of rows x 16 columns, 16 accumulators of the block; those of all blocks take as
/// many again, and the compiler keeps some of them in memory.
///
/// # Safety
/// See `BlockKernel::run`.
#[target_feature(enable = "neon,i8mm")]
pub(in super::super) unsafe fn blocks(of: Blocks) {
    // SAFETY: the caller fulfils the contract of `BlockKernel::run`, which `block_pairs` shares.
    unsafe { if of.rows > 2 { block_pairs::<2>(of) } else { block_pairs::<1>(of) } }
}

#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn block_pairs<const P: usize>(of: Blocks) {
    let Blocks { rows, groups, codes, values, weights, sums, .. } = of;
    // Row `r`, or the one before for the missing row of an odd last pair, whose sums are not stored.
    let row = |r: usize| if r < rows { r } else { r - 1 };
    let mut totals = [[vdupq_n_f32(0.0); 8]; P];
    for (p, totals) in totals.iter_mut().enumerate() {
        for (c, total) in totals.iter_mut().enumerate() {
            // SAFETY: the caller guarantees 16 sums of each row.
            *total = unsafe {
                let of_row = |r: usize| sums.0.add(row(r) * sums.1 + 2 * c);
                vcombine_f32(vld1_f32(of_row(2 * p)), vld1_f32(of_row(2 * p + 1)))
            };
        }
    }
    for block in 0..BLOCKS {
        let values = values.0.wrapping_add(block * (groups + 1) * 16);
        // SAFETY: the caller guarantees 16 sums and `groups` times 16 words of each block, of each pair of rows 32
        // words for two groups, and of each row 8 weights.
        unsafe {
            let mut block_sums = [[vdupq_n_s32(0); 8]; P];
            for c in 0..8 {
                let start = vreinterpretq_s32_s64(vld1q_dup_s64(values.add(2 * c).cast()));
                for sums in &mut block_sums {
                    sums[c] = start;
                }
            }
            for g in 0..groups / 2 {
                let mut x = [vdupq_n_s8(0); P];
                for (p, x) in x.iter_mut().enumerate() {
                    *x = vld1q_s8(codes.0.add(2 * p * codes.1 + (g * BLOCKS + block) * 4).cast());
                }
                for c in 0..8 {
                    let b = vld1q_s8(values.add(16 + g * 32 + c * 4).cast());
                    for (sums, &x) in block_sums.iter_mut().zip(&x) {
                        sums[c] = smmla(sums[c], x, b);
                    }
                }
            }
            for (p, (totals, sums)) in totals.iter_mut().zip(block_sums).enumerate() {
                let of_row = |r: usize| vdup_n_f32(*weights.0.add(row(r) * weights.1 + block));
                let weight = vcombine_f32(of_row(2 * p), of_row(2 * p + 1));
                for (total, sum) in totals.iter_mut().zip(sums) {
                    *total = vfmaq_f32(*total, vcvtq_f32_s32(sum), weight);
                }
            }
        }
    }
    for (p, totals) in totals.into_iter().enumerate() {
        for (c, total) in totals.into_iter().enumerate() {
            // SAFETY: as for the loads above; the second row is there.
            unsafe {
                vst1_f32(sums.0.add(2 * p * sums.1 + 2 * c), vget_low_f32(total));
                if 2 * p + 1 < rows {
                    vst1_f32(sums.0.add((2 * p + 1) * sums.1 + 2 * c), vget_high_f32(total));
                }
            }
        }
    }
}
