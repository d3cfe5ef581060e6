//! Fits the maps of [`Calibration`] to predictions of images that the head had not seen.

use ndarray::ArrayView2;

use crate::heads::probability::softmax;
use crate::heads::{Calibration, Targets};

/// Range of 1 / T. Where each class is told from the others without error, the likelihood grows without end.
const INVERSE: [f64; 2] = [0.01, 100.0];

/// The logits of a probability are taken from at least this: softmax underflows to 0.
const LEAST: f64 = f64::MIN_POSITIVE;

/// The map that makes the targets most likely, from probabilities `[n, classes]`. `None` if the data determine none:
/// there are no images, a class (of a label: its presence or absence) is missing, or the probabilities say nothing of the
/// targets, so that the map would not keep their order.
pub(super) fn fit(targets: &Targets<'_>, probabilities: ArrayView2<'_, f64>) -> Option<Calibration> {
    let p = probabilities;
    match targets {
        Targets::Classes(of) if p.ncols() > 2 => {
            (!of.is_empty()).then(|| Calibration::Temperature(temperature(of, p)))
        }
        Targets::Classes(_) => {
            let logits: Vec<f64> = p.rows().into_iter().map(|row| log(row[1]) - log(row[0])).collect();
            Some(Calibration::Platt(vec![platt(&targets.has(1), &logits)?]))
        }
        Targets::Labels(_) => {
            let one = |label: usize| {
                platt(&targets.has(label), &p.column(label).iter().map(logit).collect::<Vec<f64>>())
            };
            Some(Calibration::Platt((0..p.ncols()).map(one).collect::<Option<Vec<_>>>()?))
        }
    }
}

/// `probabilities` `[n, classes]` after `map`.
pub(super) fn applied(
    map: &Calibration,
    multi_label: bool,
    probabilities: ArrayView2<'_, f64>,
) -> ndarray::Array2<f64> {
    let mut all = probabilities.to_owned();
    for mut row in all.rows_mut() {
        let mut z: Vec<f64> = row.iter().map(|p| if multi_label { logit(p) } else { log(*p) }).collect();
        map.apply(&mut z);
        if multi_label {
            z.iter_mut().for_each(|z| *z = crate::heads::probability::sigmoid(*z));
        } else {
            softmax(&mut z);
        }
        row.assign(&ndarray::ArrayView1::from(&z));
    }
    all
}

/// The logit of a label's probability, between -36 and 36: of more, f64 cannot tell the probability from 1.
fn logit(p: &f64) -> f64 {
    libm::log(p.max(f64::EPSILON)) - libm::log((1.0 - p).max(f64::EPSILON))
}

fn log(p: f64) -> f64 {
    libm::log(p.max(LEAST))
}

/// The temperature with the least cross entropy. It is convex in 1 / T, so bisection finds where its derivative, the sum
/// of `E[z] - z of the truth`, is zero, to the last bit.
fn temperature(of: &[usize], probabilities: ArrayView2<'_, f64>) -> f64 {
    let logits: Vec<Vec<f64>> =
        probabilities.rows().into_iter().map(|row| row.iter().map(|&p| log(p)).collect()).collect();
    let slope = |inverse: f64| -> f64 {
        let one = |(z, &class): (&Vec<f64>, &usize)| {
            let mut p: Vec<f64> = z.iter().map(|z| z * inverse).collect();
            softmax(&mut p);
            p.iter().zip(z).map(|(p, z)| p * z).sum::<f64>() - z[class]
        };
        logits.iter().zip(of).map(one).sum()
    };
    let [mut low, mut high] = INVERSE;
    // 100 halvings of a range of 10^4 leave less than the spacing of f64.
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if slope(middle) < 0.0 { low = middle } else { high = middle }
    }
    1.0 / (0.5 * (low + high))
}

