//! AVX-VNNI: `vpdpbusd` on 256 bits. The other kernels are AVX2's.

use std::arch::x86_64::*;

use super::avx2::store_i32;
use super::blocks::{BLOCKS, Blocks};
use super::{Ahead, Direct, Extent, Sums, Tile};

pub(super) use super::avx2::{ROWS, f16, f32, i16};

by_rows!(u8s8, u8s8_rows, "avx2,avxvnni", u8, i8, i32, 1 2 3 4 5 6);

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn u8s8_rows<const R: usize>(
    groups: usize,
    a: *const u8,
    stride: usize,
    b: *const i8,
    out: &mut Sums<i32>,
) {
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    for g in 0..groups {
        // SAFETY: for group `g` the caller guarantees 64 readable bytes of the panel and 4 of row `r`.
        unsafe {
            let b0 = _mm256_load_si256(b.add(g * 64).cast());
            let b1 = _mm256_load_si256(b.add(g * 64 + 32).cast());
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = _mm256_set1_epi32(a.add(r * stride + g * 4).cast::<i32>().read_unaligned());
                sums[0] = _mm256_dpbusd_avx_epi32(sums[0], x, b0);
                sums[1] = _mm256_dpbusd_avx_epi32(sums[1], x, b1);
            }
        }
    }
    for (row, sums) in out.iter_mut().zip(sums) {
        store_i32(row, sums);
    }
}

super::avx2::block_kernel!("avx2,fma,avxvnni", _mm256_dpbusd_avx_epi32);
