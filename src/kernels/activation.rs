//! `2^x`, GELU and SiLU from polynomials that give the same bits on every machine, without the platform's libm.

use super::isa::per_isa;
use super::quantise::ROUND;
use super::reduce::LANES;

/// `2^x` for `x <= 0`, with a relative error below 3e-7; `2^-126` for x below -126 and for NaN.
///
/// `x = n + f` with `|f| <= 1/2`. The polynomial is the minimax polynomial of degree 5 for the relative error of `2^f`
/// with `2^0 = 1` (9.2e-8, less than the Taylor polynomial of degree 6), and `n` is added to the exponent bits.
#[inline(always)]
#[allow(clippy::approx_constant, reason = "the fit's coefficient, not ln 2")]
pub fn exp2(x: f32) -> f32 {
    const C: [f32; 5] = [0.009_671_513, 0.055_507_336, 0.240_222_42, 0.693_147, 1.0];
    let x = x.max(-126.0);
    let shifted = x + ROUND;
    let f = x - (shifted - ROUND);
    let mut p: f32 = 0.001_326_472_7;
    for c in C {
        p = p.mul_add(f, c);
    }
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// The highest coefficient of [`phi_of_minus`].
const HIGHEST: f32 = 0.000_017_755_116;

/// The coefficient in use: a test of the attestation changes it for its own thread.
#[cfg(test)]
fn highest() -> f32 {
    tests::HIGHEST.get()
}

#[cfg(not(test))]
#[inline(always)]
fn highest() -> f32 {
    HIGHEST
}

/// `Phi(-|x|)` of the standard normal distribution, with an absolute error below 4e-7; `highest` is [`HIGHEST`].
///
/// `log2 Phi(-t)` is smooth, and an error in it matters little where `Phi` is small. The polynomial of degree 6 with
/// `Phi(0) = 1/2`, fitted for the smallest absolute error of `Phi` on [0, 6], has an error of 1.2e-7 and needs no
/// division. Beyond 6 the result stays at `Phi(-6) = 1e-9`, within the same error.
#[inline(always)]
fn phi_of_minus(x: f32, highest: f32) -> f32 {
    const C: [f32; 6] = [-0.000_647_757_26, 0.007_724_042, -0.052_926_738, -0.459_082_72, -1.151_116_8, -1.0];
    let t = if x.abs() < 6.0 { x.abs() } else { 6.0 };
    let mut p = highest;
    for c in C {
        p = p.mul_add(t, c);
    }
    exp2(p)
}

/// `row = f(row)`. The steps of sixteen values are interleaved: run one value after another, they wait for each other,
/// since a CPU does not look far enough ahead (128 instructions on a Cortex-A76).
#[inline(always)]
fn sixteen_at_a_time(row: &mut [f32], f: impl Fn(f32) -> f32) {
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for v in chunk {
            *v = f(*v);
        }
    }
    for v in rest {
        *v = f(*v);
    }
}

per_isa! {
    /// Exact GELU of a row in place, `x Phi(x)` (arXiv 1606.08415), multiplied by `scale` (`[n]`, or empty for ones).
    /// The absolute error is below `5e-7 |x|` before scaling.
    pub fn gelu_row(row: &mut [f32], scale: &[f32]) {
        let highest = highest();
        sixteen_at_a_time(row, |v| {
            let tail = phi_of_minus(v, highest);
            v * if v < 0.0 { tail } else { 1.0 - tail }
        });
        for (v, s) in row.iter_mut().zip(scale) {
            *v *= s;
        }
    }
}

per_isa! {
    /// `up = silu(gate) * up * scale`, the gated half of SwiGLU (arXiv 2002.05202); `scale: [n]` or empty for ones.
    pub fn silu_row(up: &mut [f32], gate: &[f32], scale: &[f32]) {
        for (u, g) in up.iter_mut().zip(gate) {
            // `e^-|g|` is at most 1: the sigmoid is `e / (1 + e)` for negative `g`, otherwise `1 / (1 + e)`.
            let e = exp2(-g.abs() * std::f32::consts::LOG2_E);
            let sigmoid = if *g < 0.0 { e } else { 1.0 } / (1.0 + e);
            *u *= *g * sigmoid;
        }
        for (v, s) in up.iter_mut().zip(scale) {
            *v *= s;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::kernels::Isa;

    thread_local! {
        /// [`super::HIGHEST`], unless a test changes it.
        pub(crate) static HIGHEST: Cell<f32> = const { Cell::new(super::HIGHEST) };
    }

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
        let ones = vec![1.0; x.len()];
        let (mut gelu, mut silu) = (x.clone(), ones.clone());
        gelu_row(Isa::SCALAR, &mut gelu, &[]);
        silu_row(Isa::SCALAR, &mut silu, &x, &[]);
        for ((&x, g), s) in x.iter().zip(&gelu).zip(&silu) {
            let x = f64::from(x);
            let exact = 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt()));
            assert!((f64::from(*g) - exact).abs() <= 5e-7 * x.abs(), "gelu({x}) = {g}");
            let exact = x / (1.0 + (-x).exp());
            assert!((f64::from(*s) - exact).abs() <= 1e-6 * x.abs(), "silu({x}) = {s}");
        }
        for isa in Isa::available() {
            let (mut g, mut s) = (x.clone(), ones.clone());
            gelu_row(isa, &mut g, &[]);
            silu_row(isa, &mut s, &x, &[]);
            assert!(g == gelu && s == silu, "{isa}");
        }
    }

    fn sweep() -> impl Iterator<Item = f32> {
        (-300_000..=300_000).map(|i| i as f32 * 3e-4)
    }
}
