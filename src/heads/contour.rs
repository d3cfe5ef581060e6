//! Inner and outer contours of a mask, each with a stated probability: split conformal prediction of two thresholds.
//!
//! A dense head decides by the margin of a pixel, the largest logit of the other classes minus that of the background: the
//! mask is where it is above 0. Of two classes it is the log odds of the foreground. The outer contour surrounds the pixels
//! with at least a smaller margin, the inner one those with at least a larger one. Each threshold is the conformal quantile
//! over images of the threshold at which the image's statement begins to hold, so that for a new image it holds with the
//! probability P. That is conformal risk control (Angelopoulos et al. 2022, arXiv 2208.02814) of the loss that is 1 where
//! the statement does not hold; Mossina, Dalmau and Andeol (2024, arXiv 2405.05145) choose thresholds of masks in this way.

use serde::Serialize;

use super::HeadError;
use super::conformal::{MAX_SCORES, quantile, thinned};
use crate::input::{INNER, OUTER, OUTSIDE};

/// Share of pixels that the statements are about, if none is asked for.
pub const CONTOUR_SHARE: f64 = 0.95;

/// The thresholds of a statement that holds with none, and with any: margins are finite, and smaller.
const NEVER: f64 = f32::MAX as f64;
const ALWAYS: f64 = f32::MIN as f64;

/// Scores of images that the head had not seen: for each statement the threshold at which it begins to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Contours {
    /// Minus the largest margin at which the outer region holds its share; ascending.
    outer: Vec<f64>,
    /// The smallest margin from which on the inner region holds its share; ascending.
    inner: Vec<f64>,
    /// Share of the true foreground that the outer region holds, and of the inner region that is truly foreground.
    pub share: f64,
    /// The probability of each statement if none is asked for.
    pub coverage: Option<f64>,
}

/// Thresholds of margins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ContourRule {
    /// Nominal probability of each of the two statements.
    pub coverage: f64,
    /// The share of pixels that they are about.
    pub share: f64,
    /// Smallest margin in the outer region, to which all pixels of the mask belong.
    pub outer: f32,
    /// Smallest margin in the inner region, to which pixels of the mask alone belong.
    pub inner: f32,
}

/// An image's scores: minus the largest margin at which the outer region holds the share, and the smallest one from which
/// on the inner region does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContourScore {
    /// Of the outer region.
    pub outer: f64,
    /// Of the inner region.
    pub inner: f64,
}

impl ContourScore {
    /// Of an image whose pixels have these `margins` and are foreground where `truth` says so; `unseen` further pixels of
    /// the foreground have no margin, because the backbone does not see them.
    ///
    /// Without foreground, every outer region holds it, and every pixel of an inner region is wrong: it must be empty. The
    /// share of an inner region is no monotone function of its threshold: the threshold counts from which on all larger
    /// ones do as well, so that a larger one never breaks the statement.
    pub fn new(share: f64, margins: &[f32], truth: &[bool], unseen: usize) -> ContourScore {
        let mut there: Vec<f32> =
            margins.iter().zip(truth).filter(|(_, there)| **there).map(|(margin, _)| *margin).collect();
        let needed = needed(share, there.len() + unseen);
        let outer = match needed.checked_sub(1) {
            None => ALWAYS,
            Some(last) if last >= there.len() => NEVER,
            Some(last) => {
                let (_, margin, _) = there.select_nth_unstable_by(last, |a, b| b.total_cmp(a));
                -f64::from(*margin)
            }
        };
        ContourScore { outer, inner: inner(share, margins, truth) }
    }
}

fn inner(share: f64, margins: &[f32], truth: &[bool]) -> f64 {
    let mut pixels: Vec<(f32, bool)> = margins.iter().copied().zip(truth.iter().copied()).collect();
    pixels.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut all, mut right) = (0, 0);
    // Pixels of one margin enter together; 0 and -0 are one.
    for run in pixels.chunk_by(|a, b| a.0 == b.0) {
        all += run.len();
        right += run.iter().filter(|(_, there)| *there).count();
        if right < needed(share, all) {
            return f64::from(run[0].0.max(run[run.len() - 1].0).next_up());
        }
    }
    ALWAYS
}

/// `ceil(share n)`. Decimal fractions such as 0.95 are not exact, and a product that should be a whole number may lie just
/// above it.
pub(super) fn needed(share: f64, n: usize) -> usize {
    let exact = n as f64 * share;
    (exact - exact * 1e-12).ceil() as usize
}

