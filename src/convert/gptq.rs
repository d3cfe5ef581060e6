//! Weight rounding that takes the layer's inputs into account: GPTQ (arXiv 2210.17323).

use rayon::prelude::*;

use crate::kernels::linalg::cholesky;
use crate::kernels::matmul::{Rhs, Shape, matmul};
use crate::kernels::quantise::ROUND;
use crate::quant::Matrix;

/// Clipping ratios to try, as fractions of a row's largest magnitude.
const CLIPS: [f32; 9] = [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6];

/// Added to the Hessian's diagonal, as a fraction of its mean (GPTQ, section 3.3).
const DAMPING: f32 = 0.01;

/// Rows per task: enough for efficient matrix products, few enough that two cores can share 384 rows.
const ROWS: usize = 64;

/// Columns rounded one by one before their errors are propagated to the rest by a matrix product.
const COLUMNS: usize = 64;

/// The Cholesky factor of a layer's Hessian, in the order in which its columns are rounded.
pub(super) struct Factor {
    /// `[inputs]`: diagonal of the Hessian.
    diagonal: Vec<f32>,
    /// `[inputs]`: the layer's column at each position. The last position is rounded first.
    order: Vec<usize>,
    /// `[inputs, inputs]`, lower triangular.
    lower: Vec<f32>,
}

impl Factor {
    /// Factorises the Hessian `h`, `[inputs, inputs]`: `X^T X` of the layer's inputs, up to a constant factor.
    pub fn new(h: &[f32], inputs: usize) -> Factor {
        let diagonal: Vec<f32> = (0..inputs).map(|i| h[i * inputs + i]).collect();
        let mean = diagonal.iter().sum::<f32>() / inputs as f32;
        // Columns with the largest diagonal are rounded first, while most columns are left to compensate for their
        // error.
        let mut order: Vec<usize> = (0..inputs).collect();
        order.sort_by(|&a, &b| diagonal[a].total_cmp(&diagonal[b]).then(b.cmp(&a)));
        let mut damping = DAMPING;
        loop {
            let mut lower: Vec<f32> =
                order.iter().flat_map(|&i| order.iter().map(move |&j| h[i * inputs + j])).collect();
            // An all-zero Hessian means that the input is never present. Any positive diagonal then gives plain
            // rounding.
            let extra = (mean * damping).max(f32::MIN_POSITIVE.sqrt());
            (0..inputs).for_each(|i| lower[i * inputs + i] += extra);
            if cholesky(&mut lower, inputs) {
                return Factor { diagonal, order, lower };
            }
            damping *= 10.0;
        }
    }
}

/// For each row of `weight`, `[outputs, inputs]`, the scale that minimises the error of rounding to `-limit..=limit`,
/// with the columns weighted by `diagonal`.
pub(super) fn scales(weight: &[f32], diagonal: &[f32], limit: i8) -> Vec<f32> {
    let limit = f32::from(limit);
    let scale = |row: &[f32]| {
        let max = row.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
        if max < f32::MIN_POSITIVE * limit {
            return 1.0;
        }
        let mut best = (f32::INFINITY, max / limit);
        for clip in CLIPS {
            let scale = max * clip / limit;
            let e = rounding_error(row, diagonal, scale, limit);
            if e < best.0 {
                best = (e, scale);
            }
        }
        best.1
    };
    weight.par_chunks(diagonal.len()).map(scale).collect()
}

