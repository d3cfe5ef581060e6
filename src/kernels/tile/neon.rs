//! Advanced SIMD of any 64-bit ARM CPU: 16 columns take four registers.

use std::arch::aarch64::*;
use std::arch::asm;

use super::blocks::{BLOCKS, Blocks};
use super::{Ahead, Direct, Extent, Sums, Tile};

pub(super) use super::scalar::{f16, i16};

/// Number of rows of each micro-kernel: as many as fit into 32 registers together with the operands.
#[allow(non_upper_case_globals, reason = "named as the micro-kernels")]
pub(super) mod rows {
    /// Eight accumulators per row: the halves of a group are added at the end.
    pub const u8s8: usize = 2;
    pub const i16: usize = super::super::scalar::ROWS;
    pub const f16: usize = super::super::scalar::ROWS;
    pub const f32: usize = 6;
}

by_rows!(u8s8, u8s8_narrow, "neon", u8, i8, i32, 1 2);
by_rows!(u8s8_wide, u8s8_wide_rows, "neon", u8, i8, i32, 1 2);
by_rows!(f32, f32_rows, "neon", f32, f32, f32, 1 2 3 4 5 6);

/// For the operands of [`super::U8S8`]: four products fit into i16 (4 x 128 x 63 = 32256).
#[inline]
#[target_feature(enable = "neon")]
unsafe fn u8s8_narrow<const R: usize>(
    groups: usize,
    a: *const u8,
    stride: usize,
    b: *const i8,
    out: &mut Sums<i32>,
) {
    // SAFETY: the caller fulfils the contract of `Kernel::run`, which `u8s8_rows` shares.
    unsafe { u8s8_rows::<R, 4>(groups, a, stride, b, out) }
}

/// For any codes and weights within -127 to 127: two products fit into i16 (2 x 128 x 127 = 32512).
#[inline]
#[target_feature(enable = "neon")]
unsafe fn u8s8_wide_rows<const R: usize>(
    groups: usize,
    a: *const u8,
    stride: usize,
    b: *const i8,
    out: &mut Sums<i32>,
) {
    // SAFETY: the caller fulfils the contract of `Kernel::run`, which `u8s8_rows` shares.
    unsafe { u8s8_rows::<R, 2>(groups, a, stride, b, out) }
}

/// Adds `CHAIN` products in each lane of i16, then pairs of lanes into i32. A Cortex-A72 has one multiplier, which
/// takes 16 bytes in two cycles: 8 multiply-adds per cycle. The additions run in parallel with it.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn u8s8_rows<const R: usize, const CHAIN: usize>(
    groups: usize,
    a: *const u8,
    stride: usize,
    b: *const i8,
    out: &mut Sums<i32>,
) {
    let mut sums = [[vdupq_n_s32(0); 8]; R];
    let whole = groups / CHAIN * CHAIN;
    if let (Some(sums), 4) = (sums.first_chunk_mut(), CHAIN) {
        // SAFETY: `whole` is a multiple of 4 and at most `groups`, for which the caller guarantees readable operands.
        unsafe { two_by_four(sums, whole, a, stride, b) };
    } else {
        for g in (0..whole).step_by(CHAIN) {
            // SAFETY: for each group the caller guarantees 64 readable bytes of the panel and 4 of row `r`.
            unsafe { chains::<R, CHAIN>(&mut sums, a.add(g * 4), [stride, 4], b.add(g * 64)) };
        }
    }
    for g in whole..groups {
        // SAFETY: as above, for one group.
        unsafe { chains::<R, 1>(&mut sums, a.add(g * 4), [stride, 4], b.add(g * 64)) };
    }
    for (row, sums) in out.iter_mut().zip(sums) {
        // Not `map`, which the compiler does not make part of a function with target features.
        let mut whole = [vdupq_n_s32(0); 4];
        for (c, whole) in whole.iter_mut().enumerate() {
            *whole = vpaddq_s32(sums[2 * c], sums[2 * c + 1]);
        }
        store_i32(row, whole);
    }
}

