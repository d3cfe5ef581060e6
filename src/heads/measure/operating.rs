//! Operating points: a threshold of two classes that is chosen by a rule with a name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::metrics::{AucScores, Rates};
use super::{Bootstrap, Estimate};

/// How the threshold is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OperatingRule {
    /// The largest threshold with at least this sensitivity.
    Sensitivity(f64),
    /// The smallest threshold with at least this specificity.
    Specificity(f64),
    /// The largest sensitivity + specificity - 1 (Youden, Cancer 3:32, 1950).
    Youden,
    /// The least cost of all errors.
    Cost {
        /// Of an image of the second class that is not found.
        missed: f64,
        /// Of an image of the first class that is taken for one of the second.
        false_alarm: f64,
    },
}

impl FromStr for OperatingRule {
    type Err = String;

    fn from_str(text: &str) -> Result<OperatingRule, String> {
        let wrong = || {
            format!(
                "'{text}' is none of sensitivity=0.95, specificity=0.9, youden, cost=10:1 (of a missed image, of a false alarm)"
            )
        };
        let number = |text: &str| text.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(wrong);
        let share = |text: &str| number(text).ok().filter(|s| *s > 0.0 && *s <= 1.0).ok_or_else(wrong);
        match text.split_once('=') {
            None if text == "youden" => Ok(OperatingRule::Youden),
            Some(("sensitivity", value)) => share(value).map(OperatingRule::Sensitivity),
            Some(("specificity", value)) => share(value).map(OperatingRule::Specificity),
            Some(("cost", value)) => {
                let (missed, false_alarm) = value.split_once(':').ok_or_else(wrong)?;
                let (missed, false_alarm) = (number(missed)?, number(false_alarm)?);
                let usable = missed > 0.0 && false_alarm > 0.0;
                usable.then_some(OperatingRule::Cost { missed, false_alarm }).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for OperatingRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OperatingRule::Sensitivity(share) => write!(f, "sensitivity={share}"),
            OperatingRule::Specificity(share) => write!(f, "specificity={share}"),
            OperatingRule::Youden => write!(f, "youden"),
            OperatingRule::Cost { missed, false_alarm } => write!(f, "cost={missed}:{false_alarm}"),
        }
    }
}

/// A threshold and what it does to the images on which it was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// The rule, as it is written on the command line.
    pub rule: String,
    /// Number of images.
    pub images: usize,
    /// The threshold; its interval is that of the thresholds that the rule chooses in resamples.
    pub threshold: Estimate,
    /// At this threshold, on these images.
    pub sensitivity: Option<Estimate>,
    /// At this threshold, on these images.
    pub specificity: Option<Estimate>,
}

impl OperatingPoint {
    /// By `rule`, on the scores of images of which `positive` says whether they have the second class. `None` if no
    /// threshold meets the rule, or a class is absent.
    pub fn choose(
        rule: OperatingRule,
        positive: &[bool],
        scores: &[f64],
        bootstrap: &Bootstrap,
    ) -> Option<OperatingPoint> {
        let ranked = AucScores::new(scores);
        let of = |weights: &[u32]| choose(rule, &ranked, positive, scores, weights);
        let chosen = of(&vec![1; scores.len()])?;
        let strata: Vec<usize> = positive.iter().map(|&p| usize::from(p)).collect();
        let estimates = bootstrap.estimates(&strata, |weights| {
            let rates = Rates::at(chosen, positive, scores, weights);
            vec![of(weights), rates.sensitivity(), rates.specificity()]
        });
        let [Some(threshold), sensitivity, specificity] = estimates[..] else { return None };
        Some(OperatingPoint {
            rule: rule.to_string(),
            images: scores.len(),
            threshold,
            sensitivity,
            specificity,
        })
    }
}

/// The threshold from 0 to 1 that `rule` chooses for `scores` from 0 to 1. It lies halfway between two neighbouring
/// scores, at 0, or halfway between the largest score and 1; of equally good ones (`youden`, `cost`) it is the one
/// nearest to 0.5. `None` if no threshold meets the rule, or a class is absent.
pub fn operating_threshold(rule: OperatingRule, positive: &[bool], scores: &[f64]) -> Option<f64> {
    choose(rule, &AucScores::new(scores), positive, scores, &vec![1; scores.len()])
}

/// A threshold, and how many images of each class it leaves below.
#[derive(Clone, Copy)]
struct Cut {
    threshold: f64,
    missed: u64,
    right: u64,
    /// Whether it tells no images apart.
    outer: bool,
}

