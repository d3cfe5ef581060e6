//! Fits a linear probe and selects its regularisation strength.

use ndarray::{Array2, ArrayView2};

use super::logistic::{Objective, Outcome, minimise};
use crate::heads::measure::{AucScores, PROBABILITY_FLOOR, youden_threshold};
use crate::heads::targets::Joined;
use crate::heads::{Examples, HeadError, LinearHead, Targets};

/// Weighting of the classes in the fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassWeights {
    /// Every image counts equally.
    #[default]
    None,
    /// An image of class c has weight `n / (k n_c)`, so that every class counts equally. For a label of a multi-label
    /// set, k is 2: the images that have it and those that lack it.
    Balanced,
}

/// Options of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// Weighting of the classes.
    pub class_weights: ClassWeights,
    /// The fit ends when the gradient norm of the mean loss (plus penalty) is at most this.
    pub tolerance: f64,
    /// The fit fails after this many evaluations.
    pub max_evaluations: usize,
}

impl Default for FitOptions {
    fn default() -> FitOptions {
        FitOptions { class_weights: ClassWeights::None, tolerance: 1e-8, max_evaluations: 10_000 }
    }
}

/// Tolerance of the fits that only serve to compare values of C.
const SEARCH_TOLERANCE: f64 = 1e-6;

/// Criterion for the best regularisation strength.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Criterion {
    /// The lowest cross entropy on the validation images, classes weighted as in the fit. It changes with every
    /// probability, whereas the AUC of a few dozen images changes in steps and often ties.
    #[default]
    LogLoss,
    /// The largest AUC (macro over one-vs-rest or labels). Cross entropy breaks ties, and decides alone if a class is
    /// absent from the validation images, so that there is no AUC.
    Auc,
}

/// How the regularisation strength is selected.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSearch {
    /// Values of C to try, in ascending order; each fit starts from the result of the last one. The smallest of equally
    /// good values wins.
    pub grid: Vec<f64>,
    /// Criterion for the best value.
    pub criterion: Criterion,
    /// Whether to refit on the training and validation images together with the selected C. The validation metrics and
    /// the threshold are those from before the refit.
    pub refit: bool,
}

impl Default for ProbeSearch {
    /// C from 1e-5 to 1e2 in steps of the square root of ten: with standardised features and a few hundred images, the
    /// optimum for a frozen backbone lies well inside this range.
    fn default() -> ProbeSearch {
        ProbeSearch {
            grid: (-10..=4).map(|i| 10f64.powf(f64::from(i) / 2.0)).collect(),
            criterion: Criterion::LogLoss,
            refit: false,
        }
    }
}

/// One value of C that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridPoint {
    /// Inverse regularisation strength, as in scikit-learn.
    pub c: f64,
    /// Cross entropy on the validation images, classes weighted as in the fit.
    pub log_loss: f64,
    /// Macro AUC on the validation images; `None` if a class is absent.
    pub auc: Option<f64>,
    /// Gradient norm at the end of the fit (largest over the labels).
    pub gradient: f64,
    /// Number of evaluations of the objective.
    pub evaluations: usize,
}

/// Result of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchResult {
    /// The best head; with two classes, its threshold maximises Youden's J on the validation images.
    pub head: LinearHead,
    /// The C it was fitted with.
    pub c: f64,
    /// Gradient norm at the head's parameters (before a refit on all images; largest over the labels).
    pub gradient: f64,
    /// Every C that was tried, ascending.
    pub grid: Vec<GridPoint>,
}

/// Multinomial logistic regression on standardised features (binomial for two classes; one binomial regression per
/// label), minimising `sum of losses + 1/(2C) |w|^2` with an unpenalised bias: equivalent to scikit-learn's
/// `StandardScaler` and `LogisticRegression(C)`.
#[derive(Clone, Copy, Debug)]
pub struct LinearProbe;

impl LinearProbe {
    /// Fits a head for `classes` with the given `c`; its threshold is 0.5.
    ///
    /// # Errors
    /// [`HeadError`] when features, targets and classes do not match, a feature is not finite, a class has fewer than
    /// two images, `c` is not positive, or the optimiser ends too far from the minimum.
    pub fn fit(
        train: &Examples<'_>,
        classes: &[String],
        c: f64,
        options: &FitOptions,
    ) -> Result<LinearHead, HeadError> {
        let prepared = Prepared::new(train, classes, options)?;
        let fit = prepared.fit(check_strengths(&[c])?[0], &prepared.start(), options)?;
        prepared.head(classes, &fit, 0.5)
    }