/// Adds the products of `CHAIN` groups, at `a` in each row and at `b` in the panel. `a` has a stride from row to row
/// and one from group to group.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn chains<const R: usize, const CHAIN: usize>(
    sums: &mut [[int32x4_t; 8]; R],
    a: *const u8,
    [stride, step]: [usize; 2],
    b: *const i8,
) {
    let mut x = [[vdupq_n_s8(0); CHAIN]; R];
    for (r, x) in x.iter_mut().enumerate() {
        for (g, x) in x.iter_mut().enumerate() {
            // SAFETY: the caller guarantees `CHAIN` readable groups of each row.
            *x = unsafe { spread(a.add(r * stride + g * step)) };
        }
    }
    for c in 0..4 {
        let mut b4 = [vdupq_n_s8(0); CHAIN];
        for (g, b4) in b4.iter_mut().enumerate() {
            // SAFETY: the caller guarantees `CHAIN` readable groups of the panel.
            *b4 = unsafe { vld1q_s8(b.add(g * 64 + c * 16)) };
        }
        for (x, sums) in x.iter().zip(sums.iter_mut()) {
            let mut low = vmull_s8(vget_low_s8(x[0]), vget_low_s8(b4[0]));
            let mut high = vmull_high_s8(x[0], b4[0]);
            for g in 1..CHAIN {
                low = vmlal_s8(low, vget_low_s8(x[g]), vget_low_s8(b4[g]));
                high = vmlal_high_s8(high, x[g], b4[g]);
            }
            sums[2 * c] = vpadalq_s16(sums[2 * c], low);
            sums[2 * c + 1] = vpadalq_s16(sums[2 * c + 1], high);
        }
    }
}

/// Two rows, four products per lane. The loop needs all 32 registers (16 accumulators, 8 of codes, 4 of weights, 4 of
/// products), and the compiler spills six of them, so part of the loop is written by hand: [`quarter`].
///
/// # Safety
/// As [`u8s8_narrow`]; `groups` is a multiple of 4.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn two_by_four(
    sums: &mut [[int32x4_t; 8]; 2],
    groups: usize,
    a: *const u8,
    stride: usize,
    b: *const i8,
) {
    if groups == 0 {
        return;
    }
    // SAFETY: `groups` is at least 4 here, so the panel has 256 readable bytes.
    let mut weights = unsafe { [0, 64, 128, 192].map(|at| vld1q_s8(b.add(at))) };
    for g in (0..groups).step_by(4) {
        let next = if g + 4 < groups { g + 4 } else { 0 };
        // SAFETY: for groups `g..g + 4` the caller guarantees 256 readable bytes of the panel and 16 of row `r`, and
        // `next` is also the first of four groups.
        unsafe {
            let x = [four_groups(a.add(g * 4)), four_groups(a.add(stride + g * 4))];
            let (b, next) = (b.add(g * 64), b.add(next * 64));
            quarter::<0, 16>(sums, &x, &mut weights, b);
            quarter::<1, 32>(sums, &x, &mut weights, b);
            quarter::<2, 48>(sums, &x, &mut weights, b);
            quarter::<3, 0>(sums, &x, &mut weights, next);
        }
    }
}

/// Loads four groups of codes into one register each, where the group is repeated four times.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn four_groups(a: *const u8) -> [int32x4_t; 4] {
    // SAFETY: the caller guarantees 16 readable bytes.
    let codes = vreinterpretq_s32_s8(unsafe { vld1q_s8(a.cast()) });
    [
        vdupq_laneq_s32::<0>(codes),
        vdupq_laneq_s32::<1>(codes),
        vdupq_laneq_s32::<2>(codes),
        vdupq_laneq_s32::<3>(codes),
    ]
}

