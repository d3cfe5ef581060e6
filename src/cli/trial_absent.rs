//! The trial of an ONNX graph, in a build without ONNX.

use super::args::TrialArgs;

/// Does nothing.
pub fn begin() {}

/// Returns an error.
pub fn run(_: &TrialArgs) -> anyhow::Result<()> {
    anyhow::bail!("this build cannot read ONNX (it was built with --no-default-features)")
}
