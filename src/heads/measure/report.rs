//! All metrics of a head over a set of images, as one serialisable value.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::heads::linear::decide;
use crate::heads::measure::mean;
use crate::heads::{
    AucScores, Bootstrap, ConfusionMatrix, Estimate, Examples, HeadError, LinearHead, Rates, Reliability,
    Targets, log_loss,
};

/// A head's performance on a set of images. A metric is `None` if the set does not define it (a class is absent).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// Number of images.
    pub images: usize,
    /// Whether an image may have several labels.
    pub multi_label: bool,
    /// Probability from which a label, or the second of two classes, counts as predicted; `None` with three or more
    /// classes, where the most probable one counts.
    pub threshold: Option<f64>,
    /// Share of images classified correctly; multi-label: share with every label correct.
    pub accuracy: Option<Estimate>,
    /// Mean sensitivity over classes; multi-label: mean over labels of (sensitivity + specificity) / 2.
    pub balanced_accuracy: Option<Estimate>,
    /// Mean F1 over classes or labels.
    pub macro_f1: Option<Estimate>,
    /// Two classes: AUC of the second. Otherwise mean AUC of each class or label against the rest; `None` if any of
    /// them is undefined.
    pub auc: Option<Estimate>,
    /// Mean cross entropy in nats; multi-label: also averaged over labels.
    pub log_loss: Option<Estimate>,
    /// Brier score (Monthly Weather Review 78:1, 1950), the mean squared difference of probability and truth: of two
    /// classes that of the second, 0 to 1, of more the sum over the classes, 0 to 2, of labels the mean over them, 0 to
    /// 1.
    #[serde(default)]
    pub brier: Option<Estimate>,
    /// Expected calibration error, 0 to 1: [`Reliability::ece`], of labels the mean over them. It is biased upwards by
    /// about the sampling error of a bin's share, and so are the resamples of its interval.
    #[serde(default)]
    pub ece: Option<Estimate>,
    /// Each class or label against the rest.
    pub classes: Vec<ClassReport>,
    /// `[truth][prediction]` counts of images; `None` if multi-label.
    pub confusion: Option<Vec<Vec<u64>>>,
    /// How the intervals were computed. Classes keep their sizes in a resample; labels do not.
    pub bootstrap: Bootstrap,
}

/// One class or label against the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Its name.
    pub class: String,
    /// Number of images that have it.
    pub images: usize,
    /// Area under the ROC curve.
    pub auc: Option<Estimate>,
    /// Share of the images that have it for which it is predicted.
    pub sensitivity: Option<Estimate>,
    /// Share of the images that lack it for which it is not predicted.
    pub specificity: Option<Estimate>,
}

/// In a vector of statistics: number of overall statistics, which come first, and number of statistics per class.
const OVERALL: usize = 7;
const PER_CLASS: usize = 3;

impl EvaluationReport {
    /// Evaluates `head` on `examples`, whose targets use the head's class indices, at `threshold`.
    ///
    /// # Errors
    /// As [`EvaluationReport::new`], and when the features do not match the head.
    pub fn of(
        head: &LinearHead,
        examples: &Examples<'_>,
        threshold: f64,
        bootstrap: &Bootstrap,
    ) -> Result<EvaluationReport, HeadError> {
        let probabilities = head.probability_rows(examples.features)?;
        EvaluationReport::new(&head.classes, &examples.targets, probabilities.view(), threshold, bootstrap)
    }

    /// Evaluates `probabilities` (`[n, classes]`, from [`LinearHead::probability_rows`](crate::heads::LinearHead))
    /// against `targets`.
    ///
    /// # Errors
    /// [`HeadError`] when there are no images, the numbers of images or classes differ, a target is out of range, or a
    /// probability is not finite.
    pub fn new(
        classes: &[String],
        targets: &Targets<'_>,
        probabilities: ArrayView2<'_, f64>,
        threshold: f64,
        bootstrap: &Bootstrap,
    ) -> Result<EvaluationReport, HeadError> {
        let measured = Measured::new(classes, targets, probabilities, threshold)?;
        let strata = match targets {
            Targets::Classes(of) => of.to_vec(),
            Targets::Labels(of) => vec![0; of.nrows()],
        };
        let estimates = bootstrap.estimates(&strata, |weights| measured.statistics(weights));
        let per_class = estimates[OVERALL..].chunks_exact(PER_CLASS);
        let multi_label = targets.multi_label();
        Ok(EvaluationReport {
            images: targets.len(),
            multi_label,
            threshold: (multi_label || classes.len() == 2).then_some(threshold),
            accuracy: estimates[0],
            balanced_accuracy: estimates[1],
            macro_f1: estimates[2],
            auc: estimates[3],
            log_loss: estimates[4],
            brier: estimates[5],
            ece: estimates[6],
            classes: classes
                .iter()
                .zip(targets.counts(classes.len()))
                .zip(per_class)
                .map(|((class, images), numbers)| ClassReport {
                    class: class.clone(),
                    images,
                    auc: numbers[0],
                    sensitivity: numbers[1],
                    specificity: numbers[2],
                })
                .collect(),
            confusion: measured.confusion(&vec![1; targets.len()]).map(|matrix| matrix.counts),
            bootstrap: *bootstrap,
        })
    }
}