/// Adds columns `4 * C..4 * C + 4` of four groups, whose weights are in `weights`. After its last use each weight
/// register is reloaded with weights of other columns, read `AT` bytes from `next`, one register for each of the four
/// groups. Products of four accumulators are interleaved, which shortens the waits of an in-order CPU (Cortex-A53,
/// A55).
#[inline]
#[target_feature(enable = "neon")]
unsafe fn quarter<const C: usize, const AT: usize>(
    [s, z]: &mut [[int32x4_t; 8]; 2],
    [x, y]: &[[int32x4_t; 4]; 2],
    weights: &mut [int8x16_t; 4],
    next: *const i8,
) {
    let [mut b0, mut b1, mut b2, mut b3] = *weights;
    let (mut s0, mut s1, mut z0, mut z1) = (s[2 * C], s[2 * C + 1], z[2 * C], z[2 * C + 1]);
    // SAFETY: it writes no memory and reads 16 bytes of each of the four groups at `next`, as the caller guarantees.
    unsafe {
        asm!(
            "smull {t0:v}.8h, {x0:v}.8b, {b0:v}.8b",
            "smull2 {t1:v}.8h, {x0:v}.16b, {b0:v}.16b",
            "smull {t2:v}.8h, {y0:v}.8b, {b0:v}.8b",
            "smull2 {t3:v}.8h, {y0:v}.16b, {b0:v}.16b",
            "ldr {b0:q}, [{next}, {at0}]",
            "smlal {t0:v}.8h, {x1:v}.8b, {b1:v}.8b",
            "smlal2 {t1:v}.8h, {x1:v}.16b, {b1:v}.16b",
            "smlal {t2:v}.8h, {y1:v}.8b, {b1:v}.8b",
            "smlal2 {t3:v}.8h, {y1:v}.16b, {b1:v}.16b",
            "ldr {b1:q}, [{next}, {at1}]",
            "smlal {t0:v}.8h, {x2:v}.8b, {b2:v}.8b",
            "smlal2 {t1:v}.8h, {x2:v}.16b, {b2:v}.16b",
            "smlal {t2:v}.8h, {y2:v}.8b, {b2:v}.8b",
            "smlal2 {t3:v}.8h, {y2:v}.16b, {b2:v}.16b",
            "ldr {b2:q}, [{next}, {at2}]",
            "smlal {t0:v}.8h, {x3:v}.8b, {b3:v}.8b",
            "smlal2 {t1:v}.8h, {x3:v}.16b, {b3:v}.16b",
            "smlal {t2:v}.8h, {y3:v}.8b, {b3:v}.8b",
            "smlal2 {t3:v}.8h, {y3:v}.16b, {b3:v}.16b",
            "ldr {b3:q}, [{next}, {at3}]",
            "sadalp {s0:v}.4s, {t0:v}.8h",
            "sadalp {s1:v}.4s, {t1:v}.8h",
            "sadalp {z0:v}.4s, {t2:v}.8h",
            "sadalp {z1:v}.4s, {t3:v}.8h",
            s0 = inout(vreg) s0,
            s1 = inout(vreg) s1,
            z0 = inout(vreg) z0,
            z1 = inout(vreg) z1,
            x0 = in(vreg) x[0],
            x1 = in(vreg) x[1],
            x2 = in(vreg) x[2],
            x3 = in(vreg) x[3],
            y0 = in(vreg) y[0],
            y1 = in(vreg) y[1],
            y2 = in(vreg) y[2],
            y3 = in(vreg) y[3],
            b0 = inout(vreg) b0,
            b1 = inout(vreg) b1,
            b2 = inout(vreg) b2,
            b3 = inout(vreg) b3,
            t0 = out(vreg) _,
            t1 = out(vreg) _,
            t2 = out(vreg) _,
            t3 = out(vreg) _,
            next = in(reg) next,
            at0 = const AT,
            at1 = const AT + 64,
            at2 = const AT + 128,
            at3 = const AT + 192,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    *weights = [b0, b1, b2, b3];
    (s[2 * C], s[2 * C + 1], z[2 * C], z[2 * C + 1]) = (s0, s1, z0, z1);
}

/// Loads the group of four codes at `a`, repeated four times. In `asm!` because a compiler that knows both halves to be
/// equal multiplies by the low one alone, and moves the weights' high halves down for it.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn spread(a: *const u8) -> int8x16_t {
    let x;
    // SAFETY: it reads 4 bytes, which the caller guarantees to be readable.
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

/// Widens the fp16 values of whole panels: `from` and `to` have the same length, a multiple of 16.
pub(super) fn widen_fp16(from: &[u16], to: &mut [f32]) {
    let (from, to) = (from.as_chunks(), to.as_chunks_mut());
    assert!(from.0.len() == to.0.len() && from.1.is_empty() && to.1.is_empty());
    for (from, to) in from.0.iter().zip(to.0) {
        // SAFETY: every 64-bit ARM CPU has NEON.
        unsafe { widen_sixteen(from, to) };
    }
}

/// `fcvtl`, whose intrinsic needs a type that is unstable in Rust 1.95.
#[inline]
#[target_feature(enable = "neon")]
fn widen_sixteen(from: &[u16; 16], to: &mut [f32; 16]) {
    let (a, b, c, d): (float32x4_t, float32x4_t, float32x4_t, float32x4_t);
    // SAFETY: the loads read the 16 values in `from`, the stores write the 16 values in `to`, and the instructions in
    // between use only registers and belong to Armv8.0.
    unsafe {
        let (low, high) = (vld1q_u16(from.as_ptr()), vld1q_u16(from.as_ptr().add(8)));
        asm!(
            "fcvtl {a:v}.4s, {low:v}.4h",
            "fcvtl2 {b:v}.4s, {low:v}.8h",
            "fcvtl {c:v}.4s, {high:v}.4h",
            "fcvtl2 {d:v}.4s, {high:v}.8h",
            low = in(vreg) low,
            high = in(vreg) high,
            a = out(vreg) a,
            b = out(vreg) b,
            c = out(vreg) c,
            d = out(vreg) d,
            options(pure, nomem, nostack, preserves_flags),
        );
        vst1q_f32(to.as_mut_ptr(), a);
        vst1q_f32(to.as_mut_ptr().add(4), b);
        vst1q_f32(to.as_mut_ptr().add(8), c);
        vst1q_f32(to.as_mut_ptr().add(12), d);
    }
}

/// Stores four registers of i32 as a row of sums.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store_i32(row: &mut [i32; 16], sums: [int32x4_t; 4]) {
    for (part, sums) in row.chunks_exact_mut(4).zip(sums) {
        // SAFETY: a part holds 4 values, which is one register.
        unsafe { vst1q_s32(part.as_mut_ptr(), sums) };
    }
}

/// Adds element `LANE` of the rows' registers times the 16 columns at `b`. Columns are the outer loop, so that only one
/// register of them is in use at a time.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn step<const R: usize, const LANE: i32>(
    sums: &mut [[float32x4_t; 4]; R],
    x: &[float32x4_t; R],
    b: *const f32,
) {
    for c in 0..4 {
        // SAFETY: the caller guarantees 16 readable values.
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
        // SAFETY: for elements `k..k + 4` the caller guarantees 64 readable values of the panel and 4 of row `r`.
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
        // SAFETY: as above, for one element of k.
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
            // SAFETY: a part holds 4 values, which is one register.
            unsafe { vst1q_f32(part.as_mut_ptr(), sums) };
        }
    }
}