    /// Fits a head for each C of the grid and keeps the one that performs best on `val`.
    ///
    /// `progress(done, total)` is called after each C.
    ///
    /// # Errors
    /// As [`LinearProbe::fit`]; also when `val` is empty or does not match `train`.
    pub fn fit_best(
        train: &Examples<'_>,
        val: &Examples<'_>,
        classes: &[String],
        search: &ProbeSearch,
        options: &FitOptions,
        progress: &mut (dyn FnMut(usize, usize) + Send),
    ) -> Result<SearchResult, HeadError> {
        let strengths = check_strengths(&search.grid)?;
        val.check(classes)?;
        if val.targets.multi_label() != train.targets.multi_label() {
            return Err(HeadError::MixedTargets);
        }
        let prepared = Prepared::new(train, classes, options)?;
        let mut fit = Fit { parameters: prepared.start(), gradient: 0.0, evaluations: 0 };
        let mut grid: Vec<GridPoint> = Vec::new();
        let mut best: Option<(GridPoint, Fit)> = None;
        // The best C is clear long before the last digits of the weights.
        let rough = FitOptions { tolerance: options.tolerance.max(SEARCH_TOLERANCE), ..*options };
        for (done, &c) in strengths.iter().enumerate() {
            fit = prepared.fit(c, &fit.parameters, &rough)?;
            let head = prepared.head(classes, &fit, 0.5)?;
            let (log_loss, auc) = prepared.validate(&head, val)?;
            let point = GridPoint { c, log_loss, auc, gradient: fit.gradient, evaluations: fit.evaluations };
            grid.push(point);
            if best.as_ref().is_none_or(|(best, _)| search.criterion.prefers(&point, best)) {
                best = Some((point, fit.clone()));
            }
            progress(done + 1, strengths.len());
        }
        let (point, fit) = best.ok_or(HeadError::EmptyGrid)?;
        let fit = prepared.fit(point.c, &fit.parameters, options)?;
        let mut head = prepared.head(classes, &fit, 0.5)?;
        let mut threshold = 0.5;
        if let (Targets::Classes(_), 2) = (val.targets, classes.len()) {
            let positive = head.probability_rows(val.features)?.column(1).to_vec();
            threshold = youden_threshold(&val.targets.has(1), &positive).unwrap_or(0.5);
        }
        head.threshold = threshold;
        if search.refit {
            let joined = Joined::new(train, val)?;
            let all = Prepared::new(&joined.examples(), classes, options)?;
            head = all.head(classes, &all.fit(point.c, &all.start(), options)?, threshold)?;
        }
        Ok(SearchResult { head, c: point.c, gradient: fit.gradient, grid })
    }
}

impl Criterion {
    fn prefers(self, new: &GridPoint, old: &GridPoint) -> bool {
        match (self, new.auc, old.auc) {
            (Criterion::Auc, Some(new_auc), Some(old_auc)) if new_auc != old_auc => new_auc > old_auc,
            _ => new.log_loss < old.log_loss,
        }
    }
}

/// The values of C in ascending order, without duplicates.
fn check_strengths(grid: &[f64]) -> Result<Vec<f64>, HeadError> {
    if let Some(c) = grid.iter().find(|c| !(c.is_finite() && **c > 0.0)) {
        return Err(HeadError::Strength(*c));
    }
    let mut sorted = grid.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    if sorted.is_empty() { Err(HeadError::EmptyGrid) } else { Ok(sorted) }
}

/// Parameters of each regression (one in total, or one per label).
#[derive(Clone)]
struct Fit {
    parameters: Vec<Vec<f64>>,
    gradient: f64,
    evaluations: usize,
}

/// Owned targets of one regression.
enum Target {
    Class { of: Vec<usize>, classes: usize },
    Binary { of: Vec<bool> },
}

/// One regression: its targets and class weights.
struct Problem {
    target: Target,
    /// Weight of each class, or of absence and presence of the label.
    class_weights: Vec<f64>,
}

impl Problem {
    fn new(target: Target, options: &FitOptions) -> Problem {
        let numbers = target.numbers();
        let k = match &target {
            Target::Class { classes, .. } => *classes,
            Target::Binary { .. } => 2,
        };
        let class_weights = match options.class_weights {
            ClassWeights::None => vec![1.0; k],
            ClassWeights::Balanced => (0..k)
                .map(|class| {
                    let found = numbers.iter().filter(|&&of| of == class).count();
                    numbers.len() as f64 / (k as f64 * found as f64)
                })
                .collect(),
        };
        Problem { target, class_weights }
    }

    fn sample_weights(&self) -> Vec<f64> {
        self.target.numbers().into_iter().map(|of| self.class_weights[of]).collect()
    }
}

