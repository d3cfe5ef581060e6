//! AVX2, FMA and F16C: 6 rows x 16 columns with the accumulators in 12 registers.

use std::arch::asm;
use std::arch::x86_64::*;

use super::blocks::{BLOCKS, Blocks};
use super::{Ahead, Direct, Extent, Sums, Tile};

pub(super) const ROWS: usize = 6;

by_rows!(u8s8, u8s8_rows, "avx2", u8, i8, i32, 1 2 3 4 5 6);
by_rows!(i16, i16_rows, "avx2", i16, i16, i32, 1 2 3 4 5 6);
by_rows!(f32, f32_rows, "avx2,fma", f32, f32, f32, 1 2 3 4 5 6);
by_rows!(f16, f16_rows, "avx2,fma,f16c", f32, u16, f32, 1 2 3 4 5 6);

/// Stores two registers of i32 as a row of sums.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_i32(row: &mut [i32; 16], sums: [__m256i; 2]) {
    // SAFETY: a row holds 16 values, two registers of 8.
    unsafe {
        _mm256_storeu_si256(row.as_mut_ptr().cast(), sums[0]);
        _mm256_storeu_si256(row.as_mut_ptr().add(8).cast(), sums[1]);
    }
}

/// Stores two registers of f32 as a row of sums.
#[inline]
#[target_feature(enable = "avx2")]
fn store_f32(row: &mut [f32; 16], sums: [__m256; 2]) {
    // SAFETY: a row holds 16 values, two registers of 8.
    unsafe {
        _mm256_storeu_ps(row.as_mut_ptr(), sums[0]);
        _mm256_storeu_ps(row.as_mut_ptr().add(8), sums[1]);
    }
}

/// `vpmaddubsw` is exact for the operands of [`super::U8S8`], but not for all other weights: the code that packs the
/// panels ensures this (`linear::PackedLinear::int8`, and attention, whose keys have 7 bits).
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn u8s8_rows<const R: usize>(
    groups: usize,
    a: *const u8,
    stride: usize,
    b: *const i8,
    out: &mut Sums<i32>,
) {
    if R == 6 {
        // SAFETY: the caller fulfils the contract of `Kernel::run`, and `for_tiles` calls no kernel for 0 groups.
        return unsafe { u8s8_six(groups, a, stride, b, out) };
    }
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    for g in 0..groups {
        // SAFETY: for group `g` the caller guarantees 64 readable bytes of the panel and 4 of row `r`.
        unsafe {
            let b0 = _mm256_load_si256(b.add(g * 64).cast());
            let b1 = _mm256_load_si256(b.add(g * 64 + 32).cast());
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = _mm256_set1_epi32(a.add(r * stride + g * 4).cast::<i32>().read_unaligned());
                let pairs = [_mm256_maddubs_epi16(x, b0), _mm256_maddubs_epi16(x, b1)];
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(pairs[0], ones));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(pairs[1], ones));
            }
        }
    }
    for (row, sums) in out.iter_mut().zip(sums) {
        store_i32(row, sums);
    }
}

