//! The trial of an ONNX graph, in a build without ONNX.

use super::args::TrialArgs;

/// Nothing is tried out.
pub fn begin() {}

/// Nothing can be tried out.
pub fn run(_: &TrialArgs) -> anyhow::Result<()> {
    anyhow::bail!("this build cannot read ONNX (it was built with --no-default-features)")
}
