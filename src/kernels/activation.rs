//! `2^x`, erf, GELU and SiLU by polynomials that are the same on every machine, without the platform's libm.

use super::isa::per_isa;
use super::quantise::ROUND;

/// `2^x` for `x <= 0`, within 3e-7 relative; below -126 and for NaN it is `2^-126`.
///
/// `x = n + f` with `|f| <= 1/2`; the degree-6 Taylor polynomial of `2^f` is off by at most
/// `(ln 2 / 2)^7 / 7! = 1.2e-7`, and `n` is added to the exponent's bits.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    // (ln 2)^k / k!
    const C: [f32; 6] =
        [0.001_333_355_8, 0.009_618_129, 0.055_504_11, 0.240_226_5, std::f32::consts::LN_2, 1.0];
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
    /// Exact GELU of a row in place, `x / 2 (1 + erf(x / sqrt 2))` (arXiv 1606.08415), times `scale` (`[n]`, or empty for
    /// ones). Absolute error below `5e-7 |x|` before the scale.
    pub fn gelu_row(row: &mut [f32], scale: &[f32]) {
        for v in row.iter_mut() {
            *v = 0.5 * *v * (1.0 + erf(*v * std::f32::consts::FRAC_1_SQRT_2));
        }
        for (v, s) in row.iter_mut().zip(scale) {
            *v *= s;
        }
    }
}

per_isa! {
    /// `gate = silu(gate) * up * scale`, the gated half of SwiGLU (arXiv 2002.05202); `scale: [n]` or empty for ones.
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
    fn erf_keeps_its_bound() {
        for x in sweep() {
            let error = (f64::from(erf(x)) - libm::erf(f64::from(x))).abs();
            assert!(error < 5e-7, "erf({x}): {error:e}");
        }
    }
}