/// Slope and offset with the least cross entropy to Platt's targets, (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) instead of 1 and
/// 0, which keep them finite where a threshold separates the classes (Platt 1999, section 2.2). Newton's method with
/// halved steps (Lin, Lin and Weng 2007, Machine Learning 68:267).
fn platt(positive: &[bool], logits: &[f64]) -> Option<[f64; 2]> {
    let n1 = positive.iter().filter(|&&p| p).count() as f64;
    let n0 = positive.len() as f64 - n1;
    if n1 == 0.0 || n0 == 0.0 {
        return None;
    }
    let targets: Vec<f64> =
        positive.iter().map(|&p| if p { (n1 + 1.0) / (n1 + 2.0) } else { 1.0 / (n0 + 2.0) }).collect();
    let cost = |[a, b]: [f64; 2]| -> f64 {
        let one = |(&z, t): (&f64, &f64)| {
            let v = a * z + b;
            // ln(1 + e^v) - t v, without overflow.
            v.max(0.0) + libm::log1p(libm::exp(-v.abs())) - t * v
        };
        logits.iter().zip(&targets).map(one).sum()
    };
    let mut at = [0.0, libm::log((n1 + 1.0) / (n0 + 1.0))];
    let mut least = cost(at);
    for _ in 0..100 {
        let (mut g, mut h) = ([0.0; 2], [1e-12, 0.0, 1e-12]);
        for (&z, t) in logits.iter().zip(&targets) {
            let p = crate::heads::probability::sigmoid(at[0] * z + at[1]);
            let (error, weight) = (p - t, p * (1.0 - p));
            g = [g[0] + error * z, g[1] + error];
            h = [h[0] + weight * z * z, h[1] + weight * z, h[2] + weight];
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        let step = [(h[2] * g[0] - h[1] * g[1]) / determinant, (h[0] * g[1] - h[1] * g[0]) / determinant];
        let moved = (0..40).map(|halvings| 0.5f64.powi(halvings)).find_map(|share| {
            let to = [at[0] - share * step[0], at[1] - share * step[1]];
            let found = cost(to);
            (found < least).then_some((to, found))
        });
        // No lower cost is left to f64.
        let Some((to, found)) = moved else { break };
        (at, least) = (to, found);
    }
    (at[0] > 0.0 && at.iter().all(|v| v.is_finite())).then_some(at)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// Probabilities of `n` images of three classes, too sure of themselves by the factor 3 in their logits.
    fn overconfident(n: usize) -> (Array2<f64>, Vec<usize>) {
        let mut p = Array2::zeros((n, 3));
        let mut of = Vec::new();
        for (i, mut row) in p.rows_mut().into_iter().enumerate() {
            let mut z: Vec<f64> = (0..3).map(|k| ((i * 31 + k * 17) % 23) as f64 / 10.0).collect();
            softmax(&mut z);
            // The class is drawn from z by an even sequence of numbers.
            let at = (i as f64 * 0.618_033_988_749).fract();
            of.push(if at < z[0] {
                0
            } else if at < z[0] + z[1] {
                1
            } else {
                2
            });
            z.iter_mut().for_each(|z| *z = 3.0 * libm::log(*z));
            softmax(&mut z);
            row.assign(&ndarray::ArrayView1::from(&z));
        }
        (p, of)
    }

    #[test]
    fn a_temperature_undoes_what_was_done_to_the_logits() {
        let (p, of) = overconfident(20_000);
        let Some(Calibration::Temperature(t)) = fit(&Targets::Classes(&of), p.view()) else { panic!("none") };
        assert!((t - 3.0).abs() < 0.1, "{t}");
        let warm = applied(&Calibration::Temperature(t), false, p.view());
        for (row, expected) in warm.rows().into_iter().zip(p.rows()) {
            let sum: f64 = expected.iter().map(|p| p.powf(1.0 / t)).sum();
            assert!((row[0] - expected[0].powf(1.0 / t) / sum).abs() < 1e-9);
        }
    }

    #[test]
    fn platt_finds_the_slope_and_the_offset() {
        let z: Vec<f64> = (0..20_000).map(|i| ((i * 7919) % 4001) as f64 / 500.0 - 4.0).collect();
        let positive: Vec<bool> = (0..z.len())
            .map(|i| (i as f64 * 0.618_033_988_749).fract() < 1.0 / (1.0 + (-(0.5 * z[i] - 1.0)).exp()))
            .collect();
        let [a, b] = platt(&positive, &z).unwrap();
        assert!((a - 0.5).abs() < 0.03 && (b + 1.0).abs() < 0.06, "{a} {b}");
        // Separable, upside down, one class.
        let [a, _] = platt(&[false, false, true, true], &[-2.0, -1.0, 1.0, 2.0]).unwrap();
        assert!(a > 0.0 && a < 10.0, "{a}");
        assert_eq!(platt(&[true, true, false, false], &[-2.0, -1.0, 1.0, 2.0]), None);
        assert_eq!(platt(&[true], &[1.0]), None);
    }
}