fn choose(
    rule: OperatingRule,
    ranked: &AucScores,
    positive: &[bool],
    scores: &[f64],
    weights: &[u32],
) -> Option<f64> {
    let (cuts, positives, negatives) = cuts(ranked, positive, scores, weights);
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (p, n) = (positives as f64, negatives as f64);
    // Sums of a few thousand images: a hair less than a whole number is that number.
    let enough = |found: u64, of: f64, share: f64| found as f64 >= share * of - 1e-9 * of;
    let sensitive = |cut: &&Cut, share: f64| enough(positives - cut.missed, p, share);
    let specific = |cut: &&Cut, share: f64| enough(cut.right, n, share);
    let chosen = match rule {
        OperatingRule::Sensitivity(share) => cuts.iter().rev().find(|cut| sensitive(cut, share)),
        OperatingRule::Specificity(share) => cuts.iter().find(|cut| specific(cut, share)),
        // J + 1 times positives * negatives is a whole number, so that ties compare equal.
        OperatingRule::Youden => least(cuts.iter().filter(|cut| !cut.outer), |cut| {
            -(((positives - cut.missed) * negatives + cut.right * positives) as f64)
        }),
        OperatingRule::Cost { missed, false_alarm } => least(cuts.iter(), |cut| {
            missed * cut.missed as f64 + false_alarm * (negatives - cut.right) as f64
        }),
    };
    chosen.map(|cut| cut.threshold)
}

/// The cut with the least `cost`, of equal ones the one nearest to 0.5.
fn least<'a>(cuts: impl Iterator<Item = &'a Cut>, cost: impl Fn(&Cut) -> f64) -> Option<&'a Cut> {
    let far = |cut: &Cut| (cut.threshold - 0.5).abs();
    cuts.min_by(|a, b| cost(a).total_cmp(&cost(b)).then(far(a).total_cmp(&far(b))))
}

/// All thresholds that differ in what they say, ascending, and the numbers of positive and negative images.
fn cuts(ranked: &AucScores, positive: &[bool], scores: &[f64], weights: &[u32]) -> (Vec<Cut>, u64, u64) {
    let mut cuts = vec![Cut { threshold: 0.0, missed: 0, right: 0, outer: true }];
    let (mut missed, mut right) = (0, 0);
    let mut below: Option<f64> = None;
    for run in ranked.runs() {
        let (mut p, mut n) = (0, 0);
        for &i in run {
            *(if positive[i] { &mut p } else { &mut n }) += u64::from(weights[i]);
        }
        if p + n == 0 {
            continue;
        }
        let score = scores[run[0]];
        if let Some(below) = below {
            let middle = below + 0.5 * (score - below);
            let threshold = if middle > below { middle } else { score };
            cuts.push(Cut { threshold, missed, right, outer: false });
        }
        (missed, right, below) = (missed + p, right + n, Some(score));
    }
    if let Some(largest) = below.filter(|&largest| largest + 0.5 * (1.0 - largest) > largest) {
        cuts.push(Cut { threshold: largest + 0.5 * (1.0 - largest), missed, right, outer: true });
    }
    (cuts, missed, right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::measure::youden_threshold;

    const POSITIVE: [bool; 8] = [false, false, false, true, false, true, true, true];
    const SCORES: [f64; 8] = [0.1, 0.2, 0.3, 0.35, 0.5, 0.6, 0.7, 0.9];

    fn threshold(rule: &str) -> Option<f64> {
        operating_threshold(rule.parse().unwrap(), &POSITIVE, &SCORES)
    }

    #[test]
    fn each_rule_chooses_its_threshold() {
        let close = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-12;
        // Between 0.3 and 0.35 all of the four are found, above 0.35 three.
        assert!(close(threshold("sensitivity=1"), 0.325));
        assert!(close(threshold("sensitivity=0.75"), 0.55));
        assert!(close(threshold("specificity=0.75"), 0.325));
        assert!(close(threshold("specificity=1"), 0.55));
        // One missed at 0.55 against one false alarm at 0.325: nearest to 0.5 if they cost the same.
        assert!(close(threshold("cost=1:1"), 0.55));
        assert!(close(threshold("cost=3:1"), 0.325));
        assert!(close(threshold("cost=1:3"), 0.55));
        assert_eq!(threshold("youden"), youden_threshold(&POSITIVE, &SCORES));
        // So dear that everything is called positive, or nothing.
        let mixed = [true, false];
        let of = |cost: &str| operating_threshold(cost.parse().unwrap(), &mixed, &[0.2, 0.4]);
        assert_eq!(of("cost=10:1"), Some(0.0));
        assert_eq!(of("cost=1:10"), Some(0.7));
    }

    #[test]
    fn what_cannot_be_reached_has_no_threshold() {
        let rule = OperatingRule::Specificity(1.0);
        assert_eq!(operating_threshold(rule, &[true, false], &[0.5, 1.0]), None);
        assert_eq!(operating_threshold(OperatingRule::Youden, &[true, true], &[0.5, 1.0]), None);
        for text in ["sensitivity=0", "sensitivity=1.1", "cost=1", "cost=-1:1", "best", "specificity=nan"] {
            assert!(text.parse::<OperatingRule>().is_err(), "{text}");
        }
        for text in ["sensitivity=0.95", "specificity=0.9", "youden", "cost=10:1"] {
            assert_eq!(text.parse::<OperatingRule>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_interval_holds_the_threshold() {
        let rule = OperatingRule::Sensitivity(0.75);
        let point = OperatingPoint::choose(rule, &POSITIVE, &SCORES, &Bootstrap::default()).unwrap();
        let interval = point.threshold.interval.unwrap();
        assert!(interval.low <= point.threshold.value && point.threshold.value <= interval.high);
        assert!(interval.low < interval.high);
        assert_eq!((point.sensitivity.unwrap().value, point.specificity.unwrap().value), (0.75, 1.0));
    }
}
