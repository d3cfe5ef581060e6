//! Comparison of two configurations on the same images: their difference and its significance.

use crate::heads::measure::percentile;
use crate::heads::{Bootstrap, Interval};

/// A difference with its confidence interval and p value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// The second value minus the first.
    pub difference: f64,
    /// 95% interval of the difference.
    pub interval: Option<Interval>,
    /// Two-sided p value under the null hypothesis of no difference.
    pub p: Option<f64>,
    /// Name of the test: `DeLong` or `bootstrap`.
    pub test: &'static str,
}

/// The standard normal distribution's 97.5th percentile.
const Z: f64 = 1.959_963_984_540_054;

/// The difference of two AUCs on the same images by the test of DeLong et al. (Biometrics 44, 837, 1988), with
/// mid-ranks (Sun and Xu, IEEE Signal Processing Letters 21, 1389, 2014). `None` with fewer than two positives or two
/// negatives.
///
/// Scores that rank the images identically have p = 1.
///
/// # Panics
/// When the lengths differ.
pub fn delong(positive: &[bool], a: &[f64], b: &[f64]) -> Option<Paired> {
    assert!(positive.len() == a.len() && a.len() == b.len(), "one score an image");
    let (of_a, of_b) = (Placements::new(positive, a)?, Placements::new(positive, b)?);
    let difference = mean(&of_b.positives) - mean(&of_a.positives);
    let variance = |x: &[f64], y: &[f64]| {
        let differences: Vec<f64> = x.iter().zip(y).map(|(x, y)| y - x).collect();
        let mean = mean(&differences);
        let squares: f64 = differences.iter().map(|d| (d - mean) * (d - mean)).sum();
        squares / (differences.len() - 1) as f64 / differences.len() as f64
    };
    let error =
        (variance(&of_a.positives, &of_b.positives) + variance(&of_a.negatives, &of_b.negatives)).sqrt();
    let p = match error > 0.0 {
        // The two tails of the normal distribution beyond |z|.
        true => libm::erfc((difference / error).abs() / std::f64::consts::SQRT_2),
        // Zero variance: without a difference p is 1; with the same difference for every image p is 0.
        false => f64::from(u8::from(difference == 0.0)),
    };
    let interval = Interval { low: difference - Z * error, high: difference + Z * error };
    Some(Paired { difference, interval: Some(interval), p: Some(p), test: "DeLong" })
}

/// For each positive, the share of negatives that it outscores; for each negative, the share of positives that outscore
/// it; ties count half. The mean of either is the AUC.
struct Placements {
    positives: Vec<f64>,
    negatives: Vec<f64>,
}

impl Placements {
    fn new(positive: &[bool], scores: &[f64]) -> Option<Placements> {
        let of = |side: bool| -> Vec<f64> {
            positive.iter().zip(scores).filter(|(p, _)| **p == side).map(|(_, s)| *s).collect()
        };
        let (above, below) = (of(true), of(false));
        if above.len() < 2 || below.len() < 2 {
            return None;
        }
        let all: Vec<f64> = above.iter().chain(&below).copied().collect();
        let (rank_all, rank_above, rank_below) = (mid_ranks(&all), mid_ranks(&above), mid_ranks(&below));
        let (m, n) = (above.len() as f64, below.len() as f64);
        let positives = rank_all.iter().zip(&rank_above).map(|(all, own)| (all - own) / n).collect();
        let negatives =
            rank_all[above.len()..].iter().zip(&rank_below).map(|(all, own)| 1.0 - (all - own) / m).collect();
        Some(Placements { positives, negatives })
    }
}

/// Ranks from 1; equal values share the mean of their ranks.
fn mid_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = start as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        start += equal.len();
    }
    ranks
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

