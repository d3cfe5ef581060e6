//! L2-regularised logistic regression: objective and minimisation, in f64.

use std::cell::{Cell, RefCell};

use argmin::core::{CostFunction, Error, Executor, Gradient, IterState};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use crate::heads::HeadError;
use crate::heads::probability::{sigmoid, softmax};

/// Number of correction pairs that L-BFGS keeps, as in SciPy (and so in scikit-learn).
const MEMORY: usize = 10;

/// Rows evaluated together: at 1536 features they take 384 KiB, which is read twice from a core's cache.
const BLOCK: usize = 32;

/// Number of times L-BFGS restarts from the best point after rounding errors made a line search fail.
const RESTARTS: usize = 5;

/// Evaluations without a lower cost after which a line search counts as failed; a normal one takes one to five.
const PATIENCE: usize = 12;

/// Largest gradient norm that is accepted when double precision allows no smaller one.
const ACCEPTED_GRADIENT: f64 = 1e-6;

/// The dependent variable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome<'a> {
    /// Softmax over `classes`; `of[i]` is the class of row `i`.
    Class { of: &'a [usize], classes: usize },
    /// One sigmoid; `of[i]` is whether row `i` is positive.
    Binary { of: &'a [bool] },
}

/// `sum_i s_i loss_i + 1/(2C) |w|^2`, divided by the sum of the sample weights `s`, as a function of
/// `[w (outputs x dim), bias (outputs)]`. The bias is not penalised. Multiplied by C, the undivided sum is
/// scikit-learn's `LogisticRegression` objective, so C has the same meaning; the division makes the gradient tolerance
/// independent of the number of images.
pub(crate) struct Objective<'a> {
    /// Standardised features `[n, dim]`.
    pub x: ArrayView2<'a, f64>,
    /// Targets of the `n` rows.
    pub outcome: Outcome<'a>,
    /// Weight of each row; the weights sum to one.
    pub sample_weights: &'a [f64],
    /// `1 / (C * sum of the weights before normalisation)`.
    pub l2: f64,
}

impl Objective<'_> {
    fn outputs(&self) -> usize {
        match self.outcome {
            Outcome::Class { classes, .. } => classes,
            Outcome::Binary { .. } => 1,
        }
    }

    /// Value and gradient at `parameters`.
    ///
    /// Blocks of rows run on the thread pool and are summed in order: the same bits with any number of threads.
    fn evaluate(&self, parameters: &[f64]) -> (f64, Vec<f64>) {
        let dim = self.x.ncols();
        let weights = &parameters[..self.outputs() * dim];
        let blocks: Vec<(f64, Vec<f64>)> = (0..self.x.nrows().div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| self.evaluate_block(parameters, block * BLOCK))
            .collect();
        let penalty: f64 = weights.iter().map(|w| w * w).sum();
        let mut cost = 0.5 * self.l2 * penalty;
        let mut gradient = vec![0.0; parameters.len()];
        for (g, w) in gradient.iter_mut().zip(weights) {
            *g = self.l2 * w;
        }
        for (loss, part) in blocks {
            cost += loss;
            gradient.iter_mut().zip(part).for_each(|(g, part)| *g += part);
        }
        (cost, gradient)
    }

    /// Loss of the rows from `first` on, at most [`BLOCK`], and its gradient.
    fn evaluate_block(&self, parameters: &[f64], first: usize) -> (f64, Vec<f64>) {
        let dim = self.x.ncols();
        let outputs = self.outputs();
        let last = (first + BLOCK).min(self.x.nrows());
        let x = self.x.slice(s![first..last, ..]);
        let (w, bias) = parameters.split_at(outputs * dim);
        let w = ArrayView2::from_shape((outputs, dim), w).expect("length was split so");
        let mut residual = Array2::<f64>::zeros((x.nrows(), outputs));
        if outputs == 1 {
            residual.column_mut(0).assign(&x.dot(&w.row(0)));
        } else {
            general_mat_mul(1.0, &x, &w.t(), 0.0, &mut residual);
        }
        let mut loss = 0.0;
        for (i, mut row) in (first..last).zip(residual.rows_mut()) {
            let z = row.as_slice_mut().expect("standard layout");
            z.iter_mut().zip(bias).for_each(|(z, b)| *z += b);
            let weight = self.sample_weights[i];
            loss += weight
                * match self.outcome {
                    Outcome::Class { of, .. } => softmax_residual(z, of[i]),
                    Outcome::Binary { of } => sigmoid_residual(&mut z[0], of[i]),
                };
            z.iter_mut().for_each(|r| *r *= weight);
        }
        let mut gradient = vec![0.0; parameters.len()];
        let (gw, gb) = gradient.split_at_mut(outputs * dim);
        let mut gw = ArrayViewMut2::from_shape((outputs, dim), gw).expect("length was split so");
        if outputs == 1 {
            for (row, &r) in x.rows().into_iter().zip(&residual) {
                gw.row_mut(0).scaled_add(r, &row);
            }
        } else {
            general_mat_mul(1.0, &residual.t(), &x, 0.0, &mut gw);
        }
        gb.copy_from_slice(residual.sum_axis(Axis(0)).as_slice().expect("standard layout"));
        (loss, gradient)
    }
}

