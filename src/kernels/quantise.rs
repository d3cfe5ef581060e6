//! Quantises f32 rows to 8-bit codes.

use super::isa::{Isa, per_isa};
use super::pool::{RowsMut, Split};
use super::reduce;

/// 1.5 * 2^23. Adding it to an f32 of magnitude below 2^22 rounds that value to the nearest integer, ties to even, and
/// leaves the integer in the low bits.
pub const ROUND: f32 = 12_582_912.0;

/// Quantisation parameters of a row of codes: `x = (code - zero) * scale`, with [`Isa::code_offset`] subtracted from
/// both `code` and `zero`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QuantParams {
    /// Step between codes.
    pub scale: f32,
    /// Zero point, the code of 0.0: 0 to 255, minus the offset.
    pub zero: i32,
}

/// Quantised rows: the codes, and the parameters of each row, or of each head of each row.
#[derive(Clone, Copy)]
pub struct QuantisedRows<'a> {
    /// The codes, as [`row`] writes them.
    pub codes: &'a [u8],
    /// The quantisation parameters.
    pub quants: &'a [QuantParams],
}

/// [`QuantisedRows`] that can be written.
pub struct QuantisedRowsMut<'a> {
    /// The codes, as [`row`] writes them.
    pub codes: &'a mut [u8],
    /// The quantisation parameters.
    pub quants: &'a mut [QuantParams],
}

impl<'a> QuantisedRows<'a> {
    /// All but the first `count` rows, whose codes are `stride` apart, with one set of parameters each.
    pub fn from(self, count: usize, stride: usize) -> QuantisedRows<'a> {
        QuantisedRows { codes: &self.codes[count * stride..], quants: &self.quants[count..] }
    }
}

impl<'a> QuantisedRowsMut<'a> {
    /// All but the first `count` rows, whose codes are `stride` apart, with one set of parameters each.
    pub fn from(self, count: usize, stride: usize) -> QuantisedRowsMut<'a> {
        QuantisedRowsMut { codes: &mut self.codes[count * stride..], quants: &mut self.quants[count..] }
    }

    /// The rows, to be read.
    pub fn as_rows(&self) -> QuantisedRows<'_> {
        QuantisedRows { codes: self.codes, quants: self.quants }
    }

    /// Each row, or head of a row, of `stride` codes: the codes and their parameters.
    pub fn each(&mut self, stride: usize) -> impl Iterator<Item = (&mut [u8], &mut QuantParams)> {
        self.codes.chunks_exact_mut(stride).zip(&mut *self.quants)
    }

    /// The same rows, to be split between threads: each has `width` codes and `heads` sets of parameters.
    pub fn split(self, width: usize, heads: usize) -> impl Split<Part = QuantisedRowsMut<'a>> {
        (RowsMut::or_absent(self.codes, width), RowsMut::or_absent(self.quants, heads))
            .map(|(codes, quants)| QuantisedRowsMut { codes, quants })
    }
}

/// Quantised keys: codes `[tokens, dim]`, and the scale of each head of each key, `[tokens, heads]`.
#[derive(Clone, Copy)]
pub struct QuantisedKeys<'a> {
    /// The codes, as [`key`] writes them.
    pub codes: &'a [i8],
    /// The scales.
    pub scales: &'a [f32],
}

/// [`QuantisedKeys`] that can be written.
pub struct QuantisedKeysMut<'a> {
    /// The codes, as [`key`] writes them.
    pub codes: &'a mut [i8],
    /// The scales.
    pub scales: &'a mut [f32],
}

impl<'a> QuantisedKeysMut<'a> {
    /// The codes and the scales of each key of `width` channels and `heads` heads.
    pub fn each(&mut self, width: usize, heads: usize) -> impl Iterator<Item = (&mut [i8], &mut [f32])> {
        self.codes.chunks_exact_mut(width).zip(self.scales.chunks_exact_mut(heads))
    }

    /// The same keys, to be split between threads: each has `width` codes and `heads` scales.
    pub fn split(self, width: usize, heads: usize) -> impl Split<Part = QuantisedKeysMut<'a>> {
        (RowsMut::or_absent(self.codes, width), RowsMut::or_absent(self.scales, heads))
            .map(|(codes, scales)| QuantisedKeysMut { codes, scales })
    }
}

/// `value * inverse + offset` rounded to the nearest integer, ties to even.
#[inline(always)]
pub(super) fn round_scaled(value: f32, inverse: f32, offset: f32) -> i32 {
    value.mul_add(inverse, ROUND + offset).to_bits() as i32 - ROUND.to_bits() as i32
}

/// Quantises `x: [n]` to 8 bits over its own range, extended to include 0, and writes `codes: [at least n]`.
///
/// `scale = (high - low) / 255` and `zero` is the code of 0.0 (the scheme of XNNPACK's qd8 and KleidiAI's qai8dx). For
/// GELU's one-sided output this is one bit more precise than symmetric quantisation. If `x` contains a NaN or an
/// infinity, the scale is NaN, and so is everything computed from the row. Where [`Isa::code_offset`] is 128, the codes
/// are signed bytes.
pub fn row(isa: Isa, x: &[f32], codes: &mut [u8]) -> QuantParams {
    row_less(isa, x, codes, isa.code_offset())
}