/// Six rows, written by hand: the loop needs all 16 registers, and the compiler spills an accumulator (30 instead of 94
/// G multiply-adds per second, depending on how the stack happens to be aligned).
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn u8s8_six(groups: usize, a: *const u8, stride: usize, b: *const i8, out: &mut Sums<i32>) {
    let mut sums = [[_mm256_setzero_si256(); 2]; 6];
    // SAFETY: it reads, group by group, what the caller guarantees to be readable (`groups` is at least 1), writes no
    // memory, and the registers that it changes are operands.
    unsafe {
        asm!(
            "2:",
            "vmovdqa ymm12, [{b}]",
            "vpbroadcastd ymm13, [{a}]",
            "vpmaddubsw ymm14, ymm13, ymm12",
            "vpmaddubsw ymm13, ymm13, [{b} + 32]",
            "vpmaddwd ymm14, ymm14, ymm15",
            "vpmaddwd ymm13, ymm13, ymm15",
            "vpaddd ymm0, ymm0, ymm14",
            "vpaddd ymm1, ymm1, ymm13",
            "vpbroadcastd ymm13, [{a} + {s}]",
            "vpmaddubsw ymm14, ymm13, ymm12",
            "vpmaddubsw ymm13, ymm13, [{b} + 32]",
            "vpmaddwd ymm14, ymm14, ymm15",
            "vpmaddwd ymm13, ymm13, ymm15",
            "vpaddd ymm2, ymm2, ymm14",
            "vpaddd ymm3, ymm3, ymm13",
            "vpbroadcastd ymm13, [{a} + 2*{s}]",
            "vpmaddubsw ymm14, ymm13, ymm12",
            "vpmaddubsw ymm13, ymm13, [{b} + 32]",
            "vpmaddwd ymm14, ymm14, ymm15",
            "vpmaddwd ymm13, ymm13, ymm15",
            "vpaddd ymm4, ymm4, ymm14",
            "vpaddd ymm5, ymm5, ymm13",
            "vpbroadcastd ymm13, [{d}]",
            "vpmaddubsw ymm14, ymm13, ymm12",
            "vpmaddubsw ymm13, ymm13, [{b} + 32]",
            "vpmaddwd ymm14, ymm14, ymm15",
            "vpmaddwd ymm13, ymm13, ymm15",
            "vpaddd ymm6, ymm6, ymm14",
            "vpaddd ymm7, ymm7, ymm13",
            "vpbroadcastd ymm13, [{d} + {s}]",
            "vpmaddubsw ymm14, ymm13, ymm12",
            "vpmaddubsw ymm13, ymm13, [{b} + 32]",
            "vpmaddwd ymm14, ymm14, ymm15",
            "vpmaddwd ymm13, ymm13, ymm15",
            "vpaddd ymm8, ymm8, ymm14",
            "vpaddd ymm9, ymm9, ymm13",
            "vpbroadcastd ymm13, [{d} + 2*{s}]",
            "vpmaddubsw ymm14, ymm13, ymm12",
            "vpmaddubsw ymm13, ymm13, [{b} + 32]",
            "vpmaddwd ymm14, ymm14, ymm15",
            "vpmaddwd ymm13, ymm13, ymm15",
            "vpaddd ymm10, ymm10, ymm14",
            "vpaddd ymm11, ymm11, ymm13",
            "add {a}, 4",
            "add {d}, 4",
            "add {b}, 64",
            "dec {n}",
            "jnz 2b",
            a = inout(reg) a => _,
            d = inout(reg) a.wrapping_add(3 * stride) => _,
            b = inout(reg) b => _,
            n = inout(reg) groups => _,
            s = in(reg) stride,
            inout("ymm0") sums[0][0],
            inout("ymm1") sums[0][1],
            inout("ymm2") sums[1][0],
            inout("ymm3") sums[1][1],
            inout("ymm4") sums[2][0],
            inout("ymm5") sums[2][1],
            inout("ymm6") sums[3][0],
            inout("ymm7") sums[3][1],
            inout("ymm8") sums[4][0],
            inout("ymm9") sums[4][1],
            inout("ymm10") sums[5][0],
            inout("ymm11") sums[5][1],
            out("ymm12") _,
            out("ymm13") _,
            out("ymm14") _,
            in("ymm15") _mm256_set1_epi16(1),
            options(nostack, readonly),
        );
    }
    for (row, sums) in out.iter_mut().zip(sums) {
        store_i32(row, sums);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn i16_rows<const R: usize>(
    groups: usize,
    a: *const i16,
    stride: usize,
    b: *const i16,
    out: &mut Sums<i32>,
) {
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    for g in 0..groups {
        // SAFETY: for group `g` the caller guarantees 32 readable values of the panel and 2 of row `r`.
        unsafe {
            let b0 = _mm256_load_si256(b.add(g * 32).cast());
            let b1 = _mm256_load_si256(b.add(g * 32 + 16).cast());
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = _mm256_set1_epi32(a.add(r * stride + g * 2).cast::<i32>().read_unaligned());
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(x, b0));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(x, b1));
            }
        }
    }
    for (row, sums) in out.iter_mut().zip(sums) {
        store_i32(row, sums);
    }
}