/// Cross entropy of the logits `z` for class `of`; `z` becomes the derivative, `softmax(z) - one_hot(of)`.
fn softmax_residual(z: &mut [f64], of: usize) -> f64 {
    let target = z[of];
    let log_sum = softmax(z);
    z[of] -= 1.0;
    log_sum - target
}

/// Cross entropy of one logit; `z` becomes the derivative, `sigmoid(z) - of`.
fn sigmoid_residual(z: &mut f64, of: bool) -> f64 {
    let signed = if of { -*z } else { *z };
    let loss = signed.max(0.0) + libm::log1p(libm::exp(-signed.abs()));
    *z = if of { -sigmoid(-*z) } else { sigmoid(*z) };
    loss
}

/// The minimum that the optimiser found.
#[derive(Clone, Debug)]
pub(crate) struct Minimum {
    /// `[w (outputs x dim), bias (outputs)]`
    pub parameters: Vec<f64>,
    /// Euclidean norm of the objective's gradient at the minimum.
    pub gradient: f64,
    /// Number of evaluations of the objective.
    pub evaluations: usize,
}

/// A point with the value and gradient of the objective.
#[derive(Clone)]
struct Evaluated {
    at: Vec<f64>,
    cost: f64,
    gradient: Vec<f64>,
    norm: f64,
}

/// The objective as argmin sees it. argmin requests cost and gradient separately, and the accepted point's gradient
/// once more, so this keeps the last evaluation. It also keeps the evaluation with the smallest gradient, which for a
/// convex function is the nearest to the minimum.
struct Evaluator<'a> {
    objective: &'a Objective<'a>,
    /// The point from which costs are measured, see [`Evaluator::cost`].
    origin: Option<Evaluated>,
    last: RefCell<Option<Evaluated>>,
    best: RefCell<Option<Evaluated>>,
    lowest: Cell<f64>,
    since_lowest: Cell<usize>,
    evaluations: Cell<usize>,
    limit: usize,
}

impl Evaluator<'_> {
    fn at<T>(&self, parameters: &[f64], take: impl Fn(&Evaluated) -> T) -> Result<T, Error> {
        if let Some(last) = self.last.borrow().as_ref().filter(|last| last.at == parameters) {
            return Ok(take(last));
        }
        if self.evaluations.get() >= self.limit {
            return Err(Error::msg("evaluation limit reached"));
        }
        if self.since_lowest.get() >= PATIENCE {
            return Err(Error::msg("lost in rounding"));
        }
        self.evaluations.set(self.evaluations.get() + 1);
        let (cost, gradient) = self.objective.evaluate(parameters);
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        if !cost.is_finite() || !norm.is_finite() {
            return Err(Error::msg("the objective overflowed"));
        }
        let cost = self.cost(parameters, cost, &gradient);
        if cost < self.lowest.get() {
            self.lowest.set(cost);
            self.since_lowest.set(0);
        } else {
            self.since_lowest.set(self.since_lowest.get() + 1);
        }
        let evaluated = Evaluated { at: parameters.to_vec(), cost, gradient, norm };
        let answer = take(&evaluated);
        if self.best.borrow().as_ref().is_none_or(|best| norm < best.norm) {
            self.best.replace(Some(evaluated.clone()));
        }
        self.last.replace(Some(evaluated));
        Ok(answer)
    }

    /// Near the minimum, costs differ by less than their rounding error long before the gradient is zero, and a line
    /// search that compares them fails. After a restart, the cost is therefore the difference from the origin by the
    /// trapezoidal rule, `(g0 + g) (x - x0) / 2`: its error is of third order in the distance, which is tiny by then,
    /// and its rounding error is relative to the difference itself.
    fn cost(&self, parameters: &[f64], cost: f64, gradient: &[f64]) -> f64 {
        let Some(origin) = &self.origin else { return cost };
        let moved = parameters.iter().zip(&origin.at).map(|(x, x0)| x - x0);
        let slope = gradient.iter().zip(&origin.gradient).map(|(g, g0)| 0.5 * (g + g0));
        moved.zip(slope).map(|(moved, slope)| moved * slope).sum()
    }
}

