//! `microraptor sign`

use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use microraptor::sign::{Day, Refusal, SignError, Statement, sign_file, signature_of};

use super::contents::{covered, sha256};
use super::key::unlock;
use crate::cli::args::SignArgs;
use crate::cli::terminal;

/// Signs files, none of them before all are read and found to be what they are signed as.
pub fn run(args: &SignArgs) -> anyhow::Result<()> {
    let statements = args.files.iter().map(|path| state(path, args)).collect::<anyhow::Result<Vec<_>>>()?;
    let key = unlock(&args.key, &args.password)?;
    let mut out = terminal::stdout();
    for (path, (own, statement)) in args.files.iter().zip(statements) {
        sign_file(path, &own, &statement, &key)?;
        let Statement { role, serial, .. } = statement;
        let (name, id, signature) = (path.display(), key.public().id(), signature_of(path));
        writeln!(out, "{name}: {role}, version {serial}, signed with key {id}: {}", signature.display())?;
    }
    Ok(())
}

/// The SHA-256 of the file alone, and what is to be said of it.
fn state(path: &Path, args: &SignArgs) -> anyhow::Result<(String, Statement)> {
    if path.is_dir() {
        return Err(SignError::Refused { path: path.to_owned(), reason: Refusal::Folder }.into());
    }
    if path.extension().is_some_and(|e| e == "minisig") {
        bail!("{}: is a signature: name the file that it is of", path.display());
    }
    let own = sha256(path)?;
    let covered = covered(path, args.role, own.clone())?;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{}: its name is not UTF-8: give it another", path.display()))?;
    let statement = Statement::now(args.role, name, args.serial, args.expires, covered);
    statement.check().map_err(|problem| anyhow!("{}: {problem}", path.display()))?;
    if let Some(day) = args.expires.filter(|day| *day < Day::of(statement.timestamp)) {
        bail!("--expires {day}: that day is over: give a later one");
    }
    Ok((own, statement))
}