/// Defines a micro-kernel with f32 accumulators; `$load` reads 8 columns of the panel.
macro_rules! float_rows {
    ($name:ident, $features:literal, $b:ty, $load:expr) => {
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $name<const R: usize>(
            groups: usize,
            a: *const f32,
            stride: usize,
            b: *const $b,
            out: &mut Sums<f32>,
        ) {
            let mut sums = [[_mm256_setzero_ps(); 2]; R];
            for k in 0..groups {
                // SAFETY: for element `k` the caller guarantees 16 readable values of the panel and one of row `r`.
                unsafe {
                    let b = [$load(b.add(k * 16)), $load(b.add(k * 16 + 8))];
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let x = _mm256_set1_ps(*a.add(r * stride + k));
                        sums[0] = _mm256_fmadd_ps(x, b[0], sums[0]);
                        sums[1] = _mm256_fmadd_ps(x, b[1], sums[1]);
                    }
                }
            }
            for (row, sums) in out.iter_mut().zip(sums) {
                store_f32(row, sums);
            }
        }
    };
}

float_rows!(f32_rows, "avx2,fma", f32, |p: *const f32| _mm256_load_ps(p));
float_rows!(f16_rows, "avx2,fma,f16c", u16, |p: *const u16| _mm256_cvtph_ps(_mm_load_si128(p.cast())));

/// Defines the micro-kernel for sums of blocks on 256 bits: 6 rows x 16 columns, 12 accumulators of the block; the sums
/// of all blocks are read and written for each. `$dot` adds the products of one word.
macro_rules! block_kernel {
    ($features:literal, $dot:expr) => {
        blocks_by_rows!($features, 1 2 3 4 5 6);

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn block_rows<const R: usize>(of: Blocks) {
            let Blocks { groups, codes, values, weights, sums, .. } = of;
            let sum = |r: usize, half: usize| sums.0.wrapping_add(r * sums.1 + half * 8);
            for block in 0..BLOCKS {
                let mut block_sums = [[_mm256_setzero_si256(); 2]; R];
                for g in 0..groups {
                    // SAFETY: for each group the caller guarantees 16 words of the panel and 8 of row `r`.
                    unsafe {
                        let values = values.0.add((block * groups + g) * 16);
                        let halves =
                            [_mm256_load_si256(values.cast()), _mm256_load_si256(values.add(8).cast())];
                        for (r, sums) in block_sums.iter_mut().enumerate() {
                            let x = _mm256_set1_epi32(*codes.0.add(r * codes.1 + g * BLOCKS + block) as i32);
                            sums[0] = $dot(sums[0], x, halves[0]);
                            sums[1] = $dot(sums[1], x, halves[1]);
                        }
                    }
                }
                for (r, sums) in block_sums.into_iter().enumerate() {
                    // SAFETY: the caller guarantees 8 weights and 16 sums of row `r`.
                    unsafe {
                        let weight = _mm256_set1_ps(*weights.0.add(r * weights.1 + block));
                        for (half, block_sum) in sums.into_iter().enumerate() {
                            let total = _mm256_loadu_ps(sum(r, half));
                            let total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(block_sum), weight, total);
                            _mm256_storeu_ps(sum(r, half), total);
                        }
                    }
                }
            }
        }
    };
}
pub(super) use block_kernel;

block_kernel!("avx2,fma", |sum, x, values| _mm256_add_epi32(sum, _mm256_madd_epi16(x, values)));
