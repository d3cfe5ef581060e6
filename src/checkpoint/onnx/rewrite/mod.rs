//! Rewrites a file's graph into the operators that tract runs and recognition knows, without changing what it computes.

mod attention;
mod float;
mod fused;
mod half;
mod nbits;
mod nodes;
mod tidy;

pub(super) use float::twin;

use tract_onnx::pb::ModelProto;

/// Rewrites `proto`; returns a line for people about each change that they should know of.
pub(super) fn equivalent(proto: &mut ModelProto) -> Vec<String> {
    let Some(graph) = &mut proto.graph else { return Vec::new() };
    let mut notes = Vec::new();
    tidy::inputs(graph);
    notes.extend(half::widen(graph));
    tidy::identities(graph);
    notes.extend(nbits::expand(graph));
    attention::expand(graph);
    fused::expand(graph);
    notes
}
