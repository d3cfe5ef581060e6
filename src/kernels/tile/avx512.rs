//! AVX-512 F, BW, VL and VNNI: 12 rows x 16 columns, a register each.

use std::arch::x86_64::*;

use super::Sums;

pub(super) const ROWS: usize = 12;

by_rows!(u8s8, u8s8_rows, "avx512f,avx512bw,avx512vl,avx512vnni", u8, i8, i32, 1 2 3 4 5 6 7 8 9 10 11 12);
by_rows!(i16, i16_rows, "avx512f,avx512bw,avx512vl,avx512vnni", i16, i16, i32, 1 2 3 4 5 6 7 8 9 10 11 12);
by_rows!(f32, f32_rows, "avx512f,avx512bw,avx512vl,avx512vnni", f32, f32, f32, 1 2 3 4 5 6 7 8 9 10 11 12);
by_rows!(f16, f16_rows, "avx512f,avx512bw,avx512vl,avx512vnni", f32, u16, f32, 1 2 3 4 5 6 7 8 9 10 11 12);

/// The integer micro-kernels: `$dot` adds the products of one group to the sums.
macro_rules! dot_rows {
    ($name:ident, $a:ty, $b:ty, $group:literal, $dot:ident) => {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        unsafe fn $name<const R: usize>(
            groups: usize,
            a: *const $a,
            stride: usize,
            b: *const $b,
            out: &mut Sums<i32>,
        ) {
            let mut sums = [_mm512_setzero_si512(); R];
            for g in 0..groups {
                // SAFETY: group `g` of the panel is 64 bytes, group `g` of row `r` 4: both within what the caller
                // vouches for.
                unsafe {
                    let b = _mm512_load_si512(b.add(g * 16 * $group).cast());
                    for (r, sum) in sums.iter_mut().enumerate() {
                        let x = a.add(r * stride + g * $group).cast::<i32>().read_unaligned();
                        *sum = $dot(*sum, _mm512_set1_epi32(x), b);
                    }
                }
            }
            for (row, sum) in out.iter_mut().zip(sums) {
                // SAFETY: a row holds 16 values, one register.
                unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), sum) };
            }
        }
    };
}

dot_rows!(u8s8_rows, u8, i8, 4, _mm512_dpbusd_epi32);
dot_rows!(i16_rows, i16, i16, 2, _mm512_dpwssd_epi32);

/// The f32 micro-kernels; `$load` reads 16 columns of the panel.
macro_rules! float_rows {
    ($name:ident, $b:ty, $load:expr) => {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        unsafe fn $name<const R: usize>(
            groups: usize,
            a: *const f32,
            stride: usize,
            b: *const $b,
            out: &mut Sums<f32>,
        ) {
            let mut sums = [_mm512_setzero_ps(); R];
            for k in 0..groups {
                // SAFETY: column `k` of the panel is 16 values, element `k` of row `r` one: both within what the caller
                // vouches for.
                unsafe {
                    let b = $load(b.add(k * 16));
                    for (r, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_fmadd_ps(_mm512_set1_ps(*a.add(r * stride + k)), b, *sum);
                    }
                }
            }
            for (row, sum) in out.iter_mut().zip(sums) {
                // SAFETY: a row holds 16 values, one register.
                unsafe { _mm512_storeu_ps(row.as_mut_ptr(), sum) };
            }
        }
    };
}

float_rows!(f32_rows, f32, |p: *const f32| _mm512_load_ps(p));
float_rows!(f16_rows, u16, |p: *const u16| _mm512_cvtph_ps(_mm256_load_si256(p.cast())));
