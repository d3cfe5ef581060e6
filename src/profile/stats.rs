//! Statistics of timed runs.

use serde::{Deserialize, Serialize};

/// Latency of one image, in milliseconds. All runs are kept, so each percentile is the latency of an actual run
/// (nearest rank) and exact, whereas a histogram (HdrHistogram) is accurate to three digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Number of timed runs.
    pub runs: usize,
    /// Fastest run.
    pub min_ms: f64,
    /// Median: half of the runs are no slower.
    pub p50_ms: f64,
    /// 90th percentile: 90 of 100 runs are no slower.
    pub p90_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile; with fewer than 100 runs, the slowest run.
    pub p99_ms: f64,
    /// 99.9th percentile; with fewer than 1000 runs, the slowest run.
    pub p999_ms: f64,
    /// Slowest run.
    pub max_ms: f64,
    /// Mean.
    pub mean_ms: f64,
    /// Sample standard deviation (n - 1); 0 for a single run.
    pub std_ms: f64,
    /// Lower end of the median's 95% confidence interval (order statistics); `None` with fewer than six runs.
    pub p50_low_ms: Option<f64>,
    /// Upper end of the interval.
    pub p50_high_ms: Option<f64>,
}

/// The standard normal distribution's 97.5th percentile.
const Z: f64 = 1.959_963_984_540_054;

impl Latency {
    /// Summarises `samples`, given in seconds.
    ///
    /// # Panics
    /// If there are no samples.
    pub fn from_seconds(mut samples: Vec<f64>) -> Latency {
        assert!(!samples.is_empty(), "no run was timed");
        samples.sort_by(f64::total_cmp);
        let n = samples.len();
        let at = |p: f64| percentile(&samples, p) * 1e3;
        let mean = samples.iter().sum::<f64>() / n as f64;
        let squares: f64 = samples.iter().map(|s| (s - mean) * (s - mean)).sum();
        let interval = median_ranks(n).map(|(low, high)| (samples[low] * 1e3, samples[high] * 1e3));
        Latency {
            runs: n,
            min_ms: samples[0] * 1e3,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: samples[n - 1] * 1e3,
            mean_ms: mean * 1e3,
            std_ms: if n > 1 { (squares / (n - 1) as f64).sqrt() * 1e3 } else { 0.0 },
            p50_low_ms: interval.map(|i| i.0),
            p50_high_ms: interval.map(|i| i.1),
        }
    }
}

/// Nearest-rank percentile: the smallest of the `sorted` samples that at least a `share` of them do not exceed.
///
/// # Panics
/// If there are no samples.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let n = sorted.len();
    // share * n can round to just above a whole number (0.07 * 100 is 7.000000000000001), and its ceiling would be one
    // rank too high.
    let rank = (share * n as f64 - 1e-9).ceil() as usize;
    sorted[rank.clamp(1, n) - 1]
}

/// Indices of the two of n sorted samples between which the median lies with 95% confidence, for any distribution:
/// normal approximation of the binomial, rounded outwards (Conover, Practical Nonparametric Statistics, 3.2). `None`
/// for n < 6, where even the interval from minimum to maximum covers less than 95%.
fn median_ranks(n: usize) -> Option<(usize, usize)> {
    if n < 6 {
        return None;
    }
    let half = Z * (n as f64).sqrt() / 2.0;
    let low = (n as f64 / 2.0 - half).floor().max(1.0) as usize;
    let high = (n as f64 / 2.0 + half).ceil() as usize + 1;
    Some((low - 1, high.min(n) - 1))
}

/// Median of unsorted values; `None` if empty.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| percentile(&sorted, 0.5))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_distr::{Distribution, LogNormal};

    use super::*;

    #[test]
    fn percentiles_are_runs_that_happened() {
        let latency = Latency::from_seconds((1..=200).rev().map(|i| f64::from(i) * 1e-3).collect());
        let found = [
            latency.min_ms,
            latency.p50_ms,
            latency.p90_ms,
            latency.p95_ms,
            latency.p99_ms,
            latency.p999_ms,
            latency.max_ms,
        ];
        assert_eq!(found.map(f64::round), [1.0, 100.0, 180.0, 190.0, 198.0, 200.0, 200.0]);
        assert!((latency.mean_ms - 100.5).abs() < 1e-9);
        // numpy.arange(1, 201).std(ddof=1)
        assert!((latency.std_ms - 57.879_184_513_951_124).abs() < 1e-9);
        assert_eq!(Latency::from_seconds(vec![0.25]).p99_ms, 250.0);
        assert_eq!(Latency::from_seconds(vec![0.25]).p50_low_ms, None);
    }

    #[test]
    fn a_known_distribution_gives_its_percentiles() {
        // exp(N(ln 20 ms, 0.25)), whose percentiles have a closed form.
        let wanted = |z: f64| 20.0 * f64::exp(0.25 * z);
        let draw = LogNormal::new(f64::ln(0.02), 0.25).unwrap();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let latency = Latency::from_seconds((0..200_000).map(|_| draw.sample(&mut rng)).collect());
        for (found, z) in [
            (latency.p50_ms, 0.0),
            (latency.p90_ms, 1.281_551_565_545),
            (latency.p95_ms, 1.644_853_626_951),
            (latency.p99_ms, 2.326_347_874_041),
            (latency.p999_ms, 3.090_232_306_168),
        ] {
            // The standard error of the p-th percentile is sqrt(p (1 - p) / n) / density. The largest here, for p99.9,
            // is 0.7%.
            assert!((found / wanted(z) - 1.0).abs() < 0.025, "{found} {}", wanted(z));
        }
        let mean = 20.0 * f64::exp(0.25 * 0.25 / 2.0);
        assert!((latency.mean_ms / mean - 1.0).abs() < 0.005);
        assert!((latency.std_ms / (mean * (f64::exp(0.0625) - 1.0).sqrt()) - 1.0).abs() < 0.02);
    }

    #[test]
    fn the_median_s_interval_covers_it_as_often_as_it_says() {
        let draw = LogNormal::new(0.0, 1.0).unwrap();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
        for n in [6, 10, 30, 101] {
            let covered = (0..4000)
                .filter(|_| {
                    let latency =
                        Latency::from_seconds((0..n).map(|_| draw.sample(&mut rng) * 1e-3).collect());
                    latency.p50_low_ms.unwrap() <= 1.0 && 1.0 <= latency.p50_high_ms.unwrap()
                })
                .count();
            // At least 95%, minus four standard errors of 4000 trials (0.34% each).
            assert!(covered as f64 / 4000.0 > 0.95 - 0.014, "{n}: {covered}");
        }
    }
}
