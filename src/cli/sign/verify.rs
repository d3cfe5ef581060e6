//! `microraptor verify`

use std::io::Write;

use anyhow::Context;
use microraptor::names::shown;
use microraptor::sign::{Day, Refusal, SignError, Statement, Verified};
use serde_json::json;

use super::contents::{covered, sha256};
use crate::cli::args::VerifyArgs;
use crate::cli::{terminal, trust};

/// Prints a line for each file, and stops at the first whose signature does not count. Nothing is kept.
pub fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let trust = trust::trust()?.context("whom to trust is missing: give --trust KEYS")?;
    let mut out = terminal::stdout();
    for path in &args.files {
        let verified = trust.verify(path, args.role)?;
        let Statement { role, sha256: signed, .. } = &verified.statement;
        let found = covered(path, *role, sha256(path)?)?;
        if found != *signed {
            let reason = Refusal::Exchanged { found, signed: signed.clone() };
            return Err(SignError::Refused { path: path.clone(), reason }.into());
        }
        writeln!(out, "{}", if args.json { record(&verified) } else { line(&verified) })?;
    }
    Ok(())
}

fn line(verified: &Verified) -> String {
    let Verified { path, statement, signer, key } = verified;
    let Statement { role, serial, timestamp, expires, .. } = statement;
    let until = expires.map(|day| format!(", until {day}")).unwrap_or_default();
    let on = Day::of(*timestamp);
    format!("{}: {role}, version {serial}, signed by {signer} (key {key}) on {on}{until}", path.display())
}

fn record(verified: &Verified) -> String {
    let Verified { path, statement, signer, key } = verified;
    let Statement { role, serial, timestamp, expires, sha256, .. } = statement;
    json!({
        "file": shown(path),
        "role": role,
        "serial": serial,
        "signer": signer,
        "key": key.to_string(),
        "timestamp": timestamp,
        "expires": expires,
        "sha256": sha256,
    })
    .to_string()
}
