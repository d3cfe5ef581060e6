//! Temporary files. They are registered while they exist, so that they can be removed on a signal; files left behind by
//! dead processes are removed too.

use std::collections::BTreeSet;
use std::fs::{DirEntry, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempPath;

use super::{Access, read};

const PREFIX: &str = ".microraptor-";
const SUFFIX: &str = ".tmp";

/// A younger file may belong to a process that has just created it and not yet locked it.
const YOUNG: Duration = Duration::from_secs(60);

/// On file systems without locks, a file not modified for this long counts as left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(7 * 24 * 3600);

/// Temporary files of this process.
static LIVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Folders already swept.
static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The name of a temporary file. The file is removed on drop, unless it was renamed.
pub(super) struct Temporary {
    /// `None` once the file was renamed or removed.
    name: Option<TempPath>,
    known_as: PathBuf,
}

impl Temporary {
    /// Creates a file in `folder` and locks it, which marks it as in use until it is closed.
    pub(super) fn make(folder: &Path, access: Access) -> io::Result<(File, Temporary)> {
        sweep(folder);
        // Locked until the file is registered, so that no temporary file is unknown even for a moment.
        let mut live = lock(&LIVE);
        // tempfile's default opener creates files with mode 0600, which other users could not read after the rename.
        let made = tempfile::Builder::new()
            .prefix(PREFIX)
            .suffix(SUFFIX)
            .make_in(folder, |name| new_file(name, access))?;
        let (file, name) = made.into_parts();
        // If locking fails, only the file's age protects it from being swept.
        let _ = file.try_lock();
        let known_as = std::path::absolute(&name).unwrap_or_else(|_| name.to_path_buf());
        live.insert(known_as.clone());
        Ok((file, Temporary { name: Some(name), known_as }))
    }

    /// Renames the file to `path`.
    pub(super) fn persist(mut self, path: &Path) -> io::Result<()> {
        let mut live = lock(&LIVE);
        let Some(name) = self.name.take() else { return Ok(()) };
        let renamed = name.persist(path).map_err(|e| e.error);
        live.remove(&self.known_as);
        renamed
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let mut live = lock(&LIVE);
            drop(name);
            live.remove(&self.known_as);
        }
    }
}

/// Removes the temporary files of this process, and blocks the creation and renaming of further ones: for a process
/// that is about to end by a signal. Completed files stay.
pub fn remove_temporaries() {
    let live = lock(&LIVE);
    for path in live.iter() {
        // A file that cannot be removed is swept by the next run.
        let _ = std::fs::remove_file(path);
    }
    std::mem::forget(live);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic cannot leave a set of names inconsistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
fn new_file(name: &Path, access: Access) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mode = match access {
        Access::Usual => 0o666,
        Access::Owner => 0o600,
    };
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(name)
}

#[cfg(not(unix))]
fn new_file(name: &Path, _: Access) -> io::Result<File> {
    File::create_new(name)
}

/// Removes temporary files that killed runs left in `folder`; runs once per folder.
fn sweep(folder: &Path) {
    if !lock(&SWEPT).insert(folder.to_owned()) {
        return;
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    for entry in entries.filter(is_left_behind) {
        log::info!("{}: was left behind by an earlier run and is removed", entry.path().display());
        let _ = std::fs::remove_file(entry.path());
    }
}

/// Whether this is a temporary file of this program that no process has open.
fn is_left_behind(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    if !name.starts_with(PREFIX) || !name.ends_with(SUFFIX) {
        return false;
    }
    let age = || entry.metadata().ok().filter(|found| found.is_file())?.modified().ok()?.elapsed().ok();
    let Some(age) = age().filter(|age| *age >= YOUNG) else { return false };
    let Ok(file) = read::open(&entry.path()) else { return false };
    match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => age >= LEFT_BEHIND,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn only_what_nobody_holds_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let old = SystemTime::now() - Duration::from_secs(3600);
        let make = |name: &str, age: bool| {
            let file = File::create(at(name)).unwrap();
            if age {
                file.set_modified(old).unwrap();
            }
            file
        };
        drop(make(".microraptor-stale.tmp", true));
        drop(make(".microraptor-young.tmp", false));
        drop(make(".other-stale.tmp", true));
        drop(make("microraptor-stale.tmp", true));
        let live = make(".microraptor-live.tmp", true);
        live.lock().unwrap();
        let (file, temporary) = Temporary::make(folder.path(), Access::Usual).unwrap();
        assert!(!at(".microraptor-stale.tmp").exists());
        for name in
            [".microraptor-young.tmp", ".other-stale.tmp", "microraptor-stale.tmp", ".microraptor-live.tmp"]
        {
            assert!(at(name).exists(), "{name}");
        }
        let known_as = temporary.known_as.clone();
        assert!(known_as.exists() && lock(&LIVE).contains(&known_as));
        drop((file, temporary));
        assert!(!known_as.exists() && !lock(&LIVE).contains(&known_as));
    }
}
