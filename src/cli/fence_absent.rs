//! The fence of JPEG 2000, in a build that does not read it.

use std::process::ExitCode;

use super::args::Jpeg2000Args;
use super::failure::FAILURE;
use super::limits::Jpeg2000;

/// Does nothing.
pub fn begin(_: Option<Jpeg2000>) -> anyhow::Result<()> {
    Ok(())
}

/// Fails.
pub fn run(_: &Jpeg2000Args) -> ExitCode {
    ExitCode::from(FAILURE)
}