impl Bootstrap {
    /// The difference that `difference(weights)` returns, where image i counts `weights[i]` times, with its percentile
    /// interval and a p value from the share of resamples on either side of zero (Efron and Tibshirani 1993, chapter
    /// 15). `None` if the difference is undefined over all images.
    pub fn paired(
        &self,
        strata: &[usize],
        mut difference: impl FnMut(&[u32]) -> Option<f64>,
    ) -> Option<Paired> {
        let value = difference(&vec![1; strata.len()])?;
        let mut drawn = Vec::with_capacity(self.resamples);
        self.resample(strata, |weights| drawn.extend(difference(weights)));
        drawn.sort_by(f64::total_cmp);
        let enough = !drawn.is_empty() && 2 * drawn.len() >= self.resamples;
        let share = |side: fn(&f64) -> bool| {
            (drawn.iter().filter(|d| side(d)).count() + 1) as f64 / (drawn.len() + 1) as f64
        };
        let p = (2.0 * share(|d| *d <= 0.0).min(share(|d| *d >= 0.0))).min(1.0);
        let interval = || Interval { low: percentile(&drawn, 0.025), high: percentile(&drawn, 0.975) };
        Some(Paired {
            difference: value,
            interval: enough.then(interval),
            p: enough.then_some(p),
            test: "bootstrap",
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Normal};

    use super::*;

    /// Scores from a formula; `ties` rounds them to eighths.
    fn scores(n: usize, ties: bool) -> (Vec<bool>, Vec<f64>, Vec<f64>) {
        let positive: Vec<bool> = (0..n).map(|i| (i * 7919) % 101 < 37).collect();
        let noise = |i: usize, k: usize| ((i * k + 13) % 997) as f64 / 997.0;
        let round = |v: f64| if ties { (v * 8.0).round_ties_even() / 8.0 } else { v };
        let truth = |i: usize| f64::from(u8::from(positive[i]));
        let a = (0..n).map(|i| round(0.35 * truth(i) + noise(i, 613))).collect();
        let b = (0..n).map(|i| round(0.25 * truth(i) + 0.6 * noise(i, 613) + 0.5 * noise(i, 271))).collect();
        (positive, a, b)
    }

    #[test]
    fn delong_as_mlstatkit() {
        // From MLstatkit 0.1's Delong_test: AUC of b minus that of a, variance of the difference, p.
        for (n, ties, difference, variance, p) in [
            (
                60,
                false,
                0.741_626_794_258_373_2 - 0.752_392_344_497_607_6,
                2.029_577_105_124_828e-3,
                0.811_133_081_875_932_8,
            ),
            (
                60,
                true,
                0.732_057_416_267_942_7 - 0.744_019_138_755_980_9,
                2.359_995_261_657_312e-3,
                0.805_505_426_017_646_7,
            ),
            (
                300,
                false,
                0.765_598_086_124_401_9 - 0.777_846_889_952_153,
                3.815_051_007_221_755e-4,
                0.530_587_342_095_498_1,
            ),
            (
                300,
                true,
                0.758_468_899_521_531_1 - 0.768_588_516_746_411_4,
                4.338_591_294_490_594e-4,
                0.627_083_429_643_265_8,
            ),
        ] {
            let (positive, a, b) = scores(n, ties);
            let found = delong(&positive, &a, &b).unwrap();
            assert!((found.difference - difference).abs() < 1e-12, "{n} {ties}: {found:?}");
            let interval = found.interval.unwrap();
            let half = Z * f64::sqrt(variance);
            assert!((interval.high - interval.low - 2.0 * half).abs() < 1e-10, "{n} {ties}: {found:?}");
            assert!((found.p.unwrap() - p).abs() < 1e-9, "{n} {ties}: {found:?}");
        }
    }

    #[test]
    fn equal_rankings_do_not_differ_and_too_few_are_not_judged() {
        let (positive, a, _) = scores(60, false);
        let stretched: Vec<f64> = a.iter().map(|v| v.exp()).collect();
        assert_eq!(delong(&positive, &a, &stretched).unwrap().p, Some(1.0));
        assert_eq!(delong(&[true, false, false], &[0.1; 3], &[0.2; 3]), None);
        // A perfect ranking against a fully reversed one: the variance is zero and p is 0.
        let truth = [true, true, false, false];
        let found = delong(&truth, &[0.0, 0.0, 1.0, 1.0], &[1.0, 1.0, 0.0, 0.0]).unwrap();
        assert_eq!((found.difference, found.p), (1.0, Some(0.0)));
    }

    /// Without a true difference, p is below 0.05 in about one of twenty experiments, in both tests.
    #[test]
    fn p_is_uniform_where_nothing_differs() {
        let normal = Normal::new(0.0, 1.0).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (mut delongs, mut boots) = (0, 0);
        let trials = 400;
        let positive: Vec<bool> = (0..120).map(|i| i % 3 == 0).collect();
        let strata: Vec<usize> = positive.iter().map(|&p| usize::from(p)).collect();
        for seed in 0..trials {
            let truth = |i: usize| f64::from(u8::from(positive[i]));
            let mut draw = || (0..120).map(|i| truth(i) + normal.sample(&mut rng)).collect::<Vec<f64>>();
            let (a, b) = (draw(), draw());
            delongs += u32::from(delong(&positive, &a, &b).unwrap().p.unwrap() < 0.05);
            let bootstrap = Bootstrap { resamples: 200, seed };
            let mean = |scores: &[f64], w: &[u32]| {
                let sum: f64 = scores.iter().zip(w).map(|(s, w)| s * f64::from(*w)).sum();
                sum / w.iter().map(|&w| f64::from(w)).sum::<f64>()
            };
            let found = bootstrap.paired(&strata, |w| Some(mean(&b, w) - mean(&a, w))).unwrap();
            boots += u32::from(found.p.unwrap() < 0.05);
        }
        // 5% of 400 is 20, with a standard error of 4.4: four standard errors to either side.
        assert!((3..=38).contains(&delongs) && (3..=38).contains(&boots), "{delongs} {boots}");
    }
}
