//! `--trust`: what is opened without a signature that counts is an error, in every command that answers or measures.
//!
//! The built-in backbone, seeded weights and the built-in boards are parts of the program, and need no signature.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::bail;
use microraptor::board::Board;
use microraptor::engine::{About, is_name};
use microraptor::heads::Head;
use microraptor::profile::Deploy;
use microraptor::sign::{Refusal, Role, SignError, Trust, Verified};

/// Environment variables that stand for the options.
const TRUST: &str = "MICRORAPTOR_TRUST";
const SEEN: &str = "MICRORAPTOR_TRUST_SEEN";

/// The choice of this process.
static CHOSEN: OnceLock<Chosen> = OnceLock::new();

/// The trust file, and the file of the versions that were seen.
struct Chosen {
    trust: Option<PathBuf>,
    seen: Option<PathBuf>,
}

/// Sets whom to trust: the options, else the environment. The trust file is read, so that a wrong one is an error at once.
pub fn choose(trust_file: &Option<PathBuf>, seen: &Option<PathBuf>) -> anyhow::Result<()> {
    let given = |option: &Option<PathBuf>, variable: &str| match std::env::var_os(variable) {
        _ if option.is_some() => Ok(option.clone()),
        Some(empty) if empty.is_empty() => bail!("{variable} is empty: name a file there, or unset it"),
        found => Ok(found.map(PathBuf::from)),
    };
    let chosen = Chosen { trust: given(trust_file, TRUST)?, seen: given(seen, SEEN)? };
    if seen.is_some() && chosen.trust.is_none() {
        bail!("--trust-seen: nothing is kept without --trust");
    }
    // Called once, by `main`.
    let _ = CHOSEN.set(chosen);
    trust().map(drop)
}

/// Whom to trust, read anew: a key may have been revoked since. `None` if signatures are not asked for.
pub fn trust() -> anyhow::Result<Option<Trust>> {
    let Some(Chosen { trust: Some(path), seen }) = CHOSEN.get() else { return Ok(None) };
    Ok(Some(Trust::open(path, seen.as_deref())?))
}

/// A file whose signature counts, and which is not loaded yet; empty if signatures are not asked for.
pub struct Asked(Option<(Trust, Verified)>);

/// Verifies the file `path` before anything parses it.
pub fn ask(path: &Path, role: Role) -> anyhow::Result<Asked> {
    let Some(trust) = trust()? else { return Ok(Asked(None)) };
    let verified = trust.verify(path, Some(role))?;
    Ok(Asked(Some((trust, verified))))
}

/// [`ask`] for MODEL, which may be part of the program.
pub fn ask_for_model(model: &Path) -> anyhow::Result<Asked> {
    if model.to_str().is_some_and(is_name) { Ok(Asked(None)) } else { ask(model, Role::Model) }
}

impl Asked {
    /// Accepts what was loaded, by the SHA-256 of the bytes that were read.
    pub fn loaded(self, sha256: &str) -> anyhow::Result<()> {
        let Some((trust, verified)) = self.0 else { return Ok(()) };
        Ok(trust.accept(&verified, sha256)?)
    }

    /// Accepts a model that was loaded.
    pub fn loaded_model(self, about: &About) -> anyhow::Result<()> {
        if let Some((_, Verified { path, .. })) = self.0.as_ref().filter(|_| about.described) {
            return Err(SignError::Refused { path: path.clone(), reason: Refusal::Described }.into());
        }
        self.loaded(&about.sha256)
    }
}

/// Reads a head; also returns the SHA-256 of what was read.
pub fn head(path: &Path) -> anyhow::Result<(Head, String)> {
    let asked = ask(path, Role::Head)?;
    let (head, sha256) = Head::read(path)?;
    asked.loaded(&sha256)?;
    Ok((head, sha256))
}

/// Reads a deployment file.
pub fn deploy(path: &Path) -> anyhow::Result<Deploy> {
    let asked = ask(path, Role::Deploy)?;
    let (deploy, sha256) = Deploy::read(path)?;
    asked.loaded(&sha256)?;
    Ok(deploy)
}

/// The board called `name`: a built-in one, or a file.
pub fn board(name: &str) -> anyhow::Result<Board> {
    if !Board::is_file(name) {
        return Ok(Board::named(name)?);
    }
    let path = Path::new(name);
    let asked = ask(path, Role::Board)?;
    let (board, sha256) = Board::read(path)?;
    asked.loaded(&sha256)?;
    Ok(board)
}