impl Target {
    fn numbers(&self) -> Vec<usize> {
        match self {
            Target::Class { of, .. } => of.clone(),
            Target::Binary { of } => of.iter().map(|&of| usize::from(of)).collect(),
        }
    }

    fn outcome(&self) -> Outcome<'_> {
        match self {
            Target::Class { of, classes } => Outcome::Class { of, classes: *classes },
            Target::Binary { of } => Outcome::Binary { of },
        }
    }
}

/// Standardised training images.
struct Prepared {
    x: Array2<f64>,
    mean: Vec<f64>,
    std: Vec<f64>,
    problems: Vec<Problem>,
    multi_label: bool,
}

impl Prepared {
    fn new(train: &Examples<'_>, classes: &[String], options: &FitOptions) -> Result<Prepared, HeadError> {
        train.check_for_training(classes)?;
        let (x, mean, std) = standardise(train.features);
        let targets = match train.targets {
            Targets::Classes(of) if classes.len() > 2 => {
                vec![Target::Class { of: of.to_vec(), classes: classes.len() }]
            }
            Targets::Classes(_) => vec![Target::Binary { of: train.targets.has(1) }],
            Targets::Labels(_) => {
                (0..classes.len()).map(|label| Target::Binary { of: train.targets.has(label) }).collect()
            }
        };
        let problems = targets.into_iter().map(|target| Problem::new(target, options)).collect();
        Ok(Prepared { x, mean, std, problems, multi_label: train.targets.multi_label() })
    }

    fn start(&self) -> Vec<Vec<f64>> {
        self.problems
            .iter()
            .map(|problem| {
                let outputs = match problem.target {
                    Target::Class { classes, .. } => classes,
                    Target::Binary { .. } => 1,
                };
                vec![0.0; outputs * (self.x.ncols() + 1)]
            })
            .collect()
    }

    fn fit(&self, c: f64, start: &[Vec<f64>], options: &FitOptions) -> Result<Fit, HeadError> {
        let mut fit = Fit { parameters: Vec::new(), gradient: 0.0, evaluations: 0 };
        for (problem, start) in self.problems.iter().zip(start) {
            let mut weights = problem.sample_weights();
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|w| *w /= sum);
            let objective = Objective {
                x: self.x.view(),
                outcome: problem.target.outcome(),
                sample_weights: &weights,
                l2: 1.0 / (c * sum),
            };
            let minimum = minimise(&objective, start.clone(), options.tolerance, options.max_evaluations)?;
            log::debug!("C {c}: gradient {:.1e}, {} evaluations", minimum.gradient, minimum.evaluations);
            fit.gradient = fit.gradient.max(minimum.gradient);
            fit.evaluations += minimum.evaluations;
            fit.parameters.push(minimum.parameters);
        }
        Ok(fit)
    }

    fn head(&self, classes: &[String], fit: &Fit, threshold: f64) -> Result<LinearHead, HeadError> {
        let dim = self.x.ncols();
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for parameters in &fit.parameters {
            let (w, b) = parameters.split_at(parameters.len() / (dim + 1) * dim);
            if !self.multi_label && b.len() == 1 {
                weight.extend(w.iter().map(|w| -0.5 * w).chain(w.iter().map(|w| 0.5 * w)));
                bias.extend([-0.5 * b[0], 0.5 * b[0]]);
            } else {
                weight.extend_from_slice(w);
                bias.extend_from_slice(b);
            }
        }
        let parts = [self.mean.clone(), self.std.clone(), weight, bias];
        LinearHead::new(classes.to_vec(), self.multi_label, threshold, parts)
    }

    /// Cross entropy (classes weighted as in the fit) and macro AUC of `head` on `val`.
    fn validate(&self, head: &LinearHead, val: &Examples<'_>) -> Result<(f64, Option<f64>), HeadError> {
        let probabilities = head.probability_rows(val.features)?;
        let (mut loss, mut total) = (0.0, 0.0);
        let mut add = |p: f64, weight: f64| {
            loss -= weight * libm::log(p.max(PROBABILITY_FLOOR));
            total += weight;
        };
        match val.targets {
            Targets::Classes(of) => {
                for (row, &class) in probabilities.rows().into_iter().zip(of) {
                    add(row[class], self.problems[0].class_weights[class]);
                }
            }
            Targets::Labels(of) => {
                for ((row, label), &present) in of.indexed_iter() {
                    let p = probabilities[[row, label]];
                    let weight = self.problems[label].class_weights[usize::from(present)];
                    add(if present { p } else { 1.0 - p }, weight);
                }
            }
        }
        Ok((loss / total, macro_auc(&val.targets, probabilities.view())))
    }
}