/// Data that is the same for all resamples.
struct Measured {
    columns: Vec<Column>,
    /// Class indices of truth and decision; `None` if multi-label.
    decided: Option<(Vec<usize>, Vec<usize>)>,
    /// Probability predicted for the truth: one per image, or one per label and image (labels outermost).
    of_truth: Vec<f64>,
    /// Whether all labels of an image are correct; empty unless multi-label.
    exact: Vec<bool>,
    /// Squared difference of probabilities and truth, of each image.
    squares: Vec<f64>,
    /// One, or one per label.
    reliability: Vec<Reliability>,
    threshold: f64,
}

/// One class or label.
struct Column {
    has: Vec<bool>,
    scores: Vec<f64>,
    ranked: AucScores,
}

impl Measured {
    fn new(
        classes: &[String],
        targets: &Targets<'_>,
        probabilities: ArrayView2<'_, f64>,
        threshold: f64,
    ) -> Result<Measured, HeadError> {
        let n = targets.len();
        let labels = match targets {
            Targets::Classes(_) => classes.len(),
            Targets::Labels(of) => of.ncols(),
        };
        let shapes = [
            ("number of rows of probabilities", probabilities.nrows(), n),
            ("number of columns of probabilities", probabilities.ncols(), classes.len()),
            ("number of labels", labels, classes.len()),
            ("number of images", n.min(1), 1),
        ];
        for (what, found, expected) in shapes {
            if found != expected {
                return Err(HeadError::Shape { what, found, expected });
            }
        }
        if let Some(((row, column), _)) = probabilities.indexed_iter().find(|(_, p)| !p.is_finite()) {
            return Err(HeadError::NonFinite { row, column });
        }
        let multi_label = targets.multi_label();
        let decisions: Vec<Vec<usize>> = probabilities
            .rows()
            .into_iter()
            .map(|row| decide(&row.to_vec(), multi_label, threshold))
            .collect();
        let columns: Vec<Column> = (0..classes.len())
            .map(|class| {
                let scores = probabilities.column(class).to_vec();
                Column { has: targets.has(class), ranked: AucScores::new(&scores), scores }
            })
            .collect();
        let (decided, of_truth, exact) = match targets {
            Targets::Classes(of) => {
                if let Some((row, &class)) = of.iter().enumerate().find(|&(_, &c)| c >= classes.len()) {
                    return Err(HeadError::Target { row, class, classes: classes.len() });
                }
                let of_truth = of.iter().enumerate().map(|(i, &class)| probabilities[[i, class]]).collect();
                let decided: Vec<usize> = decisions.iter().map(|classes| classes[0]).collect();
                (Some((of.to_vec(), decided)), of_truth, Vec::new())
            }
            Targets::Labels(_) => {
                let of_truth = columns
                    .iter()
                    .flat_map(|c| c.has.iter().zip(&c.scores))
                    .map(|(&has, &p)| if has { p } else { 1.0 - p })
                    .collect();
                let exact =
                    (0..n).map(|i| columns.iter().all(|c| c.has[i] == (c.scores[i] >= threshold))).collect();
                (None, of_truth, exact)
            }
        };
        let squares = (0..n).map(|i| square(&columns, i, multi_label)).collect();
        let reliability = Reliability::of(targets, probabilities);
        Ok(Measured { columns, decided, of_truth, exact, squares, reliability, threshold })
    }

    fn confusion(&self, weights: &[u32]) -> Option<ConfusionMatrix> {
        let (truth, decided) = self.decided.as_ref()?;
        Some(ConfusionMatrix::new(self.columns.len(), truth, decided, weights))
    }

    /// Brier score and expected calibration error.
    fn certainty(&self, weights: &[u32]) -> [Option<f64>; 2] {
        let images: u64 = weights.iter().map(|&w| u64::from(w)).sum();
        let squares: f64 = self.squares.iter().zip(weights).map(|(square, &w)| square * f64::from(w)).sum();
        let errors = self.reliability.iter().map(|reliability| reliability.ece(weights));
        [(images > 0).then(|| squares / images as f64), mean_of_all(&errors.collect::<Vec<_>>())]
    }