impl Contours {
    /// From the scores of single images, in any order, about this `share` of pixels, above 0 and at most 1.
    ///
    /// # Errors
    /// [`HeadError::ContourScores`] for no score, [`HeadError::ContourShare`]; as [`Contours::rule`] for `coverage`.
    pub fn new(scores: &[ContourScore], share: f64, coverage: Option<f64>) -> Result<Contours, HeadError> {
        let of = |score: fn(&ContourScore) -> f64| thinned(scores.iter().map(score).collect());
        Contours::from_sorted([of(|s| s.outer), of(|s| s.inner)], share, coverage)
    }

    /// From the scores that a file holds, which [`Contours::new`] has sorted and bounded.
    pub(super) fn from_sorted(
        [outer, inner]: [Vec<f64>; 2],
        share: f64,
        coverage: Option<f64>,
    ) -> Result<Contours, HeadError> {
        let usable = |scores: &[f64]| {
            let bounded = scores.iter().all(|score| (ALWAYS..=NEVER).contains(score));
            scores.len() <= MAX_SCORES && scores.is_sorted() && bounded
        };
        if outer.is_empty() || outer.len() != inner.len() || !usable(&outer) || !usable(&inner) {
            return Err(HeadError::ContourScores);
        }
        if !(share > 0.0 && share <= 1.0) {
            return Err(HeadError::ContourShare(share));
        }
        let contours = Contours { outer, inner, share, coverage };
        coverage.map(|coverage| contours.rule(coverage)).transpose()?;
        Ok(contours)
    }

    /// The number of images that have scores.
    pub fn images(&self) -> usize {
        self.outer.len()
    }

    /// The scores of the outer and of the inner region, each ascending.
    pub fn scores(&self) -> [&[f64]; 2] {
        [&self.outer, &self.inner]
    }

    /// The thresholds with which each statement holds for a share `coverage` of images like those of the scores.
    ///
    /// # Errors
    /// As [`Conformal::rule`](super::Conformal::rule); [`HeadError::NoOuter`] if so much foreground lies outside of what
    /// the backbone sees that no outer region holds the share.
    pub fn rule(&self, coverage: f64) -> Result<ContourRule, HeadError> {
        let (outer, inner) = (quantile(&self.outer, coverage)?, quantile(&self.inner, coverage)?);
        if outer >= NEVER {
            return Err(HeadError::NoOuter { coverage, share: self.share });
        }
        // Scores are f32 margins, which f64 holds exactly.
        Ok(ContourRule { coverage, share: self.share, outer: -outer as f32, inner: inner as f32 })
    }
}

impl ContourRule {
    /// The zone of a pixel with this margin: [`OUTSIDE`], [`OUTER`] or [`INNER`].
    ///
    /// The mask, a margin above 0, always lies between the contours: pixels of it are added to the outer region, and
    /// others taken from the inner one. Both statements stay true when the outer region grows and the threshold of the
    /// inner one rises.
    pub fn zone(&self, margin: f32) -> u8 {
        match margin > 0.0 {
            true if margin >= self.inner => INNER,
            true => OUTER,
            false if margin >= self.outer => OUTER,
            false => OUTSIDE,
        }
    }
}

