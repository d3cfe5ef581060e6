//! How often prediction sets hold the true class, and how large they are.

use serde::Serialize;

use super::Interval;
use crate::heads::{SetRule, Targets};

/// Normal quantile of a two-sided 95% interval.
const Z: f64 = 1.959_963_984_540_054;

/// Prediction sets of some images, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CoverageReport {
    /// The rule, and the coverage that it was made for.
    #[serde(flatten)]
    pub rule: SetRule,
    /// Number of images.
    pub images: u64,
    /// Number of images whose true class is in their set.
    pub covered: u64,
    /// Their share.
    pub measured: f64,
    /// 95% interval of the share, by [`wilson`].
    pub interval: Interval,
    /// Mean number of classes in a set.
    pub mean_size: f64,
    /// Number of images with a set of 0, 1, ... classes.
    pub sizes: Vec<u64>,
    /// Of each class, the number of images that are covered, and their number.
    pub classes: Vec<(u64, u64)>,
    /// Number of images without an answer: the set is empty, or the image is unlike the training images.
    pub abstained: u64,
    /// Number of the other images whose true class is in their set.
    pub answered_covered: u64,
}

impl CoverageReport {
    /// Of the sets by `rule` for `probabilities`, one row an image; `outside` says which images are unlike the training
    /// images. `None` for labels, and without images.
    pub fn new(
        rule: SetRule,
        targets: &Targets<'_>,
        probabilities: ndarray::ArrayView2<'_, f64>,
        outside: &[bool],
    ) -> Option<CoverageReport> {
        let Targets::Classes(of) = targets else { return None };
        let classes = probabilities.ncols();
        let (mut sizes, mut each) = (vec![0; classes + 1], vec![(0, 0); classes]);
        let (mut abstained, mut answered_covered) = (0, 0);
        for ((row, &class), outside) in probabilities.rows().into_iter().zip(*of).zip(outside) {
            let set = rule.set(&row.to_vec());
            let holds = u64::from(set.contains(&class));
            sizes[set.len()] += 1;
            each[class] = (each[class].0 + holds, each[class].1 + 1);
            match *outside || set.is_empty() {
                true => abstained += 1,
                false => answered_covered += holds,
            }
        }
        let (covered, images) = each.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let members: u64 = sizes.iter().enumerate().map(|(size, images)| size as u64 * images).sum();
        (images > 0).then(|| CoverageReport {
            rule,
            images,
            covered,
            measured: covered as f64 / images as f64,
            interval: wilson(covered, images),
            mean_size: members as f64 / images as f64,
            sizes,
            classes: each,
            abstained,
            answered_covered,
        })
    }
}

/// 95% interval of a binomial share, `part` of `whole` (at least one): the score interval (Wilson, J. American
/// Statistical Association 22:209, 1927), which is usable near 0 and 1 too.
pub fn wilson(part: u64, whole: u64) -> Interval {
    let (n, p) = (whole as f64, part as f64 / whole as f64);
    let scale = 1.0 + Z * Z / n;
    let middle = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Interval { low: (middle - half).max(0.0), high: (middle + half).min(1.0) }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn wilson_as_scipy() {
        // scipy.stats.binomtest(90, 100).proportion_ci(method="wilson"), and of (0, 10), (10, 10).
        for (part, whole, low, high) in
            [(90, 100, 0.825_634, 0.944_771), (0, 10, 0.0, 0.277_533), (10, 10, 0.722_467, 1.0)]
        {
            let Interval { low: l, high: h } = wilson(part, whole);
            assert!((l - low).abs() < 1e-6 && (h - high).abs() < 1e-6, "{part} of {whole}: {l} {h}");
        }
    }

    #[test]
    fn sets_are_counted() {
        let rule = SetRule { coverage: 0.5, largest_score: 0.6 };
        let p = array![[0.9, 0.05, 0.05], [0.5, 0.5, 0.0], [0.3, 0.3, 0.4], [0.35, 0.33, 0.32]];
        let found = CoverageReport::new(
            rule,
            &Targets::Classes(&[0, 1, 0, 2]),
            p.view(),
            &[false, true, false, false],
        );
        let found = found.unwrap();
        assert_eq!((found.covered, found.images), (2, 4));
        assert_eq!(found.sizes, [1, 2, 1, 0]);
        assert_eq!(found.mean_size, 1.0);
        assert_eq!(found.classes, [(1, 2), (1, 1), (0, 1)]);
        assert_eq!((found.abstained, found.answered_covered), (2, 1));
    }
}
