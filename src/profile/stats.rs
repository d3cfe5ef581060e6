//! Statistics of timed runs.

use serde::Serialize;

/// Latency of one image, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Number of timed runs.
    pub runs: usize,
    /// Fastest run.
    pub min_ms: f64,
    /// Middle run.
    pub median_ms: f64,
    /// 90 of 100 runs are no slower.
    pub p90_ms: f64,
    /// 99 of 100 runs are no slower; with fewer than 100 runs, the slowest.
    pub p99_ms: f64,
    /// Slowest run.
    pub max_ms: f64,
    /// Mean.
    pub mean_ms: f64,
}

impl Latency {
    /// Summarises `samples`, each in seconds. Percentiles are nearest ranks: each is a run that happened.
    ///
    /// # Panics
    /// When there is no sample.
    pub fn from_seconds(mut samples: Vec<f64>) -> Latency {
        assert!(!samples.is_empty(), "no run was timed");
        samples.sort_by(f64::total_cmp);
        let n = samples.len();
        let rank = |p: f64| samples[((p * n as f64).ceil() as usize).clamp(1, n) - 1] * 1e3;
        Latency {
            runs: n,
            min_ms: samples[0] * 1e3,
            median_ms: rank(0.5),
            p90_ms: rank(0.9),
            p99_ms: rank(0.99),
            max_ms: samples[n - 1] * 1e3,
            mean_ms: samples.iter().sum::<f64>() / n as f64 * 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_runs_that_happened() {
        let latency = Latency::from_seconds((1..=200).rev().map(|i| f64::from(i) * 1e-3).collect());
        let Latency { runs, min_ms, median_ms, p90_ms, p99_ms, max_ms, mean_ms } = latency;
        let rounded = [min_ms, median_ms, p90_ms, p99_ms, max_ms].map(f64::round);
        assert_eq!((runs, rounded), (200, [1.0, 100.0, 180.0, 198.0, 200.0]));
        assert!((mean_ms - 100.5).abs() < 1e-9);
        assert_eq!(Latency::from_seconds(vec![0.25]).p99_ms, 250.0);
    }
}
