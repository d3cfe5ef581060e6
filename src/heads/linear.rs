//! A fitted linear head: maps a feature row to probabilities.

use ndarray::{Array2, ArrayView2};

use super::HeadError;
use super::calibration::Calibration;
use super::probability::{sigmoid, softmax};
use super::targets::check_classes;

/// Logits `weight * (x - mean) / std + bias`, then softmax over the classes, or one sigmoid per label.
///
/// Two exclusive classes are stored as the rows `-w/2` and `w/2`, whose softmax is the sigmoid of `w`.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearHead {
    /// Names of the classes, or labels, in the order of the rows.
    pub classes: Vec<String>,
    /// Whether an image may have several labels.
    pub multi_label: bool,
    /// Probability from which the second of two classes, or a label, is predicted. Not used with three or more
    /// exclusive classes, where the most probable one is predicted.
    pub threshold: f64,
    pub(super) calibration: Option<Calibration>,
    mean: Vec<f64>,
    std: Vec<f64>,
    weight: Vec<f64>,
    bias: Vec<f64>,
    /// `weight / std`
    folded_weight: Vec<f64>,
    /// `bias - weight * mean / std`
    folded_bias: Vec<f64>,
}

/// A head's prediction for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Probability of each class, in the order of [`HeadModel::classes`](crate::HeadModel::classes); they sum to one
    /// unless the head is multi-label.
    pub probabilities: Vec<f64>,
    /// Indices of the predicted classes: exactly one unless the head is multi-label. Of two classes it is the second if
    /// its probability reaches [`HeadModel::threshold`](crate::HeadModel::threshold), of more the most probable one.
    pub classes: Vec<usize>,
}

impl LinearHead {
    /// A head from its parts: `mean` and `std` are `[dim]`, `weight` is `[classes, dim]`, `bias` is `[classes]`.
    ///
    /// # Errors
    /// [`HeadError`] when the lengths do not match, the class names are not distinct, a value is not finite, a standard
    /// deviation is not positive, or the threshold is outside 0 to 1.
    pub fn new(
        classes: Vec<String>,
        multi_label: bool,
        threshold: f64,
        [mean, std, weight, bias]: [Vec<f64>; 4],
    ) -> Result<LinearHead, HeadError> {
        check_classes(&classes, multi_label)?;
        let dim = mean.len();
        let lengths = [
            ("number of standard deviations", std.len(), dim),
            ("number of weights", weight.len(), classes.len().saturating_mul(dim)),
            ("number of biases", bias.len(), classes.len()),
        ];
        for (what, found, expected) in lengths {
            if found != expected {
                return Err(HeadError::Shape { what, found, expected });
            }
        }
        if !(0.0..=1.0).contains(&threshold) {
            return Err(HeadError::Threshold(threshold));
        }
        if let Some(&std) = std.iter().find(|&&s| s <= 0.0) {
            return Err(HeadError::LinearDeviation(std));
        }
        let folded_weight: Vec<f64> =
            weight.iter().enumerate().map(|(i, w)| w / std[i % dim.max(1)]).collect();
        let folded_bias: Vec<f64> = bias
            .iter()
            .enumerate()
            .map(|(k, b)| b - dot(&folded_weight[k * dim..(k + 1) * dim], mean.iter().copied()))
            .collect();
        // A NaN or an infinity reaches the folded values, unless it is the mean of a feature with zero weight.
        if !folded_weight.iter().chain(&folded_bias).chain(&mean).chain(&std).all(|v| v.is_finite()) {
            return Err(HeadError::NonFiniteParameters);
        }
        Ok(LinearHead {
            classes,
            multi_label,
            threshold,
            calibration: None,
            mean,
            std,
            weight,
            bias,
            folded_weight,
            folded_bias,
        })
    }

    /// Length of a feature row.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Mean of each feature over the training images, `[dim]`.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Standard deviation of each feature over the training images, `[dim]`; 1 for a constant feature.
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// Weights for the standardised features, `[classes, dim]`.
    pub fn weight(&self) -> &[f64] {
        &self.weight
    }

    /// `[classes]`
    pub fn bias(&self) -> &[f64] {
        &self.bias
    }

    /// Probability of each class, `[classes]`, for one feature row `[dim]`.
    ///
    /// f64 sums in feature order, and exponentials from the `libm` crate: the same bits on every machine.
    ///
    /// # Errors
    /// [`HeadError`] when `features` has the wrong length or contains a value that is not finite.
    pub fn probabilities(&self, features: &[f32]) -> Result<Vec<f64>, HeadError> {
        self.probabilities_in(features, Vec::new())
    }

    /// As [`LinearHead::probabilities`], in the memory of `z`.
    pub(crate) fn probabilities_in(&self, features: &[f32], z: Vec<f64>) -> Result<Vec<f64>, HeadError> {
        let mut z = self.logits_in(features, z)?;
        if let Some(calibration) = &self.calibration {
            calibration.apply(&mut z);
        }
        if self.multi_label {
            z.iter_mut().for_each(|z| *z = sigmoid(*z));
        } else {
            softmax(&mut z);
        }
        Ok(z)
    }

    /// Logit of each class before calibration, `[classes]`, for one feature row `[dim]`.
    ///
    /// # Errors
    /// As [`LinearHead::probabilities`].
    pub fn logits(&self, features: &[f32]) -> Result<Vec<f64>, HeadError> {
        self.logits_in(features, Vec::new())
    }

