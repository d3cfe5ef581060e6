//! Numbers in, numbers out: slices and shapes; no model, no graph.

pub mod resample;
