//! Attestation at the start of a command that runs on.

use microraptor::Engine;
use microraptor::attest::{self, Reason, Subject};
use microraptor::heads::Head;
use serde_json::{Value, json};

use super::record::of;
use crate::cli::answering::Answering;
use crate::cli::args::StartArgs;
use crate::cli::loaded::Loaded;
use crate::cli::times::milliseconds;

/// This machine computes otherwise than the one that made the files.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Differs(String);

/// Compares what this machine computes with what the files store; what is said of it in the first line. `ok` is null if
/// nothing was compared.
///
/// # Errors
/// Whatever is computed otherwise, by the name of its file.
pub fn at_start(
    args: StartArgs,
    chosen: &Answering,
    engine: &Engine,
    heads: &[Loaded],
) -> anyhow::Result<Value> {
    if args.no_attest {
        return Ok(json!({"ok": null, "ms": 0.0, "left_out": ["--no-attest"]}));
    }
    let all: Vec<&Head> = heads.iter().map(|loaded| &*loaded.head).collect();
    let report = attest::check(engine, &all, chosen.cores()?)?;
    let name = |subject: &Subject| of(*subject, &chosen.model, heads);
    if let Some(check) = report.differing().next() {
        let problem = format!(
            "{}: this machine computes {check}: do not use its answers; `microraptor attest` shows every digest",
            name(&check.subject)
        );
        return Err(Differs(problem).into());
    }
    let left_out = |(subject, reason): &(Subject, Reason)| format!("{} {reason}", name(subject));
    let left_out: Vec<String> = report.left_out.iter().map(left_out).collect();
    let ok = report.is_equal().then_some(true);
    Ok(json!({"ok": ok, "ms": milliseconds(report.elapsed), "left_out": left_out}))
}
