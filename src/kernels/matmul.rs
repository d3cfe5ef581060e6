//! Matrix products in f32, computed by the `gemm-f32` crate.
//!
//! For conversion and training. Each product runs on the caller's thread; callers parallelise over whole products. The
//! crate's blocking, and with it the rounding of a sum, depends on the CPU. Inference uses [`super::linear`].

use gemm_common::Parallelism;

/// Shape of a strided matrix inside a slice.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance between rows, in elements; columns are contiguous.
    pub stride: usize,
}

impl Shape {
    /// A matrix whose rows are contiguous.
    pub const fn dense(rows: usize, cols: usize) -> Shape {
        Shape { rows, cols, stride: cols }
    }

    fn fits(&self, len: usize) -> bool {
        self.rows == 0 || self.cols == 0 || {
            self.cols <= self.stride
                && (self.rows - 1)
                    .checked_mul(self.stride)
                    .and_then(|n| n.checked_add(self.cols))
                    .is_some_and(|n| n <= len)
        }
    }
}

/// Layout of the right-hand side: as it is, `[k, n]`, or transposed, `[n, k]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhs {
    /// `[k, n]`
    Plain,
    /// `[n, k]`, as weights are stored.
    Transposed,
}

/// `out = alpha * lhs * rhs`, or `out += alpha * lhs * rhs` if `accumulate`; `lhs: [m, k]`, `out: [m, n]`.
///
/// # Panics
/// If a shape does not fit its slice or the shapes do not agree.
#[expect(clippy::too_many_arguments, reason = "three matrices, their shapes and two scalars, as in BLAS")]
pub fn matmul(
    lhs: &[f32],
    lhs_shape: Shape,
    rhs: &[f32],
    rhs_shape: Shape,
    layout: Rhs,
    out: &mut [f32],
    out_shape: Shape,
    accumulate: bool,
    alpha: f32,
) {
    let (k, n) = match layout {
        Rhs::Plain => (rhs_shape.rows, rhs_shape.cols),
        Rhs::Transposed => (rhs_shape.cols, rhs_shape.rows),
    };
    assert!(lhs_shape.cols == k && out_shape.rows == lhs_shape.rows && out_shape.cols == n);
    assert!(lhs_shape.fits(lhs.len()) && rhs_shape.fits(rhs.len()) && out_shape.fits(out.len()));
    let (rhs_column, rhs_row) = match layout {
        Rhs::Plain => (1, rhs_shape.stride as isize),
        Rhs::Transposed => (rhs_shape.stride as isize, 1),
    };
    let product = gemm_f32::gemm::f32::get_gemm_fn();
    // The crate's kernels store columns. Our rows are contiguous, so it computes the transposed product, `rhs^T lhs^T`:
    // for row-major stores it takes an element-wise path, 9% slower over ViT-S at 224 px.
    // SAFETY: each matrix lies inside its slice (`fits`, asserted above), the sizes agree (asserted above), and `out`
    // is borrowed mutably, so it overlaps neither input. The crate chose the function for this CPU.
    unsafe {
        product(
            n,
            out_shape.rows,
            k,
            out.as_mut_ptr(),
            out_shape.stride as isize,
            1,
            accumulate,
            rhs.as_ptr(),
            rhs_row,
            rhs_column,
            lhs.as_ptr(),
            lhs_shape.stride as isize,
            1,
            if accumulate { 1.0 } else { 0.0 },
            alpha,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// `out = x W^T + bias`: `x: [m, k]`, `weight: [n, k]`, `bias: [n]`, `out: [m, n]`.
///
/// # Panics
/// If the lengths do not agree.
pub fn linear(x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    for row in out.chunks_exact_mut(bias.len()) {
        row.copy_from_slice(bias);
    }
    accumulate(x, weight, bias.len(), out);
}

/// `out += x W^T`: `x: [m, k]`, `weight: [n, k]`, `out: [m, n]`.
///
/// # Panics
/// If the lengths do not agree.
pub fn accumulate(x: &[f32], weight: &[f32], n: usize, out: &mut [f32]) {
    let (k, m) = (weight.len() / n, out.len() / n);
    assert!(weight.len() == n * k && x.len() == m * k && out.len() == m * n);
    matmul(
        x,
        Shape::dense(m, k),
        weight,
        Shape::dense(n, k),
        Rhs::Transposed,
        out,
        Shape::dense(m, n),
        true,
        1.0,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers: every order of summation gives the exact result.
    fn integers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed) % 17) as f32 - 8.0).collect()
    }

    #[test]
    fn agrees_with_the_definition_on_every_tail() {
        for (m, n, k) in [(1, 1, 1), (1, 17, 3), (5, 33, 64), (13, 7, 100), (64, 48, 31), (70, 129, 65)] {
            let (x, w, bias) = (integers(m * k, 1), integers(n * k, 2), integers(n, 3));
            let before = integers(m * n, 4);
            let mut plain = vec![f32::NAN; m * n];
            linear(&x, &w, &bias, &mut plain);
            let mut residual = before.clone();
            accumulate(&x, &w, n, &mut residual);
            for i in 0..m {
                for j in 0..n {
                    let dot: f32 = (0..k).map(|l| x[i * k + l] * w[j * k + l]).sum();
                    assert_eq!(plain[i * n + j], dot + bias[j], "{m} {n} {k}");
                    assert_eq!(residual[i * n + j], before[i * n + j] + dot);
                }
            }
        }
    }
}
