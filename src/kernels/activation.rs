//! `exp`, GELU and SiLU by polynomials that are the same on every machine, without the platform's libm.

use super::for_row_parts;
use super::isa::{for_each_isa, per_isa};

/// `e^x` for any finite `x`, within 2 ulp; 0 below -87.3, saturates above 88.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; the degree-7 Taylor polynomial of `e^r` is off by at most
/// `r^8 / 8! = 5.2e-9` relative, and `2^n` is put together from bits.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, the first 355/512, so that n * LN2_HIGH is exact for |n| <= 128.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // 1.5 * 2^23: adding it rounds to the nearest integer (ties to even), which lands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let below = x < -87.3;
    let x = x.clamp(-87.3, 88.0);
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + c;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if below { 0.0 } else { p * power }
}

/// `2^x` for `x <= 0`, within 3e-7 relative; below -126 and for NaN it is `2^-126`.
///
/// `x = n + f` with `|f| <= 1/2`; the degree-6 Taylor polynomial of `2^f` is off by at most
/// `(ln 2 / 2)^7 / 7! = 1.2e-7`, and `n` is added to the exponent's bits.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    // (ln 2)^k / k!
    const C: [f32; 6] =
        [0.001_333_355_8, 0.009_618_129, 0.055_504_11, 0.240_226_5, std::f32::consts::LN_2, 1.0];
    const ROUND: f32 = 12_582_912.0;
    let x = x.max(-126.0);
    let shifted = x + ROUND;
    let f = x - (shifted - ROUND);
    let mut p: f32 = 0.000_154_035_3;
    for c in C {
        p = p.mul_add(f, c);
    }
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `erf(x)` with an absolute error below 5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26
/// (1.5e-7) and f32 rounding.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    const P: f32 = 0.327_591_1;
    const A: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let a = x.abs();
    let t = 1.0 / (1.0 + P * a);
    let mut p = A[0];
    for c in &A[1..] {
        p = p * t + c;
    }
    let y = 1.0 - p * t * exp(-(a * a));
    y.copysign(x)
}

/// Exact GELU in place: `x / 2 (1 + erf(x / sqrt 2))` (arXiv 1606.08415). Absolute error below `5e-7 |x|`.
pub fn gelu(values: &mut [f32], threads: usize) {
    for_row_parts(values, 1, threads, |_, part| gelu_part(part));
}

/// `gate = silu(gate) * up`, the gated half of SwiGLU (arXiv 2002.05202). Both `[n]`.
///
/// # Panics
/// When the lengths differ.
pub fn silu_times(gate: &mut [f32], up: &[f32], threads: usize) {
    assert_eq!(gate.len(), up.len());
    for_row_parts(gate, 1, threads, |first, part| silu_times_part(part, &up[first..]));
}

