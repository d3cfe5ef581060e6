//! The file of a log: opened, locked, and put aside when it has become large.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::AuditError;

/// Opens the log at `path` for this process alone; makes it if it is missing. It is only added to.
pub(super) fn open(path: &Path) -> Result<File, AuditError> {
    let failed = |source| AuditError::Io { path: path.to_owned(), doing: "opened", source };
    // A log that was put aside between opening and locking is no longer the one at this path.
    for _ in 0..16 {
        if path.exists() && !path.is_file() {
            return Err(AuditError::NotALog(path.to_owned()));
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(AuditError::NotALog(path.to_owned()));
        }
        lock(&file, path)?;
        if is_at(&file, path) {
            return Ok(file);
        }
    }
    Err(AuditError::Locked(path.to_owned()))
}

/// Makes the log at `path`, where nothing may be.
pub(super) fn make(path: &Path) -> Result<File, AuditError> {
    let failed = |source| AuditError::Io { path: path.to_owned(), doing: "made", source };
    let file = OpenOptions::new().read(true).append(true).create_new(true).open(path).map_err(failed)?;
    lock(&file, path)?;
    Ok(file)
}

fn lock(file: &File, path: &Path) -> Result<(), AuditError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => AuditError::Locked(path.to_owned()),
        TryLockError::Error(source) => AuditError::Io { path: path.to_owned(), doing: "locked", source },
    })
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |found: std::fs::Metadata| (found.dev(), found.ino());
    file.metadata().map(id).ok() == path.metadata().map(id).ok()
}

/// Elsewhere an open file cannot be renamed.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// The name of a file that was put aside: `audit.jsonl.3`.
pub(super) fn aside(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The file that was put aside last.
pub(super) fn newest_aside(path: &Path) -> io::Result<Option<PathBuf>> {
    let Some(name) = path.file_name() else { return Ok(None) };
    let mut newest = None;
    for entry in std::fs::read_dir(folder(path))? {
        let found = entry?.file_name();
        let number = found
            .as_encoded_bytes()
            .strip_prefix(name.as_encoded_bytes())
            .and_then(|rest| rest.strip_prefix(b"."))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse::<u64>().ok());
        newest = newest.max(number);
    }
    Ok(newest.map(|number| aside(path, number)))
}

/// Puts the names of a folder on the disk.
pub(super) fn synchronise(path: &Path) {
    if let Err(error) = File::open(folder(path)).and_then(|folder| folder.sync_all()) {
        // Not every file system supports this, and the folder may not be readable.
        log::debug!("{}: its folder was not synchronised: {error}", path.display());
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
