//! Symmetric matrices: `X^T X`, and Cholesky factors. Blocks have a fixed size and each is computed on one thread, so
//! that no sum depends on the number of threads.

use rayon::prelude::*;

use crate::kernels::matmul::{Rhs, Shape, matmul};

/// Number of rows in a block. 128 rows of f32 with 3072 columns are 1.5 MiB: about the L2 of a core.
const BLOCK: usize = 128;

/// Transposes `[rows, cols]` to `[cols, rows]`.
pub(crate) fn transposed(x: &[f32], cols: usize) -> Vec<f32> {
    let rows = x.len() / cols;
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(16 * rows).enumerate().for_each(|(block, out)| {
        let first = 16 * block;
        for (r, row) in x.chunks_exact(cols).enumerate() {
            for (c, column) in out.chunks_exact_mut(rows).enumerate() {
                column[r] = row[first + c];
            }
        }
    });
    out
}

/// `X^T X / rows`, `[cols, cols]`, of `x: [rows, cols]`.
pub(crate) fn gram(x: &[f32], cols: usize) -> Vec<f32> {
    let rows = x.len() / cols;
    let columns = transposed(x, cols);
    let mut out = vec![0.0; cols * cols];
    out.par_chunks_mut(BLOCK * cols).enumerate().for_each(|(block, out)| {
        let first = block * BLOCK;
        let height = out.len() / cols;
        // The lower triangle; the rest follows by symmetry.
        let width = first + height;
        matmul(
            &columns[first * rows..],
            Shape::dense(height, rows),
            &columns,
            Shape::dense(width, rows),
            Rhs::Transposed,
            out,
            Shape { rows: height, cols: width, stride: cols },
            false,
            1.0 / rows as f32,
        );
    });
    for i in 0..cols {
        for j in 0..i {
            out[j * cols + i] = out[i * cols + j];
        }
    }
    out
}

/// Replaces `a: [n, n]` with its lower Cholesky factor (`a = L L^T`); values above the diagonal are not meaningful.
/// Returns false if `a` is not positive definite.
pub(crate) fn cholesky(a: &mut [f32], n: usize) -> bool {
    for first in (0..n).step_by(BLOCK) {
        let width = BLOCK.min(n - first);
        if !factor_diagonal(&mut a[first * n..], first, width, n) {
            return false;
        }
        let next = first + width;
        let (done, below) = a.split_at_mut(next * n);
        let diagonal = &done[first * n..];
        below.par_chunks_mut(n).for_each(|row| solve_row(diagonal, &mut row[first..next], first, n));
        let panel: Vec<f32> =
            below.par_chunks(n).flat_map_iter(|row| row[first..next].iter().copied()).collect();
        below.par_chunks_mut(BLOCK * n).enumerate().for_each(|(block, rows)| {
            let (from, height) = (block * BLOCK, rows.len() / n);
            let to = from + height;
            matmul(
                &panel[from * width..],
                Shape::dense(height, width),
                &panel,
                Shape::dense(to, width),
                Rhs::Transposed,
                &mut rows[next..],
                Shape { rows: height, cols: to, stride: n },
                true,
                -1.0,
            );
        });
    }
    true
}

/// Factors the `width` x `width` block whose rows begin at `a` and whose columns begin at `first`.
fn factor_diagonal(a: &mut [f32], first: usize, width: usize, n: usize) -> bool {
    for i in 0..width {
        for j in 0..=i {
            let (row_i, row_j) = (&a[i * n + first..][..j], &a[j * n + first..][..j]);
            let sum: f64 = row_i.iter().zip(row_j).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            let rest = f64::from(a[i * n + first + j]) - sum;
            a[i * n + first + j] = if i == j {
                // NaN is rejected too.
                if rest.is_nan() || rest <= 0.0 {
                    return false;
                }
                rest.sqrt() as f32
            } else {
                (rest / f64::from(a[j * n + first + j])) as f32
            };
        }
    }
    true
}

/// `row = row L^-T` for the factored block in `diagonal`.
fn solve_row(diagonal: &[f32], row: &mut [f32], first: usize, n: usize) {
    for j in 0..row.len() {
        let l = &diagonal[j * n + first..][..=j];
        let sum: f64 = row[..j].iter().zip(l).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        row[j] = ((f64::from(row[j]) - sum) / f64::from(l[j])) as f32;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `[rows, cols]` with correlated columns.
    pub fn correlated(rows: usize, cols: usize) -> Vec<f32> {
        // Uniform in -1..1, by the mixing function of splitmix64.
        let noise = |i: usize| {
            let z = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((z ^ (z >> 27)) >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut x = vec![0.0; rows * cols];
        for r in 0..rows {
            for c in 0..cols {
                let before = if c > 0 { x[r * cols + c - 1] } else { 0.0 };
                x[r * cols + c] = 0.8 * before + noise(r * cols + c);
            }
        }
        x
    }

    #[test]
    fn gram_and_its_factor_agree_with_the_definitions() {
        for (rows, cols) in [(7, 1), (300, 17), (600, 128), (700, 300)] {
            let x = correlated(rows, cols);
            let h = gram(&x, cols);
            for (i, j) in [(0, 0), (cols - 1, 0), (cols / 2, cols / 3), (0, cols - 1)] {
                let sum: f64 =
                    x.chunks_exact(cols).map(|row| f64::from(row[i]) * f64::from(row[j])).sum::<f64>();
                assert!(
                    (f64::from(h[i * cols + j]) - sum / rows as f64).abs() < 1e-4,
                    "{rows} {cols} {i} {j}"
                );
            }
            let mut l = h.clone();
            assert!(cholesky(&mut l, cols));
            for i in 0..cols {
                for j in 0..=i {
                    let dot: f64 =
                        (0..=j).map(|k| f64::from(l[i * cols + k]) * f64::from(l[j * cols + k])).sum();
                    // Backward stable: an error of n ulp of the diagonal (here about 2).
                    assert!((dot - f64::from(h[i * cols + j])).abs() < 2e-7 * cols as f64 + 1e-5);
                }
            }
        }
        assert!(!cholesky(&mut [1.0, 2.0, 2.0, 1.0], 2), "an eigenvalue is -1");
    }
}
