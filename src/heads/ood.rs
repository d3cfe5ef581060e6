//! Out-of-distribution detection: the Mahalanobis distance of an image's features from the training features (Lee et
//! al., arXiv 1807.03888, with one Gaussian for all classes). The covariance is shrunk as by Ledoit and Wolf (J.
//! Multivariate Analysis 88:365, 2004), since a head has fewer images than features.

use ndarray::ArrayView2;
use serde::Serialize;

use super::HeadError;
use crate::heads::fit::standardise;
use crate::kernels::linalg::{cholesky, gram};
use crate::parallel::in_pool;

/// Share of the validation images below the threshold.
const PASSING: f64 = 0.95;

/// A Gaussian fitted to the training features.
#[derive(Clone, Debug, PartialEq)]
pub struct OutOfDistribution {
    /// Mean of each feature, `[dim]`.
    pub(super) mean: Vec<f64>,
    /// Standard deviation of each feature, `[dim]`.
    pub(super) std: Vec<f64>,
    /// Lower Cholesky factor of the shrunk covariance of the standardised features, packed by rows:
    /// `[dim (dim + 1) / 2]`.
    pub(super) factor: Vec<f32>,
    /// Score from which an image counts as out of distribution: 95% of the validation images lie below it.
    pub threshold: f64,
}

/// Distance of an image from the training images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OodScore {
    /// Mahalanobis distance divided by the square root of the number of features: about 1 on training images.
    pub score: f64,
    /// The head's threshold.
    pub threshold: f64,
    /// Whether the score is at the threshold or above.
    pub outside: bool,
}

impl OutOfDistribution {
    /// Fits the Gaussian on the feature rows `train` and the threshold on the rows `val`, both `[n, dim]`.
    ///
    /// # Errors
    /// [`HeadError`] when there are fewer than two training rows or no validation row, the widths differ, or a value is
    /// not finite.
    pub fn fit(train: ArrayView2<'_, f32>, val: ArrayView2<'_, f32>) -> Result<OutOfDistribution, HeadError> {
        for (what, found, expected) in [
            ("number of training images", train.nrows().min(2), 2),
            ("number of validation images", val.nrows().min(1), 1),
            ("length of a row of features", val.ncols(), train.ncols()),
        ] {
            if found != expected {
                return Err(HeadError::Shape { what, found, expected });
            }
        }
        if let Some(((row, column), _)) = train.indexed_iter().find(|(_, v)| !v.is_finite()) {
            return Err(HeadError::NonFinite { row, column });
        }
        let (x, mean, std) = standardise(train);
        let dim = mean.len();
        let x: Vec<f32> = x.iter().map(|&v| v as f32).collect();
        let (covariance, definite) = in_pool(|| {
            let mut covariance = gram(&x, dim);
            shrink(&x, &mut covariance, dim);
            // Shrinking makes it positive definite unless all rows are equal; the ridge is far below any feature's noise.
            (0..dim).for_each(|i| covariance[i * dim + i] += 1e-6);
            let definite = cholesky(&mut covariance, dim);
            (covariance, definite)
        });
        if !definite {
            return Err(HeadError::NotPositiveDefinite);
        }
        let factor = (0..dim).flat_map(|i| covariance[i * dim..=i * dim + i].to_vec()).collect();
        let mut ood = OutOfDistribution { mean, std, factor, threshold: f64::INFINITY };
        let mut scores = val
            .rows()
            .into_iter()
            .map(|row| Ok(ood.score(&row.to_vec())?.score))
            .collect::<Result<Vec<f64>, HeadError>>()?;
        scores.sort_by(f64::total_cmp);
        ood.threshold = crate::heads::measure::percentile(&scores, PASSING);
        Ok(ood)
    }

    /// Length of a feature row.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The score of one feature row, `[dim]`.
    ///
    /// # Errors
    /// [`HeadError::Shape`] or [`HeadError::NonFinite`].
    pub fn score(&self, row: &[f32]) -> Result<OodScore, HeadError> {
        self.score_in(row, &mut Vec::new())
    }

