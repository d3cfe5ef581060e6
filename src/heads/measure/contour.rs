//! How often inner and outer contours hold what they say, and how far they lie apart.

use serde::Serialize;

use super::bootstrap::Interval;
use super::coverage::wilson;
use crate::heads::contour::{ContourRule, needed};
use crate::input::{INNER, OUTSIDE};

/// Pixels of one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContourCase {
    /// True foreground, in the whole image.
    pub truth: usize,
    /// Predicted foreground.
    pub mask: usize,
    /// In the outer region.
    pub outer: usize,
    /// In the inner region.
    pub inner: usize,
    /// True foreground in the outer region.
    pub truth_in_outer: usize,
    /// True foreground in the inner region.
    pub truth_in_inner: usize,
}

/// Contours of some images, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContourReport {
    /// The thresholds, and the coverage that they were made for.
    #[serde(flatten)]
    pub rule: ContourRule,
    /// Number of images.
    pub images: u64,
    /// Number of images that have foreground.
    pub with_foreground: u64,
    /// The outer region holds the share of the true foreground.
    pub outer_region: ContourHeld,
    /// The share of the inner region is true foreground.
    pub inner_region: ContourHeld,
    /// Number of images for which both statements hold.
    pub both: u64,
}

/// One of the two statements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContourHeld {
    /// Number of images for which it holds.
    pub held: u64,
    /// Their share.
    pub measured: f64,
    /// 95% interval of the share, by [`wilson`](crate::heads::wilson).
    pub interval: Interval,
    /// Number of those that have foreground.
    pub held_with_foreground: u64,
    /// Number of images in which the region is empty.
    pub empty: u64,
    /// Its pixels in all images together, relative to those of the masks; `None` if all masks are empty.
    pub area_ratio: Option<f64>,
}

impl ContourCase {
    /// Of an image whose pixels have these `margins` and are foreground where `truth` says so; `unseen` further pixels of
    /// the foreground have no margin.
    pub fn new(rule: &ContourRule, margins: &[f32], truth: &[bool], unseen: usize) -> ContourCase {
        let mut case = ContourCase { truth: unseen, ..ContourCase::default() };
        for (&margin, &there) in margins.iter().zip(truth) {
            let zone = rule.zone(margin);
            let there = usize::from(there);
            case.truth += there;
            case.mask += usize::from(margin > 0.0);
            if zone != OUTSIDE {
                case.outer += 1;
                case.truth_in_outer += there;
            }
            if zone == INNER {
                case.inner += 1;
                case.truth_in_inner += there;
            }
        }
        case
    }

    fn holds(&self, share: f64) -> [bool; 2] {
        [self.truth_in_outer >= needed(share, self.truth), self.truth_in_inner >= needed(share, self.inner)]
    }
}

impl ContourReport {
    /// Of the `cases` of a head with the contours of `rule`; `None` without any.
    pub fn new(rule: ContourRule, cases: &[ContourCase]) -> Option<ContourReport> {
        let count = |test: &dyn Fn(&ContourCase) -> bool| cases.iter().filter(|c| test(c)).count() as u64;
        let sum = |pixels: &dyn Fn(&ContourCase) -> usize| cases.iter().map(pixels).sum::<usize>() as f64;
        let (images, mask) = (cases.len() as u64, sum(&|case| case.mask));
        let held = |which: usize, region: &dyn Fn(&ContourCase) -> usize| {
            let held = count(&|case| case.holds(rule.share)[which]);
            ContourHeld {
                held,
                measured: held as f64 / images as f64,
                interval: wilson(held, images),
                held_with_foreground: count(&|case| case.truth > 0 && case.holds(rule.share)[which]),
                empty: count(&|case| region(case) == 0),
                area_ratio: (mask > 0.0).then(|| sum(region) / mask),
            }
        };
        (images > 0).then(|| ContourReport {
            rule,
            images,
            with_foreground: count(&|case| case.truth > 0),
            outer_region: held(0, &|case| case.outer),
            inner_region: held(1, &|case| case.inner),
            both: count(&|case| case.holds(rule.share) == [true; 2]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_is_counted() {
        let rule = ContourRule { coverage: 0.9, share: 0.75, outer: -1.0, inner: 2.0 };
        let margins = [3.0, 2.0, 1.0, -0.5, -1.0, -2.0];
        // Four true pixels, of which three lie in the outer region of five, and one in the inner region of two.
        let truth = [true, false, true, false, true, true];
        let first = ContourCase::new(&rule, &margins, &truth, 0);
        let counts =
            ContourCase { truth: 4, mask: 3, outer: 5, inner: 2, truth_in_outer: 3, truth_in_inner: 1 };
        assert_eq!(first, counts);
        // One more that is not seen: three of five are too few.
        let second = ContourCase::new(&rule, &margins, &truth, 1);
        // Nothing is true, and nothing in the inner region: both statements hold.
        let third = ContourCase::new(&rule, &[-3.0; 6], &[false; 6], 0);
        assert_eq!([first, second, third].map(|c| c.holds(0.75)), [[true, false], [false, false], [true; 2]]);
        let report = ContourReport::new(rule, &[first, second, third]).unwrap();
        assert_eq!((report.images, report.with_foreground, report.both), (3, 2, 1));
        let ContourReport { outer_region: outer, inner_region: inner, .. } = report;
        assert_eq!((outer.held, outer.held_with_foreground, outer.empty), (2, 1, 1));
        assert_eq!((inner.held, inner.held_with_foreground, inner.empty), (1, 0, 1));
        assert_eq!((outer.area_ratio, inner.area_ratio), (Some(10.0 / 6.0), Some(4.0 / 6.0)));
        assert_eq!(ContourReport::new(rule, &[]), None);
    }
}