impl CostFunction for &Evaluator<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, parameters: &Vec<f64>) -> Result<f64, Error> {
        self.at(parameters, |e| e.cost)
    }
}

impl Gradient for &Evaluator<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, parameters: &Vec<f64>) -> Result<Vec<f64>, Error> {
        self.at(parameters, |e| e.gradient.clone())
    }
}

/// Minimises `objective` from `start` by L-BFGS (Liu and Nocedal 1989) with the line search of More and Thuente.
///
/// The objective is strongly convex in the weights with modulus `l2`, so their distance from the minimum is at most
/// about `gradient / l2`.
///
/// # Errors
/// [`HeadError::NotConverged`] when the final gradient norm is above both `tolerance` and 1e-6.
pub(crate) fn minimise<'a>(
    objective: &'a Objective<'a>,
    start: Vec<f64>,
    tolerance: f64,
    max_evaluations: usize,
) -> Result<Minimum, HeadError> {
    let mut evaluator = Evaluator {
        objective,
        origin: None,
        last: RefCell::new(None),
        best: RefCell::new(None),
        lowest: Cell::new(f64::INFINITY),
        since_lowest: Cell::new(0),
        evaluations: Cell::new(0),
        limit: max_evaluations,
    };
    let mut from = start;
    let mut norm = f64::INFINITY;
    for _ in 0..=RESTARTS {
        let solver = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY)
            .with_tolerance_grad(tolerance)
            .and_then(|s| s.with_tolerance_cost(0.0))
            .expect("both tolerances are at least zero");
        // argmin's result is ignored: its state is incomplete after a failed line search, which is the normal end near
        // the minimum.
        let _ = Executor::new(&evaluator, solver)
            .configure(|state: IterState<Vec<f64>, Vec<f64>, (), (), (), f64>| {
                state.param(from.clone()).max_iters(max_evaluations as u64)
            })
            .ctrlc(false)
            .run();
        let Some(best) = evaluator.best.borrow().clone() else { break };
        let before = std::mem::replace(&mut norm, best.norm);
        if norm <= tolerance || norm >= before || evaluator.evaluations.get() >= max_evaluations {
            break;
        }
        from.clone_from(&best.at);
        evaluator.origin = Some(best);
        evaluator.last.replace(None);
        evaluator.lowest.set(f64::INFINITY);
        evaluator.since_lowest.set(0);
    }
    let evaluations = evaluator.evaluations.get();
    match evaluator.best.into_inner() {
        Some(Evaluated { at, norm, .. }) if norm <= tolerance.max(ACCEPTED_GRADIENT) => {
            Ok(Minimum { parameters: at, gradient: norm, evaluations })
        }
        best => Err(HeadError::NotConverged {
            gradient: best.map_or(f64::INFINITY, |best| best.norm),
            tolerance: tolerance.max(ACCEPTED_GRADIENT),
            evaluations,
        }),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_gradient_is_the_derivative() {
        let x = array![[0.3, -1.2], [2.0, 0.1], [-0.7, 0.9], [1.1, 1.3]];
        let weights = [0.1, 0.2, 0.3, 0.4];
        let outcomes = [
            Outcome::Class { of: &[0, 1, 2, 1], classes: 3 },
            Outcome::Binary { of: &[true, false, false, true] },
        ];
        for outcome in outcomes {
            let objective = Objective { x: x.view(), outcome, sample_weights: &weights, l2: 0.05 };
            let at: Vec<f64> = (0..3 * objective.outputs()).map(|i| (i as f64 * 0.7).sin()).collect();
            let (_, gradient) = objective.evaluate(&at);
            for i in 0..at.len() {
                // Central difference: h^2 times the third derivative, plus rounding error / h: about 1e-10 here.
                let h = 1e-5;
                let value = |delta: f64| {
                    let mut moved = at.clone();
                    moved[i] += delta;
                    objective.evaluate(&moved).0
                };
                let numeric = (value(h) - value(-h)) / (2.0 * h);
                assert!((numeric - gradient[i]).abs() < 1e-9, "{i}: {numeric} {}", gradient[i]);
            }
        }
    }

    #[test]
    fn sigmoid_and_softmax_survive_huge_logits() {
        assert_eq!(sigmoid(1e4), 1.0);
        assert_eq!(sigmoid(-1e4), 0.0);
        let mut z = [1e4, -1e4, 1e4];
        assert!((softmax(&mut z) - (1e4 + 2f64.ln())).abs() < 1e-9);
        assert_eq!(z, [0.5, 0.0, 0.5]);
        let mut z = -1e4;
        assert_eq!(sigmoid_residual(&mut z, true), 1e4);
        assert_eq!(z, -1.0);
    }
}
