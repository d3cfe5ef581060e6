//! GemmTypes in, numbers out: slices and shapes; no model, no graph, no allocation.
//!
//! [`tile`] holds the micro-kernels of each instruction set, [`linear`] and [`attention`] are built on them, and the rest
//! works on one row at a time. An [`Isa`] says which version runs; all versions give the same bits ([`matmul`], the
//! converter's own products, excepted). [`pool`] shares work between threads.

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