// Sums of blocks of bytes: 2 rows x 16 columns, 16 accumulators of the block and 8 of all blocks.
blocks_by_rows!("neon", 1 2);

/// Two products fit into i16 (2 x 128 x 127 = 32512).
#[inline]
#[target_feature(enable = "neon")]
unsafe fn block_rows<const R: usize>(of: Blocks) {
    let Blocks { groups, codes, values, weights, sums, .. } = of;
    let mut totals = [[vdupq_n_f32(0.0); 4]; R];
    for (r, totals) in totals.iter_mut().enumerate() {
        for (c, total) in totals.iter_mut().enumerate() {
            // SAFETY: the caller guarantees 16 sums of each row.
            *total = unsafe { vld1q_f32(sums.0.add(r * sums.1 + 4 * c)) };
        }
    }
    let strides = [codes.1 * 4, BLOCKS * 4];
    for block in 0..BLOCKS {
        let values = values.0.wrapping_add(block * (groups + 1) * 16);
        // SAFETY: the caller guarantees 16 sums and `groups` times 16 words of each block, and of row `r` 8 words for
        // each group and 8 weights.
        unsafe {
            let mut block_sums = [[vdupq_n_s32(0); 8]; R];
            // Neighbouring lanes are added at the end.
            for c in 0..4 {
                let (start, zero) = (vld1q_s32(values.add(4 * c).cast()), vdupq_n_s32(0));
                for sums in &mut block_sums {
                    (sums[2 * c], sums[2 * c + 1]) = (vzip1q_s32(start, zero), vzip2q_s32(start, zero));
                }
            }
            let at = |g: usize| (codes.0.add(g * BLOCKS + block).cast(), values.add((g + 1) * 16).cast());
            let whole = groups / 2 * 2;
            for (codes, values) in (0..whole).step_by(2).map(at) {
                chains::<R, 2>(&mut block_sums, codes, strides, values);
            }
            if whole < groups {
                let (codes, values) = at(whole);
                chains::<R, 1>(&mut block_sums, codes, strides, values);
            }
            for (r, (totals, sums)) in totals.iter_mut().zip(block_sums).enumerate() {
                let weight = vdupq_n_f32(*weights.0.add(r * weights.1 + block));
                for (c, total) in totals.iter_mut().enumerate() {
                    let sum = vpaddq_s32(sums[2 * c], sums[2 * c + 1]);
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