per_isa! {
    fn row_less(x: &[f32], codes: &mut [u8], offset: i32) -> QuantParams {
        let (low, high) = reduce::range(x);
        let width = high - low;
        if width == 0.0 {
            codes[..x.len()].fill(-offset as u8);
            return QuantParams { scale: 1.0, zero: -offset };
        }
        let inverse = 255.0 / width;
        // `zero` is rounded once for the row and added to each value below, so 0.0 gets exactly this code.
        let zero = round_scaled(-low, inverse, 0.0).clamp(0, 255) - offset;
        // The offset is even, so ties round the same way and the codes differ by exactly the offset. (Not `clamp`: the
        // compiler would have to allow for bounds in the wrong order.)
        for (code, &v) in codes.iter_mut().zip(x) {
            *code = round_scaled(v, inverse, zero as f32).max(-offset).min(255 - offset) as u8;
        }
        QuantParams { scale: if width.is_finite() { width * (1.0 / 255.0) } else { f32::NAN }, zero }
    }
}

/// Dequantises `codes`, as written by [`row`] on `isa`, into `x`; both are `[n]`.
pub fn decode(isa: Isa, codes: &[u8], quant: QuantParams, x: &mut [f32]) {
    let signed = isa.code_offset() != 0;
    for (v, &code) in x.iter_mut().zip(codes) {
        let code = if signed { i32::from(code as i8) } else { i32::from(code) };
        *v = (code - quant.zero) as f32 * quant.scale;
    }
}

/// Largest magnitude of a key's code: see [`super::tile::NARROW`].
pub const KEY_MAX: f32 = 63.0;

per_isa! {
    /// Quantises a key of one head symmetrically to codes from -63 to 63 and returns the scale. `centre` is first
    /// subtracted from `x` in place, unless it is empty. `x`, `codes`: `[head_dim]`.
    pub fn key(x: &mut [f32], centre: &[f32], codes: &mut [i8]) -> f32 {
        for (v, c) in x.iter_mut().zip(centre) {
            *v -= c;
        }
        let largest = reduce::largest_magnitude(x);
        let inverse = if largest > 0.0 { KEY_MAX / largest } else { 0.0 };
        for (code, &v) in codes.iter_mut().zip(&*x) {
            *code = round_scaled(v, inverse, 0.0).clamp(-63, 63) as i8;
        }
        largest * (1.0 / KEY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_within_half_a_step_and_zero_is_exact() {
        for n in 1..70 {
            for shift in [-3.0, -0.2, 0.0, 0.7, 5.0] {
                let x: Vec<f32> = (0..n)
                    .map(|i| if i % 5 == 4 { 0.0 } else { (i as f32 * 1.3).sin() * 2.0 + shift })
                    .collect();
                let mut expected = vec![0; n];
                let quant = row(Isa::SCALAR, &x, &mut expected);
                let mut values = vec![0.0; n];
                decode(Isa::SCALAR, &expected, quant, &mut values);
                for (&back, &v) in values.iter().zip(&x) {
                    // Half a step, plus another half because the zero point was rounded to a whole code.
                    assert!((back - v).abs() <= 1.001 * quant.scale, "{v} became {back}");
                    assert!(v != 0.0 || back == 0.0);
                }
                for isa in Isa::available() {
                    let (mut codes, mut decoded) = (vec![0; n], vec![0.0; n]);
                    let found = row(isa, &x, &mut codes);
                    decode(isa, &codes, found, &mut decoded);
                    assert_eq!((found.scale, found.zero + isa.code_offset()), (quant.scale, quant.zero));
                    assert_eq!(decoded, values, "{isa}");
                    let plain = codes.iter().map(|c| c.wrapping_add(isa.code_offset() as u8));
                    assert!(plain.eq(expected.iter().copied()), "{isa}");
                }
            }
        }
    }

    #[test]
    fn a_row_that_is_not_finite_says_so() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 17, 39] {
                let mut x = vec![1.0; 40];
                x[at] = bad;
                for isa in Isa::available() {
                    assert!(row(isa, &x, &mut [0; 40]).scale.is_nan(), "{isa} {bad} {at}");
                }
            }
        }
    }

    #[test]
    fn keys_keep_their_range_on_every_instruction_set() {
        for n in [4, 16, 20, 64, 80] {
            let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.9).cos() * 7.0 + 3.0).collect();
            let centre = vec![3.0; n];
            for centre in [&centre[..], &[]] {
                let mut expected = vec![0; n];
                let scale = key(Isa::SCALAR, &mut x.clone(), centre, &mut expected);
                assert!(expected.iter().any(|c| c.unsigned_abs() == 63));
                for (i, (&code, v)) in expected.iter().zip(&x).enumerate() {
                    let v = v - centre.get(i).unwrap_or(&0.0);
                    assert!((f32::from(code) * scale - v).abs() <= 0.501 * scale);
                }
                for isa in Isa::available() {
                    let mut codes = vec![0; n];
                    assert_eq!(key(isa, &mut x.clone(), centre, &mut codes), scale);
                    assert_eq!(codes, expected, "{isa}");
                }
            }
        }
        assert_eq!(key(Isa::SCALAR, &mut [0.0; 8], &[], &mut [1; 8]), 0.0);
    }
}
