//! Uncertainty of metrics: percentile intervals from resampled images (Efron and Tibshirani 1993, chapter 13).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Share of the resamples that an interval covers.
const LEVEL: f64 = 0.95;

/// Options of the bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Number of resamples; 0 for no intervals.
    pub resamples: usize,
    /// Seed of ChaCha8.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Bootstrap {
        Bootstrap { resamples: 2000, seed: 0 }
    }
}

/// The central 95% of the resamples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

/// A metric with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Value over all images.
    pub value: f64,
    /// `None` if no resamples were requested, or the metric is defined in fewer than half of them.
    pub interval: Option<Interval>,
}

impl Bootstrap {
    /// Calls `each(weights)` for every resample, which draws with replacement as many images from each stratum as it
    /// has (`strata[i]` is the stratum of image i), so that classes keep their sizes.
    pub fn resample(&self, strata: &[usize], mut each: impl FnMut(&[u32])) {
        let members = members(strata);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut weights = vec![0u32; strata.len()];
        for _ in 0..self.resamples {
            weights.fill(0);
            for stratum in &members {
                for _ in stratum {
                    weights[stratum[rng.random_range(0..stratum.len())]] += 1;
                }
            }
            each(&weights);
        }
    }

    /// Estimates of the metrics that `statistics(weights)` returns, where image i counts `weights[i]` times.
    ///
    /// Resamples are those of [`Bootstrap::resample`]. Resamples in which a metric is undefined (`None`) are skipped; a
    /// metric that is undefined over all images has no estimate.
    pub fn estimates(
        &self,
        strata: &[usize],
        mut statistics: impl FnMut(&[u32]) -> Vec<Option<f64>>,
    ) -> Vec<Option<Estimate>> {
        let values = statistics(&vec![1; strata.len()]);
        let mut drawn: Vec<Vec<f64>> = vec![Vec::with_capacity(self.resamples); values.len()];
        self.resample(strata, |weights| {
            for (drawn, value) in drawn.iter_mut().zip(statistics(weights)) {
                drawn.extend(value);
            }
        });
        values
            .into_iter()
            .zip(drawn)
            .map(|(value, mut drawn)| {
                drawn.sort_by(f64::total_cmp);
                let enough = !drawn.is_empty() && 2 * drawn.len() >= self.resamples;
                let interval = enough.then(|| Interval {
                    low: percentile(&drawn, (1.0 - LEVEL) / 2.0),
                    high: percentile(&drawn, (1.0 + LEVEL) / 2.0),
                });
                value.map(|value| Estimate { value, interval })
            })
            .collect()
    }
}

/// Images of each stratum, in ascending order of the strata.
fn members(strata: &[usize]) -> Vec<Vec<usize>> {
    let mut by_stratum = std::collections::BTreeMap::<usize, Vec<usize>>::new();
    for (image, &stratum) in strata.iter().enumerate() {
        by_stratum.entry(stratum).or_default().push(image);
    }
    by_stratum.into_values().collect()
}

/// Linear interpolation between the two nearest values of `sorted`, as NumPy's default.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, part) = (at.floor() as usize, at.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_strata_and_repeats_itself() {
        let strata = [7, 3, 7, 7, 3];
        let run = |seed| {
            Bootstrap { resamples: 50, seed }.estimates(&strata, |w| {
                assert_eq!((w[1] + w[4], w[0] + w[2] + w[3]), (2, 3));
                vec![Some(f64::from(w[0])), None]
            })
        };
        assert_eq!(run(1), run(1));
        assert_eq!(run(1)[1], None);
        assert_eq!(run(1)[0].unwrap().value, 1.0);
    }

    #[test]
    fn the_interval_of_a_mean_is_the_textbook_one() {
        // Share of ones among 400 images, 100 of which are 1: standard error sqrt(0.25 * 0.75 / 400) = 0.02165.
        let ones: Vec<bool> = (0..400).map(|i| i % 4 == 0).collect();
        let estimates = Bootstrap::default().estimates(&[0; 400], |w| {
            let sum: u32 = ones.iter().zip(w).filter(|(one, _)| **one).map(|(_, w)| w).sum();
            vec![Some(f64::from(sum) / 400.0)]
        });
        let Interval { low, high } = estimates[0].unwrap().interval.unwrap();
        // The 2.5th percentile of 2000 draws has a standard error of sqrt(0.025 * 0.975 / 2000) / density = 0.0013;
        // 0.005 is about four standard errors.
        assert!((low - (0.25 - 1.96 * 0.02165)).abs() < 0.005, "{low}");
        assert!((high - (0.25 + 1.96 * 0.02165)).abs() < 0.005, "{high}");
    }

    #[test]
    fn percentiles_as_numpy() {
        // numpy.percentile([1, 2, 4, 8], [0, 40, 100])
        let values = [1.0, 2.0, 4.0, 8.0];
        for (share, expected) in [(0.0, 1.0), (0.4, 2.4), (1.0, 8.0)] {
            assert!((percentile(&values, share) - expected).abs() < 1e-12);
        }
    }
}
