//! AVX-512 F, BW, VL and VNNI: 12 rows x 16 columns, a register each.

use std::arch::x86_64::*;

use super::Sums;

pub(super) const ROWS: usize = 12;

/// Calls the micro-kernel `$inner` for the number of rows at hand.
macro_rules! by_rows {
    ($name:ident, $inner:ident, $a:ty, $b:ty, $sum:ty) => {
        /// # Safety
        /// See `Kernel::run`.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        pub(in super::super) unsafe fn $name(
            rows: usize,
            groups: usize,
            a: *const $a,
            stride: usize,
            b: *const $b,
            sums: &mut Sums<$sum>,
        ) {
            // SAFETY: the caller's promise is handed on, with `rows` as a constant.
            unsafe {
                match rows {
                    1 => $inner::<1>(groups, a, stride, b, sums),
                    2 => $inner::<2>(groups, a, stride, b, sums),
                    3 => $inner::<3>(groups, a, stride, b, sums),
                    4 => $inner::<4>(groups, a, stride, b, sums),
                    5 => $inner::<5>(groups, a, stride, b, sums),
                    6 => $inner::<6>(groups, a, stride, b, sums),
                    7 => $inner::<7>(groups, a, stride, b, sums),
                    8 => $inner::<8>(groups, a, stride, b, sums),
                    9 => $inner::<9>(groups, a, stride, b, sums),
                    10 => $inner::<10>(groups, a, stride, b, sums),
                    11 => $inner::<11>(groups, a, stride, b, sums),
                    _ => $inner::<12>(groups, a, stride, b, sums),
                }
            }
        }
    };
}

by_rows!(u8s8, u8s8_rows, u8, i8, i32);
by_rows!(i16, i16_rows, i16, i16, i32);
by_rows!(f32, f32_rows, f32, f32, f32);
by_rows!(f16, f16_rows, f32, u16, f32);

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
