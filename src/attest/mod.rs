//! Attestation: whether this machine computes, to the bit, what was computed when a model and its heads were validated.
//!
//! The features of a backbone that our encoder runs have the same bits on every instruction set and for any number of
//! threads, and so have the answers of our heads. One digest therefore serves every device. [`of_model`] makes the digests
//! that a model file stores, [`of_head`] that of a head, and [`check`] compares them with what this machine computes: it
//! makes the pictures (integer arithmetic alone), resizes and normalises them, runs the backbone at two sizes, and applies
//! the heads. The plans and the memory of these runs are freed afterwards. docs/trust.md says what this proves, and what not.
//!
//! ```
//! # #[cfg(feature = "demo")] {
//! use microraptor::{Engine, Isa, attest};
//!
//! let engine = Engine::demo(Isa::preferred()?)?;
//! let report = attest::check(&engine, &[], 1)?;
//! assert!(report.is_equal());
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answers;
mod error;
mod pictures;
mod report;
mod run;
#[cfg(test)]
mod tests;

use std::time::Instant;

pub use error::AttestError;
pub use report::{Check, Part, Reason, Report, Subject};

use crate::board::Cores;
use crate::engine::Engine;
use crate::heads::{Head, HeadAttestation};
use crate::kernels::Isa;
use crate::quant::{Attestation, AttestedRun};
use run::{Made, run};

/// Version of the pictures, of the sizes, and of what is digested.
pub const VERSION: u32 = 1;

/// Seed of the pictures of what is made here.
const SEED: u64 = 1;

/// What `engine` computes of the pictures; `None` if its bits need not be the same on every machine, since tract runs a
/// part of it.
///
/// # Errors
/// [`AttestError::Engine`] if the engine cannot be run.
pub fn of_model(engine: &Engine) -> Result<Option<Attestation>, AttestError> {
    if !engine.is_exact() {
        return Ok(None);
    }
    let made = run(&mut engine.session(1)?, SEED, &[])?;
    let runs = made.into_iter().map(|made| made.run).collect();
    Ok(Some(Attestation { version: VERSION, seed: SEED, runs }))
}

/// What `head` answers to the pictures on `engine`, the backbone that it was trained on; `None` if its bits need not be the
/// same on every machine, since tract runs a part of either.
///
/// # Errors
/// [`AttestError`] if the engine or the head cannot be run.
pub fn of_head(engine: &Engine, head: &Head) -> Result<Option<HeadAttestation>, AttestError> {
    if !engine.is_exact() || !answers::is_exact(&head.model) {
        return Ok(None);
    }
    let layers = layers_of([head]);
    let made = run(&mut engine.session(1)?, SEED, &layers)?;
    let answers = answers::digest((0, head), &made, &layers, isa(engine))?;
    Ok(Some(HeadAttestation { version: VERSION, seed: SEED, values: head.values(), answers }))
}

/// Compares what `engine` and `heads` compute on this machine, on `cores`, with what their files store. What stores nothing,
/// or cannot be compared, is left out.
///
/// # Errors
/// [`AttestError`] if the engine or a head cannot be run.
pub fn check(engine: &Engine, heads: &[&Head], cores: impl Into<Cores>) -> Result<Report, AttestError> {
    let start = Instant::now();
    let cores = cores.into();
    let mut report = Report {
        isa: engine.about().backend.isa(),
        threads: cores.threads(),
        elapsed: start.elapsed(),
        checks: Vec::new(),
        left_out: Vec::new(),
    };
    let model = stored(engine).map_err(|reason| report.left_out.push((Subject::Model, reason))).ok();
    let mut attested = Vec::new();
    for (number, head) in heads.iter().copied().enumerate() {
        match stored_answers(engine, head) {
            Ok(attestation) => attested.push((number, head, attestation)),
            Err(reason) => report.left_out.push((Subject::Head(number), reason)),
        }
    }
    if model.is_none() && attested.is_empty() {
        return Ok(report);
    }
    let layers = layers_of(attested.iter().map(|(_, head, _)| *head));
    let mut session = engine.session(cores)?;
    let mut runs: Vec<(u64, Vec<Made>)> = Vec::new();
    let seeds = model.iter().map(|model| model.seed).chain(attested.iter().map(|(.., head)| head.seed));
    for seed in seeds {
        if runs.iter().all(|(done, _)| *done != seed) {
            runs.push((seed, run(&mut session, seed, &layers)?));
        }
    }
    let of = |seed: u64| runs.iter().find(|(done, _)| *done == seed).map_or(&[][..], |(_, made)| made);
    if let Some(model) = model {
        match of_runs(model, of(model.seed)) {
            Some(checks) => report.checks.extend(checks),
            None => report.left_out.push((Subject::Model, Reason::Sizes)),
        }
    }
    for (number, head, attestation) in attested {
        let subject = Subject::Head(number);
        let answers = answers::digest((number, head), of(attestation.seed), &layers, isa(engine))?;
        let of_head = |part, expected: &str, found| Check {
            subject,
            part,
            size: None,
            expected: expected.to_owned(),
            found,
        };
        report.checks.push(of_head(Part::Values, &attestation.values, head.values()));
        report.checks.push(of_head(Part::Answers, &attestation.answers, answers));
    }
    report.elapsed = start.elapsed();
    Ok(report)
}

/// The attestation of the model, if it can be compared.
fn stored(engine: &Engine) -> Result<&Attestation, Reason> {
    if !engine.is_exact() {
        return Err(Reason::NotExact);
    }
    let attestation = engine.about().attestation.as_ref().ok_or(Reason::Absent)?;
    if attestation.version == VERSION { Ok(attestation) } else { Err(Reason::Version(attestation.version)) }
}

/// The attestation of a head, if it can be compared.
fn stored_answers<'a>(engine: &Engine, head: &'a Head) -> Result<&'a HeadAttestation, Reason> {
    if !engine.is_exact() || !answers::is_exact(&head.model) {
        return Err(Reason::NotExact);
    }
    let attestation = head.attestation.as_ref().ok_or(Reason::Absent)?;
    if attestation.version == VERSION { Ok(attestation) } else { Err(Reason::Version(attestation.version)) }
}

/// The digests of each size; `None` if the sizes are not those of the version.
fn of_runs(model: &Attestation, made: &[Made]) -> Option<Vec<Check>> {
    let sizes = |run: &AttestedRun| run.size.clone();
    let found = made.iter().map(|made| sizes(&made.run));
    if !model.runs.iter().map(sizes).eq(found) {
        return None;
    }
    let parts = |run: &AttestedRun| {
        [(Part::Pictures, &run.pictures), (Part::Input, &run.input), (Part::Features, &run.features)]
            .map(|(part, digest)| (part, digest.clone()))
    };
    let both = model.runs.iter().zip(made);
    let checks = both.flat_map(|(stored, made)| {
        let size = &stored.size;
        parts(stored).into_iter().zip(parts(&made.run)).map(|((part, expected), (_, found))| Check {
            subject: Subject::Model,
            part,
            size: Some(size.clone()),
            expected,
            found,
        })
    });
    Some(checks.collect())
}

/// The blocks that the heads read, ascending.
fn layers_of<'a>(heads: impl IntoIterator<Item = &'a Head>) -> Vec<usize> {
    let mut layers: Vec<usize> = heads.into_iter().flat_map(|head| head.model.layers().to_vec()).collect();
    layers.sort_unstable();
    layers.dedup();
    layers
}

/// The instruction set of the heads.
fn isa(engine: &Engine) -> Isa {
    engine.about().backend.isa().unwrap_or_else(Isa::best)
}