/// Mean AUC of each class against the rest; with two classes, the AUC of the second.
fn macro_auc(targets: &Targets<'_>, probabilities: ArrayView2<'_, f64>) -> Option<f64> {
    let classes = probabilities.ncols();
    let first = usize::from(!targets.multi_label() && classes == 2);
    let sum: Option<f64> = (first..classes)
        .map(|class| {
            let ranked = AucScores::new(&probabilities.column(class).to_vec());
            ranked.auc(&targets.has(class), &vec![1; targets.len()])
        })
        .sum();
    sum.map(|sum| sum / (classes - first) as f64)
}

/// `(x - mean) / std`, with the mean and the population standard deviation of each column.
pub(crate) fn standardise(features: ArrayView2<'_, f32>) -> (Array2<f64>, Vec<f64>, Vec<f64>) {
    let n = features.nrows() as f64;
    let mut x = features.mapv(f64::from);
    let mut mean = vec![0.0; x.ncols()];
    for row in x.rows() {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += v);
    }
    mean.iter_mut().for_each(|m| *m /= n);
    let mut variance = vec![0.0; x.ncols()];
    for row in x.rows() {
        for ((s, v), m) in variance.iter_mut().zip(row).zip(&mean) {
            *s += (v - m) * (v - m);
        }
    }
    let std: Vec<f64> = variance
        .iter()
        .zip(&mean)
        .map(|(&sum, &mean)| {
            let variance = sum / n;
            // A variance that rounding of the mean can produce in a constant column; scikit-learn's bound.
            let rounding = n * f64::EPSILON * variance + (n * mean * f64::EPSILON).powi(2);
            if variance <= rounding { 1.0 } else { variance.sqrt() }
        })
        .collect();
    for mut row in x.rows_mut() {
        for ((v, m), s) in row.iter_mut().zip(&mean).zip(&std) {
            *v = (*v - m) / s;
        }
    }
    (x, mean, std)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` rows of four features; row `i` has class `i % classes`, which shows in the first two features.
    fn rows(n: usize, classes: usize, seed: usize) -> (Array2<f32>, Vec<usize>) {
        let noise = |i: usize, j: usize| (((i + seed) * 7919 + j * 104_729) % 1009) as f32 / 1009.0 - 0.5;
        let features = Array2::from_shape_fn((n, 4), |(i, j)| {
            let signal = if j < 2 { ((i % classes + j) % classes) as f32 } else { 0.0 };
            signal + 1.5 * noise(i, j)
        });
        (features, (0..n).map(|i| i % classes).collect())
    }

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|i| format!("class {i}")).collect()
    }

    #[test]
    fn a_refit_is_the_fit_on_both_sets_at_the_chosen_c() {
        let classes = names(3);
        let ((x, of), (val_x, val_of)) = (rows(60, 3, 0), rows(30, 3, 500));
        let train = Examples { features: x.view(), targets: Targets::Classes(&of) };
        let val = Examples { features: val_x.view(), targets: Targets::Classes(&val_of) };
        let options = FitOptions::default();
        let search = ProbeSearch { refit: true, ..ProbeSearch::default() };
        let found = LinearProbe::fit_best(&train, &val, &classes, &search, &options, &mut |_, _| {}).unwrap();
        let joined = Joined::new(&train, &val).unwrap();
        let direct = LinearProbe::fit(&joined.examples(), &classes, found.c, &options).unwrap();
        // Both end within the tolerance of the same minimum; the objective's curvature is at least 1 / (C n).
        let bound = 2.0 * options.tolerance * found.c * 90.0 + 1e-12;
        for (a, b) in found.head.weight().iter().zip(direct.weight()) {
            assert!((a - b).abs() <= bound, "{a} {b}");
        }
        assert_eq!(joined.examples().len(), 90);
    }

    #[test]
    fn the_criterion_decides_which_c_is_best() {
        let classes = names(2);
        let ((x, of), (val_x, val_of)) = (rows(80, 2, 0), rows(40, 2, 900));
        let train = Examples { features: x.view(), targets: Targets::Classes(&of) };
        let val = Examples { features: val_x.view(), targets: Targets::Classes(&val_of) };
        for criterion in [Criterion::LogLoss, Criterion::Auc] {
            let search = ProbeSearch { criterion, ..ProbeSearch::default() };
            let options = FitOptions::default();
            let found =
                LinearProbe::fit_best(&train, &val, &classes, &search, &options, &mut |_, _| {}).unwrap();
            let chosen = found.grid.iter().find(|point| point.c == found.c).unwrap();
            for point in &found.grid {
                match criterion {
                    Criterion::LogLoss => assert!(chosen.log_loss <= point.log_loss),
                    Criterion::Auc => assert!(chosen.auc.unwrap() >= point.auc.unwrap()),
                }
            }
        }
    }
}
