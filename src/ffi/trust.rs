//! Signatures of models and heads.

use std::ffi::c_char;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::memory::path_at;
use super::status::{Failure, Status, call};
use crate::engine::About;
use crate::sign::{Refusal, Role, SignError, Trust, Verified};

/// The trust file and the counter's file, once they were named.
static NAMED: Mutex<Option<(PathBuf, Option<PathBuf>)>> = Mutex::new(None);

/// From now on refuses models and heads without a signature that counts: docs/trust.md says what `keys` may be. `seen` is
/// the file that keeps the highest version seen of each; NULL for one beside `keys`. The trust file is read again whenever
/// something is opened. The built-in model needs no signature; what is opened from memory has none, and is refused.
/// There is no way back: another call names other files.
///
/// # Safety
/// `keys` is NULL or a text that ends with a zero byte, and so is `seen`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_trust(keys: *const c_char, seen: *const c_char) -> Status {
    call(0, || {
        // SAFETY: as the caller promises.
        let keys = unsafe { path_at(keys)? };
        // SAFETY: as the caller promises.
        let seen = if seen.is_null() { None } else { Some(unsafe { path_at(seen)? }) };
        Trust::open(&keys, seen.as_deref()).map_err(Failure::model)?;
        *NAMED.lock().unwrap_or_else(PoisonError::into_inner) = Some((keys, seen));
        Ok(())
    })
}

/// A file whose signature counts, and which is not loaded yet; empty if signatures are not asked for.
pub(super) struct Asked(Option<(Trust, Verified)>);

/// Verifies the file `path`.
pub(super) fn ask(path: &Path, role: Role) -> Result<Asked, Failure> {
    let Some((keys, seen)) = NAMED.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
        return Ok(Asked(None));
    };
    let trust = Trust::open(&keys, seen.as_deref()).map_err(Failure::model)?;
    let verified = trust.verify(path, Some(role)).map_err(Failure::model)?;
    Ok(Asked(Some((trust, verified))))
}

/// Refuses what has no signature because it is no file.
pub(super) fn not_from_memory() -> Result<(), Failure> {
    match &*NAMED.lock().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        Some(_) => Err(Failure::model("after mr_trust, what is in memory has no signature: open the file")),
    }
}

impl Asked {
    /// Accepts what was loaded, by the SHA-256 of the bytes that were read.
    pub(super) fn loaded(self, sha256: &str) -> Result<(), Failure> {
        let Some((trust, verified)) = self.0 else { return Ok(()) };
        trust.accept(&verified, sha256).map_err(Failure::model)
    }

    /// Accepts a model that was loaded.
    pub(super) fn loaded_model(self, about: &About) -> Result<(), Failure> {
        if let Some((_, Verified { path, .. })) = self.0.as_ref().filter(|_| about.described) {
            let reason = Refusal::Described;
            return Err(Failure::model(SignError::Refused { path: path.clone(), reason }));
        }
        self.loaded(&about.sha256)
    }
}