    /// As [`OutOfDistribution::score`]; `solved` is working memory.
    pub(crate) fn score_in(&self, row: &[f32], solved: &mut Vec<f64>) -> Result<OodScore, HeadError> {
        if row.len() != self.dim() {
            let what = "length of a row of features";
            return Err(HeadError::Shape { what, found: row.len(), expected: self.dim() });
        }
        if let Some(column) = row.iter().position(|v| !v.is_finite()) {
            return Err(HeadError::NonFinite { row: 0, column });
        }
        // Forward substitution: |L^-1 z|^2 is the squared distance.
        solved.clear();
        let mut factor = self.factor.as_slice();
        for (i, &value) in row.iter().enumerate() {
            let (own, rest) = factor.split_at(i + 1);
            factor = rest;
            let known: f64 = own.iter().zip(&*solved).map(|(l, y)| f64::from(*l) * y).sum();
            let z = (f64::from(value) - self.mean[i]) / self.std[i];
            solved.push((z - known) / f64::from(own[i]));
        }
        let score = (solved.iter().map(|y| y * y).sum::<f64>() / row.len() as f64).sqrt();
        Ok(OodScore { score, threshold: self.threshold, outside: score >= self.threshold })
    }
}

/// Shrinks `covariance` (`[dim, dim]`) of the centred rows `x` towards the multiple of the identity that has the same
/// trace, by Ledoit and Wolf's shrinkage coefficient, which is returned.
fn shrink(x: &[f32], covariance: &mut [f32], dim: usize) -> f64 {
    let (n, p) = ((x.len() / dim) as f64, dim as f64);
    let square = |v: &f32| f64::from(*v) * f64::from(*v);
    let trace: f64 = (0..dim).map(|i| f64::from(covariance[i * dim + i])).sum();
    let mean = trace / p;
    let norm: f64 = covariance.iter().map(square).sum();
    let fourth: f64 = x.chunks_exact(dim).map(|row| row.iter().map(square).sum::<f64>().powi(2)).sum();
    // Both divided by p: the squared distance from the target, and the part of it that is noise.
    let distance = (norm - 2.0 * mean * trace + p * mean * mean) / p;
    let noise = ((fourth / n - norm) / (n * p)).min(distance);
    let share = if distance > 0.0 { (noise / distance).clamp(0.0, 1.0) } else { 1.0 };
    covariance.iter_mut().for_each(|c| *c *= (1.0 - share) as f32);
    (0..dim).for_each(|i| covariance[i * dim + i] += (share * mean) as f32);
    share
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;

    /// Rows with correlated columns.
    fn rows(n: usize) -> Array2<f32> {
        let noise = |i: usize, j: usize| ((i * 7919 + j * 104_729 + i * j * 31) % 1009) as f32 / 1009.0 - 0.5;
        Array2::from_shape_fn((n, 6), |(i, j)| {
            3.0 * noise(i, 0) * (j % 2) as f32 + noise(i, j + 1) + j as f32
        })
    }

    #[test]
    fn as_scikit_learn() {
        // sklearn.covariance.LedoitWolf().fit(StandardScaler().fit_transform(x)) on the rows above, n = 20: the
        // shrinkage, and sqrt(mahalanobis / 6) of the first three rows.
        let x = rows(20);
        let (z, ..) = standardise(x.view());
        let z: Vec<f32> = z.iter().map(|&v| v as f32).collect();
        let share = shrink(&z, &mut gram(&z, 6), 6);
        assert!((share - SHRINKAGE).abs() < 1e-5, "{share}");
        let ood = OutOfDistribution::fit(x.view(), x.view()).unwrap();
        for (row, expected) in x.rows().into_iter().zip(SCORES) {
            let found = ood.score(&row.to_vec()).unwrap().score;
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    const SHRINKAGE: f64 = 0.242_629_0;
    const SCORES: [f64; 3] = [1.070_664_6, 0.805_349_9, 0.658_237_8];

    #[test]
    fn the_threshold_passes_19_of_20_and_what_breaks_the_correlation_is_outside() {
        let x = rows(300);
        let ood = OutOfDistribution::fit(x.slice(s![..200, ..]), x.slice(s![200.., ..])).unwrap();
        let passing = (200..300).filter(|&i| !ood.score(&x.row(i).to_vec()).unwrap().outside).count();
        assert_eq!(passing, 95);
        // Each value is usual, but the combination of signs is not.
        let odd = [0.0, 1.0 + 1.4, 2.0, 3.0 - 1.4, 4.0, 5.0 + 1.4];
        assert!(ood.score(&odd).unwrap().outside);
        assert!(ood.score(&odd[1..]).is_err());
        assert!(OutOfDistribution::fit(x.slice(s![..1, ..]), x.view()).is_err());
    }
}
