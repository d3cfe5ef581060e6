//! Compute kernels on slices and shapes, without model or graph; those of the forward pass do not allocate.
//!
//! [`tile`] holds the micro-kernels of each instruction set, [`linear`] and [`attention`] are built on them, and the
//! rest works on one row at a time. An [`Isa`] selects the version that runs; all versions give the same bits (except
//! [`matmul`], which only conversion and training use). [`pool`] shares work between threads.

pub mod activation;
pub mod aligned;
pub mod attention;
mod isa;
pub(crate) mod linalg;
pub mod linear;
pub mod matmul;
pub mod norm;
mod output;
pub mod patches;
pub mod peak;
pub mod pool;
pub mod quantise;
pub mod reduce;
pub mod resample;
pub mod rope;
pub mod tile;

pub use isa::{Isa, IsaError, VARIABLE};