/// Weighted sum of squared errors of `row` at `scale`, in sixteen partial sums so that the compiler can vectorise it.
fn rounding_error(row: &[f32], diagonal: &[f32], scale: f32, limit: f32) -> f32 {
    let inverse = 1.0 / scale;
    let one = |w: f32, d: f32| {
        let e = w - integer((w * inverse).clamp(-limit, limit)) * scale;
        e * e * d
    };
    let (rows, diagonals) = (row.chunks_exact(16), diagonal.chunks_exact(16));
    let rest = rows.remainder().iter().zip(diagonals.remainder()).map(|(&w, &d)| one(w, d));
    let rest: f32 = rest.sum();
    let mut sums = [0.0; 16];
    for (row, diagonal) in rows.zip(diagonals) {
        for (sum, (&w, &d)) in sums.iter_mut().zip(row.iter().zip(diagonal)) {
            *sum += one(w, d);
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Rounds to the nearest integer, ties to even, for magnitudes below 2^22. Without SSE4.1, which not every x86-64 CPU
/// has, `round_ties_even` is a function call per value.
pub(super) fn integer(v: f32) -> f32 {
    (v + ROUND) - ROUND
}

/// Rounds each weight independently.
pub(super) fn nearest(weight: &[f32], scales: &[f32], limit: i8) -> Vec<i8> {
    let inputs = weight.len() / scales.len();
    let rows = weight.par_chunks(inputs).zip(scales);
    rows.flat_map_iter(|(row, &s)| row.iter().map(move |w| level(w / s, limit))).collect()
}

fn level(v: f32, limit: i8) -> i8 {
    let limit = f32::from(limit);
    integer(v.clamp(-limit, limit)) as i8
}

/// Rounds `weight`, `[outputs, inputs]`, to `-limit..=limit` so that the layer's outputs change least.
///
/// With `H = L L^T` the squared error of a row is `|(w - q) L|^2`, whose component `k` does not depend on columns
/// before `k`. Columns are therefore rounded from last to first, each compensating for what the errors of later columns
/// add to its component. This is GPTQ without the inverse of H (QuIP, arXiv 2307.13304, theorem 6).
pub(super) fn round(weight: &[f32], factor: &Factor, limit: i8) -> Matrix {
    let inputs = factor.order.len();
    let scales = scales(weight, &factor.diagonal, limit);
    let mut values = vec![0; weight.len()];
    values
        .par_chunks_mut(ROWS * inputs)
        .zip(weight.par_chunks(ROWS * inputs))
        .zip(scales.par_chunks(ROWS))
        .for_each(|((values, weight), scales)| round_rows(weight, factor, limit, scales, values));
    Matrix::Int8 { values, scales }
}

/// [`round`] for the rows of one task.
fn round_rows(weight: &[f32], factor: &Factor, limit: i8, scales: &[f32], values: &mut [i8]) {
    let Factor { order, lower, .. } = factor;
    let (inputs, rows) = (order.len(), scales.len());
    // Errors so far, `[rows, inputs]`, in the factor's column order.
    let mut errors = vec![0.0; rows * inputs];
    let mut carried = vec![0.0; rows * COLUMNS];
    for end in (1..=inputs.div_ceil(COLUMNS)).rev() {
        let (first, end) = ((end - 1) * COLUMNS, (end * COLUMNS).min(inputs));
        let width = end - first;
        // Contribution of the errors of later columns to this block of columns.
        let carried = &mut carried[..rows * width];
        carried.fill(0.0);
        if end < inputs {
            matmul(
                &errors[end..],
                Shape { rows, cols: inputs - end, stride: inputs },
                &lower[end * inputs + first..],
                Shape { rows: inputs - end, cols: width, stride: inputs },
                Rhs::Plain,
                carried,
                Shape::dense(rows, width),
                false,
                1.0,
            );
        }
        for row in 0..rows {
            let (scale, inverse) = (scales[row], 1.0 / scales[row]);
            let carried = &mut carried[row * width..(row + 1) * width];
            for k in (0..width).rev() {
                let (at, l) = (row * inputs + order[first + k], &lower[(first + k) * inputs + first..]);
                let w = weight[at];
                let q = level((w + carried[k] / l[k]) * inverse, limit);
                values[at] = q;
                let e = w - f32::from(q) * scale;
                errors[row * inputs + first + k] = e;
                carried[..k].iter_mut().zip(l).for_each(|(c, l)| *c += e * l);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::linalg::{gram, tests::correlated};

    /// Mean over rows of `(w - q) H (w - q)^T`.
    fn error(weight: &[f32], values: &[i8], scales: &[f32], h: &[f32], inputs: usize) -> f64 {
        let mut sum = 0.0;
        for (r, scale) in scales.iter().enumerate() {
            let e: Vec<f64> = (0..inputs)
                .map(|c| f64::from(weight[r * inputs + c] - f32::from(values[r * inputs + c]) * scale))
                .collect();
            for i in 0..inputs {
                for j in 0..inputs {
                    sum += e[i] * f64::from(h[i * inputs + j]) * e[j];
                }
            }
        }
        sum / scales.len() as f64
    }

    fn weights(outputs: usize, inputs: usize) -> Vec<f32> {
        (0..outputs * inputs).map(|i| ((i * 31 % 977) as f32 * 0.61).sin() * 0.1).collect()
    }

    #[test]
    fn errs_less_than_plain_rounding_on_correlated_inputs() {
        for (outputs, inputs) in [(3, 5), (70, 65), (10, 200)] {
            let x = correlated(500, inputs);
            let (h, w) = (gram(&x, inputs), weights(outputs, inputs));
            for limit in [7, 63, 127] {
                let factor = Factor::new(&h, inputs);
                let Matrix::Int8 { values, scales } = round(&w, &factor, limit) else { unreachable!() };
                assert!(values.iter().all(|v| (-limit..=limit).contains(v)));
                let ours = error(&w, &values, &scales, &h, inputs);
                let plain = error(&w, &nearest(&w, &scales, limit), &scales, &h, inputs);
                // Neighbouring inputs correlate by 0.8, which halves the error. The gain is smaller where clipping
                // dominates the error (limit 7), and may vanish for three rows of five.
                let share = if inputs < 10 {
                    1.0
                } else if limit < 63 {
                    0.9
                } else {
                    0.8
                };
                assert!(ours <= share * plain, "{outputs} {inputs} {limit}: {ours} {plain}");
            }
        }
    }

    /// Against all 3^4 roundings of each row of four: on average GPTQ closes more than 70% of the gap between plain
    /// rounding and the best.
    #[test]
    fn is_close_to_the_best_of_all_roundings() {
        let inputs = 4;
        let x = correlated(200, inputs);
        let (h, w) = (gram(&x, inputs), weights(40, inputs));
        let factor = Factor::new(&h, inputs);
        let Matrix::Int8 { values, scales } = round(&w, &factor, 7) else { unreachable!() };
        let (mut ours_sum, mut best_sum, mut plain_sum) = (0.0, 0.0, 0.0);
        let plain = nearest(&w, &scales, 7);
        for r in 0..40 {
            let row = r * inputs..(r + 1) * inputs;
            let of = |v: &[i8]| error(&w[row.clone()], v, &scales[r..=r], &h, inputs);
            let best = (0..81)
                .map(|code: i32| {
                    let step = |i: usize| (code / 3_i32.pow(i as u32) % 3 - 1) as i8;
                    let v: Vec<i8> =
                        (0..inputs).map(|i| (plain[row.start + i] + step(i)).clamp(-7, 7)).collect();
                    of(&v)
                })
                .fold(f64::INFINITY, f64::min);
            let ours = of(&values[row.clone()]);
            assert!(ours >= best - 1e-12);
            (ours_sum, best_sum, plain_sum) =
                (ours_sum + ours, best_sum + best, plain_sum + of(&plain[row.clone()]));
        }
        assert!(ours_sum - best_sum < 0.3 * (plain_sum - best_sum), "{ours_sum} {best_sum} {plain_sum}");
    }

    #[test]
    fn survives_inputs_that_are_never_there() {
        let factor = Factor::new(&[0.0; 9], 3);
        let Matrix::Int8 { values, scales } = round(&[0.5, -1.0, 0.25, 0.0, 0.0, 0.0], &factor, 127) else {
            unreachable!()
        };
        assert!(scales.iter().all(|&s| s > 0.0 && s.is_finite()));
        assert_eq!((values[1], &values[3..]), (-127, &[0, 0, 0][..]));
    }
}
