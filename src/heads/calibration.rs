//! A map from a head's logits to logits whose probabilities are closer to the frequencies that were observed.

use super::HeadError;
use super::probability::sigmoid;

/// A monotone map of logits, fitted on predictions of images that the head had not seen
/// ([`certainty`](crate::heads::certainty)).
#[derive(Clone, Debug, PartialEq)]
pub enum Calibration {
    /// Three or more exclusive classes: every logit is divided by this temperature (Guo et al. 2017, arXiv 1706.04599,
    /// section 4.2). The most probable class stays the same.
    Temperature(f64),
    /// Two classes, one pair, or labels, a pair for each: a logit z (of two classes the second's minus the first's)
    /// becomes `a z + b` (Platt 1999), with `a` above 0.
    Platt(Vec<[f64; 2]>),
}

impl Calibration {
    /// Rejects a map that does not fit `classes` classes (labels, if `multi_label`), or does not keep the order of
    /// logits.
    pub(super) fn check(&self, classes: usize, multi_label: bool) -> Result<(), HeadError> {
        let usable = |scale: f64| scale.is_finite() && scale > 0.0;
        let fits = match self {
            Calibration::Temperature(t) => classes > 2 && !multi_label && usable(*t) && usable(1.0 / t),
            Calibration::Platt(pairs) => {
                let expected = if multi_label { classes } else { 1 };
                (multi_label || classes == 2)
                    && pairs.len() == expected
                    && pairs.iter().all(|[a, b]| usable(*a) && b.is_finite())
            }
        };
        if fits { Ok(()) } else { Err(HeadError::Calibration) }
    }

    /// Replaces logits `[classes]`, of a softmax or of one sigmoid a label, by calibrated ones.
    pub(super) fn apply(&self, logits: &mut [f64]) {
        match (self, logits) {
            (Calibration::Temperature(t), logits) => logits.iter_mut().for_each(|z| *z /= t),
            (Calibration::Platt(pairs), [first, second]) if pairs.len() == 1 => {
                let [a, b] = pairs[0];
                let z = a * (*second - *first) + b;
                (*first, *second) = (-0.5 * z, 0.5 * z);
            }
            (Calibration::Platt(pairs), logits) => {
                logits.iter_mut().zip(pairs).for_each(|(z, [a, b])| *z = a * *z + b);
            }
        }
    }

    /// The probability from which the second of two classes is predicted after calibration, if it was `threshold`
    /// before: the decisions stay the same. A threshold of labels, and of more classes, is not changed.
    pub(super) fn threshold(&self, threshold: f64, multi_label: bool) -> f64 {
        match self {
            Calibration::Platt(pairs) if !multi_label => {
                let [a, b] = pairs[0];
                sigmoid(a * (libm::log(threshold) - libm::log1p(-threshold)) + b)
            }
            _ => threshold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::probability::softmax;

    #[test]
    fn a_temperature_keeps_the_order_and_moves_towards_equal_shares() {
        let (mut plain, mut warm) = (vec![1.0, 3.0, -2.0], vec![1.0, 3.0, -2.0]);
        Calibration::Temperature(2.0).apply(&mut warm);
        softmax(&mut plain);
        softmax(&mut warm);
        assert!(warm[1] < plain[1] && warm[1] > warm[0] && warm[0] > warm[2]);
        assert!((warm[1] / warm[0] - (plain[1] / plain[0]).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_threshold_of_two_classes_moves_with_the_probabilities() {
        let platt = Calibration::Platt(vec![[0.7, -0.4]]);
        for z in [-3.0, -0.2, 0.0, 0.2, 2.5] {
            let mut logits = vec![-0.5 * z, 0.5 * z];
            let before = sigmoid(z);
            platt.apply(&mut logits);
            softmax(&mut logits);
            assert!((logits[1] - platt.threshold(before, false)).abs() < 1e-12);
        }
        assert_eq!((platt.threshold(0.0, false), platt.threshold(1.0, false)), (0.0, 1.0));
    }

    #[test]
    fn maps_that_do_not_fit_are_refused() {
        let platt = |pairs: &[[f64; 2]]| Calibration::Platt(pairs.to_vec());
        assert!(platt(&[[1.0, 0.0]]).check(2, false).is_ok());
        assert!(platt(&[[1.0, 0.0]; 3]).check(3, true).is_ok());
        assert!(Calibration::Temperature(0.5).check(3, false).is_ok());
        let wrong = [
            (platt(&[[1.0, 0.0]; 2]), 2, false),
            (platt(&[[1.0, 0.0]]), 3, false),
            (platt(&[[-1.0, 0.0]]), 2, false),
            (platt(&[[1.0, f64::NAN]]), 2, false),
            (Calibration::Temperature(1.0), 2, false),
            (Calibration::Temperature(1.0), 3, true),
            (Calibration::Temperature(0.0), 3, false),
            (Calibration::Temperature(f64::INFINITY), 3, false),
            (Calibration::Temperature(1e-320), 3, false),
        ];
        for (map, classes, multi_label) in wrong {
            assert!(map.check(classes, multi_label).is_err(), "{map:?}");
        }
    }
}
