//! Attestation when a model, or a pipeline with heads, is opened.

use super::status::{Failure, Status};
use crate::attest::check;
use crate::board::Cores;
use crate::engine::Engine;
use crate::heads::Head;

/// Compares what this machine computes with what the files of `engine` and `heads` store; what stores nothing is left out.
///
/// # Errors
/// [`Status::Attest`] if something is computed otherwise, [`Status::Run`] if it cannot be run.
pub(super) fn attest(engine: &Engine, heads: &[&Head], cores: impl Into<Cores>) -> Result<(), Failure> {
    let report = check(engine, heads, cores).map_err(|error| Failure::new(Status::Run, error))?;
    match report.differing().next() {
        None => Ok(()),
        Some(check) => {
            let text = format!("{}: this machine computes {check}", engine.about().name);
            Err(Failure::new(Status::Attest, text))
        }
    }
}