    fn logits_in(&self, features: &[f32], mut z: Vec<f64>) -> Result<Vec<f64>, HeadError> {
        let dim = self.dim();
        if features.len() != dim {
            return Err(HeadError::Shape {
                what: "length of a row of features",
                found: features.len(),
                expected: dim,
            });
        }
        if let Some(column) = features.iter().position(|v| !v.is_finite()) {
            return Err(HeadError::NonFinite { row: 0, column });
        }
        z.clear();
        z.extend(self.folded_bias.iter().enumerate().map(|(k, b)| {
            b + dot(&self.folded_weight[k * dim..(k + 1) * dim], features.iter().map(|&v| f64::from(v)))
        }));
        Ok(z)
    }

    /// [`LinearHead::probabilities`] of each row of `[n, dim]`: `[n, classes]`.
    ///
    /// # Errors
    /// As for one row; the error for a value that is not finite gives its row.
    pub fn probability_rows(&self, features: ArrayView2<'_, f32>) -> Result<Array2<f64>, HeadError> {
        let mut all = Array2::zeros((features.nrows(), self.classes.len()));
        for (row, (features, mut out)) in features.rows().into_iter().zip(all.rows_mut()).enumerate() {
            let probabilities = self.probabilities(&features.to_vec()).map_err(|e| match e {
                HeadError::NonFinite { column, .. } => HeadError::NonFinite { row, column },
                other => other,
            })?;
            out.assign(&ndarray::ArrayView1::from(&probabilities));
        }
        Ok(all)
    }

    /// Probabilities and the decision for one feature row.
    ///
    /// # Errors
    /// As [`LinearHead::probabilities`].
    pub fn predict(&self, features: &[f32]) -> Result<Prediction, HeadError> {
        let probabilities = self.probabilities(features)?;
        let classes = decide(&probabilities, self.multi_label, self.threshold);
        Ok(Prediction { probabilities, classes })
    }
}

/// The predicted classes: those at `threshold` or above (multi-label), the second of two classes from `threshold` on,
/// or the most probable class (the first if tied).
pub(super) fn decide(probabilities: &[f64], multi_label: bool, threshold: f64) -> Vec<usize> {
    decide_in(probabilities, multi_label, threshold, Vec::new())
}

/// As [`decide`], in the memory of `classes`.
pub(super) fn decide_in(
    probabilities: &[f64],
    multi_label: bool,
    threshold: f64,
    mut classes: Vec<usize>,
) -> Vec<usize> {
    classes.clear();
    match *probabilities {
        _ if multi_label => {
            classes.extend((0..probabilities.len()).filter(|&k| probabilities[k] >= threshold));
        }
        [_, positive] => classes.push(usize::from(positive >= threshold)),
        _ => {
            let mut best = 0;
            for (k, p) in probabilities.iter().enumerate() {
                if *p > probabilities[best] {
                    best = k;
                }
            }
            classes.push(best);
        }
    }
    classes
}

fn dot(a: &[f64], b: impl Iterator<Item = f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("c{i}")).collect()
    }

    #[test]
    fn folding_changes_nothing() {
        let head = LinearHead::new(
            names(2),
            true,
            0.5,
            [vec![1.0, -2.0], vec![2.0, 0.5], vec![0.3, -0.1, 1.0, 0.0], vec![0.2, -0.4]],
        )
        .unwrap();
        let p = head.probabilities(&[3.0, -1.0]).unwrap();
        // The standardised features are (1, 2): logits 0.3 - 0.2 + 0.2 and 1.0 - 0.4.
        for (p, z) in p.iter().zip([0.3f64, 0.6]) {
            assert!((p - 1.0 / (1.0 + (-z).exp())).abs() < 1e-15);
        }
    }

    #[test]
    fn decisions() {
        assert_eq!(decide(&[0.7, 0.3], false, 0.3), [1]);
        assert_eq!(decide(&[0.7, 0.3], false, 0.31), [0]);
        assert_eq!(decide(&[0.2, 0.4, 0.4], false, 0.9), [1]);
        assert_eq!(decide(&[0.2, 0.4, 0.6], true, 0.4), [1, 2]);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let parts = || [vec![0.0; 2], vec![1.0; 2], vec![0.0; 4], vec![0.0; 2]];
        assert!(LinearHead::new(names(2), false, 0.5, parts()).is_ok());
        assert!(LinearHead::new(names(1), false, 0.5, parts()).is_err());
        assert!(LinearHead::new(names(3), false, 0.5, parts()).is_err());
        assert!(LinearHead::new(vec!["a".into(), "a".into()], false, 0.5, parts()).is_err());
        assert!(LinearHead::new(names(2), false, f64::NAN, parts()).is_err());
        for part in 0..4 {
            let mut bad = parts();
            bad[part][1] = f64::NAN;
            assert!(LinearHead::new(names(2), false, 0.5, bad).is_err(), "part {part}");
        }
        let mut bad = parts();
        bad[1][0] = 0.0;
        assert!(LinearHead::new(names(2), false, 0.5, bad).is_err());
        let head = LinearHead::new(names(2), false, 0.5, parts()).unwrap();
        assert!(matches!(head.probabilities(&[0.0]), Err(HeadError::Shape { .. })));
        assert!(matches!(head.probabilities(&[0.0, f32::NAN]), Err(HeadError::NonFinite { column: 1, .. })));
    }
}
