//! Advanced SIMD of any 64-bit ARM CPU: 16 columns are four registers.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Sums, Tile};

pub(super) use super::scalar::{f16, i16};

/// Rows of each micro-kernel: as many as 32 registers hold, with what is multiplied.
#[allow(non_upper_case_globals, reason = "named as the micro-kernels")]
pub(super) mod rows {
    /// Eight sums for each row: the halves of a group are added up at the end.
    pub const u8s8: usize = 2;
    pub const i16: usize = super::super::scalar::ROWS;
    pub const f16: usize = super::super::scalar::ROWS;
    pub const f32: usize = 6;
}

by_rows!(u8s8, u8s8_rows, "neon", u8, i8, i32, 1 2);
by_rows!(f32, f32_rows, "neon", f32, f32, f32, 1 2 3 4 5 6);

/// Two groups go into i16 (2 x 128 x 127 = 32512 fits), then into i32. On a Cortex-A72, whose one multiplier takes 16 bytes
/// in two cycles, additions run beside it: 8 multiply-adds a cycle.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn u8s8_rows<const R: usize>(
    groups: usize,
    a: *const u8,
    stride: usize,
    b: *const i8,
    out: &mut Sums<i32>,
) {
    let mut sums = [[vdupq_n_s32(0); 8]; R];
    let whole = groups / 2 * 2;
    for g in (0..whole).step_by(2) {
        // SAFETY: groups `g..g + 2` of the panel are 128 bytes, those of row `r` 8: both within what the caller vouches
        // for.
        unsafe {
            let mut x = [[vdupq_n_s8(0); 2]; R];
            for (r, x) in x.iter_mut().enumerate() {
                let at = a.add(r * stride + g * 4);
                *x = [spread(at), spread(at.add(4))];
            }
            for c in 0..4 {
                let (b0, b1) = (vld1q_s8(b.add(g * 64 + c * 16)), vld1q_s8(b.add(g * 64 + 64 + c * 16)));
                for (x, sums) in x.iter().zip(&mut sums) {
                    let low = vmull_s8(vget_low_s8(x[0]), vget_low_s8(b0));
                    let low = vmlal_s8(low, vget_low_s8(x[1]), vget_low_s8(b1));
                    let high = vmlal_high_s8(vmull_high_s8(x[0], b0), x[1], b1);
                    sums[2 * c] = vpadalq_s16(sums[2 * c], low);
                    sums[2 * c + 1] = vpadalq_s16(sums[2 * c + 1], high);
                }
            }
        }
    }
    if whole < groups {
        for (r, sums) in sums.iter_mut().enumerate() {
            for c in 0..4 {
                // SAFETY: as above, the last group.
                let (x, b) =
                    unsafe { (spread(a.add(r * stride + whole * 4)), vld1q_s8(b.add(whole * 64 + c * 16))) };
                sums[2 * c] = vpadalq_s16(sums[2 * c], vmull_s8(vget_low_s8(x), vget_low_s8(b)));
                sums[2 * c + 1] = vpadalq_s16(sums[2 * c + 1], vmull_high_s8(x, b));
            }
        }
    }
    for (row, sums) in out.iter_mut().zip(sums) {
        store_i32(row, [0, 2, 4, 6].map(|i| vpaddq_s32(sums[i], sums[i + 1])));
    }
}

/// The group of four codes at `a`, four times. In `asm!`, since a compiler that knows both halves to be alike multiplies by
/// the low one alone, and moves the weights' high halves down for it.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn spread(a: *const u8) -> int8x16_t {
    let x;
    // SAFETY: it reads the 4 bytes that the caller vouches for.
    unsafe {
        asm!(
            "ld1r {{{x:v}.4s}}, [{a}]",
            x = out(vreg) x,
            a = in(reg) a,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    x
}

/// Stores four registers of i32 as a row of sums.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store_i32(row: &mut [i32; 16], sums: [int32x4_t; 4]) {
    for (part, sums) in row.chunks_exact_mut(4).zip(sums) {
        // SAFETY: a part holds 4 values, a register.
        unsafe { vst1q_s32(part.as_mut_ptr(), sums) };
    }
}

/// Adds element `LANE` of the rows' registers times the 16 columns at `b`. Columns are outermost: a register of them is in use
/// at a time.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn step<const R: usize, const LANE: i32>(
    sums: &mut [[float32x4_t; 4]; R],
    x: &[float32x4_t; R],
    b: *const f32,
) {
    for c in 0..4 {
        // SAFETY: the caller vouches for 16 values.
        let b = unsafe { vld1q_f32(b.add(4 * c)) };
        for (sums, &x) in sums.iter_mut().zip(x) {
            sums[c] = vfmaq_laneq_f32::<LANE>(sums[c], b, x);
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
unsafe fn f32_rows<const R: usize>(
    groups: usize,
    a: *const f32,
    stride: usize,
    b: *const f32,
    out: &mut Sums<f32>,
) {
    let mut sums = [[vdupq_n_f32(0.0); 4]; R];
    let whole = groups / 4 * 4;
    for k in (0..whole).step_by(4) {
        // SAFETY: columns `k..k + 4` of the panel are 64 values, elements `k..k + 4` of row `r` four: both within what the
        // caller vouches for.
        unsafe {
            let mut x = [vdupq_n_f32(0.0); R];
            for (r, x) in x.iter_mut().enumerate() {
                *x = vld1q_f32(a.add(r * stride + k));
            }
            let b = b.add(k * 16);
            step::<R, 0>(&mut sums, &x, b);
            step::<R, 1>(&mut sums, &x, b.add(16));
            step::<R, 2>(&mut sums, &x, b.add(32));
            step::<R, 3>(&mut sums, &x, b.add(48));
        }
    }
    for k in whole..groups {
        // SAFETY: as above, one element of k.
        unsafe {
            let mut x = [vdupq_n_f32(0.0); R];
            for (r, x) in x.iter_mut().enumerate() {
                *x = vdupq_n_f32(*a.add(r * stride + k));
            }
            step::<R, 0>(&mut sums, &x, b.add(k * 16));
        }
    }
    for (row, sums) in out.iter_mut().zip(sums) {
        for (part, sums) in row.chunks_exact_mut(4).zip(sums) {
            // SAFETY: a part holds 4 values, a register.
            unsafe { vst1q_f32(part.as_mut_ptr(), sums) };
        }
    }
}
