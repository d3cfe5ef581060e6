//! The folders of a queue, and changes of them that survive a power cut.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::QueueError;

/// The folders: see [`super::Queue`].
pub(super) const FOLDERS: [&str; 6] = ["tmp", "incoming", "outgoing", "done", "failed", "tries"];

/// Adds the path to an error of the system.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> QueueError + '_ {
    move |source| QueueError::Io { path: path.to_owned(), source }
}

/// Waits until what was created, renamed and removed in `folder` is on the disk.
pub(super) fn sync_folder(folder: &Path) -> Result<(), QueueError> {
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// Waits until the contents of `file` are on the disk.
pub(super) fn sync_file(file: &Path) -> Result<(), QueueError> {
    File::open(file).and_then(|file| file.sync_all()).map_err(at(file))
}

/// Creates an empty file whose name is its meaning, on the disk when this returns.
pub(super) fn mark(path: &Path) -> Result<(), QueueError> {
    let file = File::create(path).map_err(at(path))?;
    file.sync_all().map_err(at(path))?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Renames `from` to `to`; on the disk when this returns.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), QueueError> {
    fs::rename(from, to).map_err(at(to))?;
    sync_folder(to.parent().unwrap_or(Path::new(".")))
}

/// Removes a file, which may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), QueueError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// Removes a folder with what is in it, which may be gone already.
pub(super) fn remove_folder(path: &Path) -> Result<(), QueueError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// Path, name without `ending` and time of change of each entry of `folder` with that ending.
pub(super) fn entries(folder: &Path, ending: &str) -> Result<Vec<(PathBuf, String, SystemTime)>, QueueError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?;
        let path = entry.path();
        let Some(name) = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_suffix(ending))
        else {
            continue;
        };
        let time = entry.metadata().and_then(|data| data.modified()).map_err(at(&path))?;
        found.push((path.clone(), name.to_owned(), time));
    }
    Ok(found)
}

/// Free bytes on the disk of `path`; `None` if the system does not say.
#[cfg(unix)]
pub(super) fn free(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
pub(super) fn free(_: &Path) -> Option<u64> {
    None
}