for_each_isa! {
    fn gelu_part(values: &mut [f32]) {
        for v in values {
            *v = 0.5 * *v * (1.0 + erf(*v * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

for_each_isa! {
    fn silu_times_part(gate: &mut [f32], up: &[f32]) {
        for (g, u) in gate.iter_mut().zip(up) {
            *g = *g / (1.0 + exp(-*g)) * u;
        }
    }
}

for_each_isa! {
    /// Softmax of one row in place. `row` must not be empty.
    pub fn softmax(row: &mut [f32]) {
        let max = super::lanes::max(row);
        for v in row.iter_mut() {
            *v = exp(*v - max);
        }
        let inverse = 1.0 / super::lanes::sum(row);
        for v in row.iter_mut() {
            *v *= inverse;
        }
    }
}

/// `erf(x)` by the formula of [`erf`], with fused multiply-adds.
#[inline(always)]
fn erf_fused(x: f32) -> f32 {
    const A: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let a = x.abs();
    let t = 1.0 / a.mul_add(0.327_591_1, 1.0);
    let mut p = A[0];
    for c in &A[1..] {
        p = p.mul_add(t, *c);
    }
    let y = (-p * t).mul_add(exp2(-(a * a) * std::f32::consts::LOG2_E), 1.0);
    y.copysign(x)
}

per_isa! {
    /// GELU of a row in place, times `scale` (`[n]`, or empty for ones).
    pub fn gelu_row(row: &mut [f32], scale: &[f32]) {
        for v in row.iter_mut() {
            *v = 0.5 * *v * (1.0 + erf_fused(*v * std::f32::consts::FRAC_1_SQRT_2));
        }
        for (v, s) in row.iter_mut().zip(scale) {
            *v *= s;
        }
    }
}

per_isa! {
    /// `gate = silu(gate) * up * scale`, `scale: [n]` or empty for ones.
    pub fn silu_row(gate: &mut [f32], up: &[f32], scale: &[f32]) {
        for (g, u) in gate.iter_mut().zip(up) {
            // e^-|g| is at most 1; the sigmoid of -g is its share of the sum.
            let e = exp2(-g.abs() * std::f32::consts::LOG2_E);
            let sigmoid = if *g < 0.0 { e } else { 1.0 } / (1.0 + e);
            *g = *g * sigmoid * u;
        }
        for (v, s) in gate.iter_mut().zip(scale) {
            *v *= s;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;

    #[test]
    fn exp2_keeps_its_bound() {
        for x in (0..=1_260_000).map(|i| -i as f32 * 1e-4) {
            let error = (f64::from(exp2(x)) / f64::from(x).exp2() - 1.0).abs();
            assert!(error <= 3e-7, "2^{x}: {error:e}");
        }
        assert_eq!(exp2(0.0), 1.0);
        assert_eq!([exp2(f32::NEG_INFINITY), exp2(f32::NAN)], [f32::MIN_POSITIVE; 2]);
    }

    #[test]
    fn rows_of_gelu_and_silu_keep_their_bounds_and_bits() {
        let x: Vec<f32> = sweep().step_by(7).collect();
        let up = vec![1.0; x.len()];
        let (mut gelu, mut silu) = (x.clone(), x.clone());
        gelu_row(Isa::SCALAR, &mut gelu, &[]);
        silu_row(Isa::SCALAR, &mut silu, &up, &[]);
        for ((&x, g), s) in x.iter().zip(&gelu).zip(&silu) {
            let x = f64::from(x);
            let exact = 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt()));
            assert!((f64::from(*g) - exact).abs() <= 5e-7 * x.abs(), "gelu({x}) = {g}");
            let exact = x / (1.0 + (-x).exp());
            assert!((f64::from(*s) - exact).abs() <= 1e-6 * x.abs(), "silu({x}) = {s}");
        }
        for isa in Isa::available() {
            let (mut g, mut s) = (x.clone(), x.clone());
            gelu_row(isa, &mut g, &[]);
            silu_row(isa, &mut s, &up, &[]);
            assert!(g == gelu && s == silu, "{isa}");
        }
    }

    fn sweep() -> impl Iterator<Item = f32> {
        (-300_000..=300_000).map(|i| i as f32 * 3e-4)
    }

    #[test]
    fn exp_is_within_two_ulp() {
        for x in sweep().filter(|x| (-87.3..=88.0).contains(x)) {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error <= 2.0 * f64::from(f32::EPSILON), "exp({x}): relative error {error:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e30), 0.0);
        assert!(exp(1e30).is_finite());
    }

    #[test]
    fn erf_and_gelu_keep_their_bounds() {
        for x in sweep() {
            let error = (f64::from(erf(x)) - libm::erf(f64::from(x))).abs();
            assert!(error < 5e-7, "erf({x}): {error:e}");
            let mut y = [x];
            gelu(&mut y, 1);
            let exact = 0.5 * f64::from(x) * (1.0 + libm::erf(f64::from(x) / 2f64.sqrt()));
            let error = (f64::from(y[0]) - exact).abs();
            assert!(error <= 5e-7 * f64::from(x.abs()), "gelu({x}): {error:e}");
        }
    }

    #[test]
    fn softmax_sums_to_one_and_survives_large_scores() {
        for n in 1..50 {
            let mut row: Vec<f32> = (0..n).map(|i| 1e4 - (i as f32) * 0.3).collect();
            softmax(&mut row);
            let sum: f64 = row.iter().map(|&v| f64::from(v)).sum();
            assert!((sum - 1.0).abs() < 1e-6, "{n}: {sum}");
            assert!((row[0] / row[row.len() - 1]).ln() - 0.3 * (n as f32 - 1.0) < 1e-3);
        }
    }
}
