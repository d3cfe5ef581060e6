//! Prediction sets with a stated coverage: split conformal prediction (Vovk, Gammerman and Shafer 2005; Angelopoulos and
//! Bates 2021, arXiv 2107.07511).
//!
//! An image's nonconformity score is one minus the probability of its true class (LAC: Sadinle, Lei and Wasserman 2019,
//! arXiv 1609.00451). Of the usual scores it gives the smallest sets on average, needs no random numbers, so that an
//! answer repeats, and its rule can be checked by hand: a class is in the set if its probability is large enough. The
//! set may be empty, which says that none of the classes is plausible.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::HeadError;

/// Largest number of scores that a head stores: with 10,000 the coverage varies by 0.3 points (one standard deviation)
/// around the nominal one, and the scores take 80 KB.
pub(super) const MAX_SCORES: usize = 10_000;

/// Nonconformity scores of images that the head had not seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Conformal {
    /// Ascending, each from 0 to 1.
    scores: Vec<f64>,
    /// The coverage of the sets if none is asked for.
    pub coverage: Option<f64>,
}

/// What is known of the coverage of a head's sets, for images that are exchangeable with those of its scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Split conformal prediction: with n scores, a coverage from P to less than P + 1 / (n + 1) on average over draws of
    /// these n images and the new one; the upper bound if no two scores are equal (Lei et al. 2018, arXiv 1604.04173,
    /// section 2.2).
    FiniteSample,
    /// The scores come from heads that were fitted on parts of the images: about P, without a bound.
    Approximate,
}

/// Which classes are in a set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SetRule {
    /// Nominal share of images whose true class is in their set.
    pub coverage: f64,
    /// A class is in the set if one minus its probability is at most this.
    pub largest_score: f64,
}

impl Conformal {
    /// From the scores of single images, in any order, each from 0 to 1. Of more than 10,000 a part is drawn at random,
    /// always the same one: they are as exchangeable as all.
    ///
    /// # Errors
    /// [`HeadError::Conformal`] for no score, or one outside 0 to 1; as [`Conformal::rule`] for `coverage`.
    pub fn new(scores: Vec<f64>, coverage: Option<f64>) -> Result<Conformal, HeadError> {
        if scores.is_empty() || !scores.iter().all(|score| (0.0..=1.0).contains(score)) {
            return Err(HeadError::Conformal);
        }
        let conformal = Conformal { scores: thinned(scores), coverage };
        coverage.map(|coverage| conformal.rule(coverage)).transpose()?;
        Ok(conformal)
    }

    /// From the scores that a file holds, which [`Conformal::new`] has sorted and bounded.
    pub(super) fn from_sorted(scores: Vec<f64>, coverage: Option<f64>) -> Result<Conformal, HeadError> {
        if !scores.is_sorted() || scores.len() > MAX_SCORES {
            return Err(HeadError::Conformal);
        }
        Conformal::new(scores, coverage)
    }

    /// The scores, ascending.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// The rule of sets that cover the true class of a share `coverage` of images like those of the scores: the
    /// `ceil((n + 1) coverage)`-th smallest of n scores.
    ///
    /// # Errors
    /// [`HeadError::Coverage`] unless the coverage is between 0 and 1, [`HeadError::FewScores`] when it needs more
    /// scores than there are: `n >= 1 / (1 - coverage) - 1`.
    pub fn rule(&self, coverage: f64) -> Result<SetRule, HeadError> {
        Ok(SetRule { coverage, largest_score: quantile(&self.scores, coverage)? })
    }
}

/// Scores in ascending order; of more than [`MAX_SCORES`] a part that is drawn at random, always the same one.
pub(super) fn thinned(mut scores: Vec<f64>) -> Vec<f64> {
    if scores.len() > MAX_SCORES {
        scores.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
        scores.truncate(MAX_SCORES);
    }
    scores.sort_by(f64::total_cmp);
    scores
}

/// The `ceil((n + 1) coverage)`-th smallest of n ascending scores; errors as those of [`Conformal::rule`].
pub(super) fn quantile(scores: &[f64], coverage: f64) -> Result<f64, HeadError> {
    if !(coverage > 0.0 && coverage < 1.0) {
        return Err(HeadError::Coverage(coverage));
    }
    let (found, rank) = (scores.len(), rank(scores.len(), coverage));
    scores.get(rank - 1).copied().ok_or_else(|| {
        let needed = coverage / (1.0 - coverage);
        HeadError::FewScores { coverage, found, needed: (needed - needed * 1e-12).ceil() as usize }
    })
}

/// `ceil((n + 1) coverage)`, at least 1. Decimal fractions such as 0.9 are not exact, and a product that should be a
/// whole number may lie just above it: one part in 10^12 is no reason for a further rank.
fn rank(n: usize, coverage: f64) -> usize {
    let exact = (n as f64 + 1.0) * coverage;
    ((exact - exact * 1e-12).ceil() as usize).max(1)
}

impl SetRule {
    /// The classes in the set, ascending; `probabilities` are those of one image, which has one class.
    pub fn set(&self, probabilities: &[f64]) -> Vec<usize> {
        (0..probabilities.len()).filter(|&class| 1.0 - probabilities[class] <= self.largest_score).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_is_that_of_the_finite_sample() {
        let nine = Conformal::new((1..=9).map(|i| f64::from(i) / 10.0).collect(), None).unwrap();
        // (9 + 1) 0.9 = 9: the largest of nine; 0.8 the eighth; 0.85 lies between and takes the ninth.
        assert_eq!(nine.rule(0.9).unwrap().largest_score, 0.9);
        assert_eq!(nine.rule(0.8).unwrap().largest_score, 0.8);
        assert_eq!(nine.rule(0.85).unwrap().largest_score, 0.9);
        assert_eq!(nine.rule(0.01).unwrap().largest_score, 0.1);
        let error = nine.rule(0.95).unwrap_err();
        assert!(matches!(error, HeadError::FewScores { found: 9, needed: 19, .. }), "{error}");
        for coverage in [0.0, 1.0, -1.0, f64::NAN] {
            assert!(matches!(nine.rule(coverage), Err(HeadError::Coverage(_))));
        }
        // A hair below 1 is refused at once, too.
        assert!(nine.rule(1.0 - 1e-6).is_err());
    }

    #[test]
    fn sets_hold_the_classes_that_are_probable_enough() {
        let rule = SetRule { coverage: 0.9, largest_score: 0.6 };
        assert_eq!(rule.set(&[0.5, 0.45, 0.05]), [0, 1]);
        assert_eq!(rule.set(&[0.34, 0.33, 0.33]), [] as [usize; 0]);
    }

    #[test]
    fn many_scores_are_thinned_and_bad_ones_refused() {
        let many: Vec<f64> = (0..25_000).map(|i| f64::from(i) / 25_000.0).collect();
        let thinned = Conformal::new(many.clone(), Some(0.9)).unwrap();
        assert_eq!(thinned.scores().len(), MAX_SCORES);
        assert_eq!(thinned, Conformal::new(many, Some(0.9)).unwrap());
        // The standard deviation of the quantile of 10,000 is 0.003.
        assert!((thinned.rule(0.9).unwrap().largest_score - 0.9).abs() < 0.015);
        for scores in [vec![], vec![f64::NAN], vec![-0.1], vec![1.1]] {
            assert!(Conformal::new(scores, None).is_err());
        }
        assert!(Conformal::new(vec![0.5; 9], Some(0.99)).is_err());
    }
}