/// The margin of a pixel with these logits, the background's first: above 0 if and only if another class is predicted.
pub(super) fn margin(logits: &[f32]) -> f32 {
    logits[1..].iter().fold(f32::MIN, |largest, &logit| largest.max(logit)) - logits[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four true pixels of six.
    const MARGINS: [f32; 6] = [3.0, 2.0, 1.0, 0.5, -1.0, -2.0];
    const TRUTH: [bool; 6] = [true, true, false, true, true, false];

    #[test]
    fn scores_are_those_counted_by_hand() {
        let score = |share| ContourScore::new(share, &MARGINS, &TRUTH, 0);
        // All four true pixels need -1; three of four 0.5; half of them 2.
        assert_eq!([1.0, 0.75, 0.5].map(|share| score(share).outer), [1.0, -0.5, -2.0]);
        // Above 1.0 all is true. With the third pixel two of three are, with the fourth three of four.
        assert_eq!(score(1.0).inner, f64::from(1f32.next_up()));
        // Two thirds hold down to the last pixel: 2/3, 3/4, 4/5, 4/6.
        assert_eq!(score(2.0 / 3.0).inner, ALWAYS);
        // Three quarters hold again from the fourth pixel, but not at the third: larger thresholds count.
        assert_eq!(score(0.75).inner, f64::from(1f32.next_up()));
        // A fifth true pixel that is not seen: of five, 80% are four, and all are out of reach.
        let unseen = |share| ContourScore::new(share, &MARGINS, &TRUTH, 1).outer;
        assert_eq!((unseen(0.8), unseen(1.0)), (1.0, NEVER));
    }

    #[test]
    fn images_without_foreground_or_without_pixels_that_are_wrong() {
        let none = ContourScore::new(0.95, &MARGINS, &[false; 6], 0);
        assert_eq!(none, ContourScore { outer: ALWAYS, inner: f64::from(3f32.next_up()) });
        let all = ContourScore::new(0.95, &MARGINS, &[true; 6], 0);
        assert_eq!(all, ContourScore { outer: 2.0, inner: ALWAYS });
    }

    #[test]
    fn pixels_of_one_margin_enter_together() {
        let truth = [true, false, true, true];
        let score = ContourScore::new(0.75, &[1.0, 1.0, 1.0, 1.0], &truth, 0);
        assert_eq!(score, ContourScore { outer: -1.0, inner: ALWAYS });
        let score = ContourScore::new(0.75, &[0.0, -0.0, 1.0, 0.5], &truth, 0);
        assert_eq!(score.inner, ALWAYS);
        assert_eq!(
            ContourScore::new(0.8, &[0.0, -0.0, 1.0, 0.5], &truth, 0).inner,
            f64::from(0f32.next_up())
        );
    }

    #[test]
    fn decimal_shares_of_whole_numbers_are_whole() {
        assert_eq!([20, 40, 60, 1000, 0].map(|n| needed(0.95, n)), [19, 38, 57, 950, 0]);
        assert_eq!([1, 19, 21].map(|n| needed(0.95, n)), [1, 19, 20]);
        assert_eq!(needed(1.0, 7), 7);
    }

    /// Nine images: each one's true pixel lies at minus its number, a wrong one at its number.
    fn nine() -> Contours {
        let score = |n: u8| {
            let n = f32::from(n);
            ContourScore::new(1.0, &[-n, n], &[true, false], 0)
        };
        Contours::new(&(1..=9).map(score).collect::<Vec<_>>(), 1.0, Some(0.8)).unwrap()
    }

    #[test]
    fn a_rule_takes_the_conformal_quantiles_and_keeps_the_mask_between() {
        let rule = nine().rule(0.8).unwrap();
        // ceil(10 * 0.8) = 8.
        assert_eq!((rule.outer, rule.inner), (-8.0, 8f32.next_up()));
        assert_eq!([-8.5, -8.0, 0.0, 0.5, 8.0, 8.5].map(|m| rule.zone(m)), [0, 1, 1, 1, 1, 2]);
        // Thresholds on the other side of 0 leave the mask as both contours.
        let rule = ContourRule { outer: 1.0, inner: -1.0, ..rule };
        assert_eq!([-0.5, 0.0, 0.5, 1.5].map(|m| rule.zone(m)), [0, 0, 2, 2]);
        assert!(matches!(nine().rule(0.95), Err(HeadError::FewScores { found: 9, needed: 19, .. })));
    }

    #[test]
    fn what_is_no_score_is_refused() {
        let good = vec![1.0, 2.0];
        let new = |outer: &[f64], inner: &[f64], share| {
            Contours::from_sorted([outer.to_vec(), inner.to_vec()], share, None)
        };
        assert!(new(&good, &good, 0.95).is_ok());
        for (outer, inner) in
            [(&[][..], &[][..]), (&good, &good[..1]), (&[2.0, 1.0], &good), (&[f64::NAN, 1.0], &good)]
        {
            assert!(matches!(new(outer, inner, 0.95), Err(HeadError::ContourScores)));
        }
        for share in [0.0, 1.1, f64::NAN] {
            assert!(matches!(new(&good, &good, share), Err(HeadError::ContourShare(_))));
        }
        let unseen = [ContourScore { outer: NEVER, inner: 0.0 }; 9];
        assert!(matches!(Contours::new(&unseen, 1.0, Some(0.5)), Err(HeadError::NoOuter { .. })));
    }

    #[test]
    fn the_margin_is_above_0_where_another_class_is_predicted() {
        for logits in
            [[0.0, 0.0, 0.0], [1.0, 0.5, 2.0], [1.0, 1.0, 0.0], [-3.0, -4.0, -2.5], [2.0, 1.0, -1.0]]
        {
            assert_eq!(margin(&logits) > 0.0, crate::heads::segment::largest(&logits) > 0, "{logits:?}");
        }
    }
}
