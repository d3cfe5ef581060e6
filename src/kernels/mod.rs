//! Numbers in, numbers out: slices and shapes; no model, no graph, no allocation.
//!
//! These are the f32 kernels. Every function that takes `threads` splits its rows into that many parts and runs them
//! on the current rayon pool; with 1 it never touches a pool. The split never changes a result: each row is computed
//! by the same sequence of operations whoever computes it (matrix products excepted: see [`matmul`]).

pub mod activation;
pub mod aligned;
pub mod attention;
mod isa;
pub mod lanes;
pub mod linear;
pub mod matmul;
pub mod norm;
pub mod patches;
pub mod pool;
pub mod quantise;
pub mod resample;
pub mod rope;
pub mod tile;

pub use isa::{Isa, IsaError, VARIABLE};

use rayon::prelude::*;

/// Calls `f(first_row, rows)` on `threads` nearly equal parts of `data`, `[rows, width]`.
fn for_row_parts(data: &mut [f32], width: usize, threads: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = data.len() / width;
    if threads <= 1 || rows <= 1 {
        f(0, data);
        return;
    }
    let part = rows.div_ceil(threads);
    data.par_chunks_mut(part * width).enumerate().for_each(|(i, rows)| f(i * part, rows));
}