    /// Accuracy, balanced accuracy, macro F1, AUC, log loss, Brier score and calibration error, then AUC, sensitivity and specificity of each class.
    fn statistics(&self, weights: &[u32]) -> Vec<Option<f64>> {
        let aucs: Vec<Option<f64>> = self.columns.iter().map(|c| c.ranked.auc(&c.has, weights)).collect();
        let matrix = self.confusion(weights);
        let rates: Vec<Rates> = match &matrix {
            Some(matrix) => (0..self.columns.len()).map(|class| matrix.rates(class)).collect(),
            None => {
                self.columns.iter().map(|c| Rates::at(self.threshold, &c.has, &c.scores, weights)).collect()
            }
        };
        let mut all = match &matrix {
            Some(matrix) => {
                let auc = if aucs.len() == 2 { aucs[1] } else { mean_of_all(&aucs) };
                let loss = log_loss(&self.of_truth, weights);
                vec![matrix.accuracy(), matrix.balanced_accuracy(), matrix.macro_f1(), auc, loss]
            }
            None => {
                let exact = self.exact.iter().zip(weights).filter(|(exact, _)| **exact);
                let exact: u64 = exact.map(|(_, &w)| u64::from(w)).sum();
                let images: u64 = weights.iter().map(|&w| u64::from(w)).sum();
                let balanced: Vec<Option<f64>> =
                    rates.iter().map(|r| Some((r.sensitivity()? + r.specificity()?) / 2.0)).collect();
                vec![
                    (images > 0).then(|| exact as f64 / images as f64),
                    mean_of_all(&balanced),
                    mean(rates.iter().filter_map(Rates::f1)),
                    mean_of_all(&aucs),
                    log_loss(&self.of_truth, &weights.repeat(self.columns.len())),
                ]
            }
        };
        all.extend(self.certainty(weights));
        for (auc, rates) in aucs.iter().zip(&rates) {
            all.extend([*auc, rates.sensitivity(), rates.specificity()]);
        }
        all
    }
}

/// The Brier score of image `i` alone.
fn square(columns: &[Column], i: usize, multi_label: bool) -> f64 {
    let of = |column: &Column| (column.scores[i] - f64::from(u8::from(column.has[i]))).powi(2);
    match columns {
        columns if multi_label => columns.iter().map(of).sum::<f64>() / columns.len() as f64,
        [_, second] => of(second),
        columns => columns.iter().map(of).sum(),
    }
}

/// Mean of `values`; `None` if any is `None`.
fn mean_of_all(values: &[Option<f64>]) -> Option<f64> {
    values.iter().copied().collect::<Option<Vec<f64>>>().and_then(|values| mean(values.into_iter()))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("c{i}")).collect()
    }

    #[test]
    fn an_absent_class_has_no_auc_and_no_macro() {
        let probabilities = array![[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1]];
        let bootstrap = Bootstrap { resamples: 20, seed: 0 };
        let targets = Targets::Classes(&[0, 1, 1]);
        let report =
            EvaluationReport::new(&names(3), &targets, probabilities.view(), 0.5, &bootstrap).unwrap();
        assert_eq!(report.auc, None);
        assert_eq!(report.classes[2].auc, None);
        assert_eq!(report.classes[2].sensitivity, None);
        assert_eq!(report.classes[1].sensitivity.unwrap().value, 0.5);
        assert_eq!(report.confusion, Some(vec![vec![1, 0, 0], vec![1, 1, 0], vec![0, 0, 0]]));
        assert_eq!(report.threshold, None);
    }

    #[test]
    fn labels_are_measured_one_by_one() {
        let has = array![[true, false], [true, true], [false, true], [false, false]];
        let probabilities = array![[0.9, 0.2], [0.8, 0.3], [0.1, 0.6], [0.7, 0.1]];
        let bootstrap = Bootstrap { resamples: 200, seed: 0 };
        let targets = Targets::Labels(has.view());
        let report =
            EvaluationReport::new(&names(2), &targets, probabilities.view(), 0.5, &bootstrap).unwrap();
        // Images 0 and 2 are fully correct. Label 0: sensitivity 2 of 2, specificity 1 of 2; label 1: sensitivity 1 of
        // 2, specificity 2 of 2.
        assert_eq!(report.accuracy.unwrap().value, 0.5);
        assert_eq!(report.balanced_accuracy.unwrap().value, 0.75);
        assert!((report.macro_f1.unwrap().value - (0.8 + 2.0 / 3.0) / 2.0).abs() < 1e-15);
        assert_eq!(report.auc.unwrap().value, 1.0);
        assert_eq!(report.confusion, None);
        let given: [f64; 8] = [0.9, 0.8, 0.9, 0.3, 0.8, 0.3, 0.6, 0.9];
        let loss = given.iter().map(|p| -p.ln()).sum::<f64>() / 8.0;
        assert!((report.log_loss.unwrap().value - loss).abs() < 1e-12);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let p = array![[0.5, 0.5]];
        let new = |targets: &[usize], p: ArrayView2<'_, f64>| {
            EvaluationReport::new(&names(2), &Targets::Classes(targets), p, 0.5, &Bootstrap::default())
        };
        assert!(matches!(new(&[0, 1], p.view()), Err(HeadError::Shape { .. })));
        assert!(matches!(new(&[2], p.view()), Err(HeadError::Target { .. })));
        assert!(matches!(new(&[0], array![[0.5, f64::NAN]].view()), Err(HeadError::NonFinite { .. })));
        assert!(matches!(
            new(&[], array![[0.5, 0.5]].slice(ndarray::s![..0, ..])),
            Err(HeadError::Shape { .. })
        ));
    }
}
