//! Journal of the finished parts of a sweep, so that an interrupted sweep can resume.
//!
//! The journal is a text file. Each line holds one part of the sweep under its key and is synchronised to disk before
//! the next part begins. An incomplete last line is truncated when the file is opened again, and that part is measured
//! again. No part is counted twice, since each has a unique key.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ProfileError;
use crate::files::WriteError;

/// Maximum size of a journal that is read, in bytes: a thousand times that of a large sweep.
const MAX_BYTES: u64 = 1 << 30;

/// Key of the lines that mark the start of a run.
const START: &str = "start";

/// Finished parts of one sweep.
#[derive(Debug)]
pub struct Journal {
    file: Option<(PathBuf, File)>,
    parts: BTreeMap<String, Value>,
    starts: usize,
}

impl Journal {
    /// A journal kept in memory only.
    pub fn in_memory() -> Journal {
        Journal { file: None, parts: BTreeMap::new(), starts: 1 }
    }

    /// Opens the journal in `folder` of the sweep identified by `fingerprint` (unique to the sweep), or creates it. The
    /// journal is locked by this process until it is dropped.
    ///
    /// # Errors
    /// [`ProfileError::Write`] if the file cannot be read or written, [`ProfileError::Busy`] if another process has
    /// locked it.
    pub fn open(folder: &Path, fingerprint: &str) -> Result<Journal, ProfileError> {
        let path = folder.join(format!(".sweep-{}.jsonl", &fingerprint[..fingerprint.len().min(16)]));
        let failed = |source| ProfileError::Write(WriteError::new(&path, source));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        lock(&file, folder)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        let mut parts = BTreeMap::new();
        let (mut starts, mut whole) = (0, 0);
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let parsed = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
            let Some((key, value)) = parsed else { break };
            whole += line.len();
            if key == START {
                starts += 1;
            } else {
                parts.entry(key).or_insert(value);
            }
        }
        file.set_len(whole as u64).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut journal = Journal { file: Some((path, file)), parts, starts: starts + 1 };
        journal.append(START, &Value::Null)?;
        Ok(journal)
    }

    /// Number of runs of this sweep so far, including this one.
    pub fn starts(&self) -> usize {
        self.starts
    }

    /// Number of finished parts.
    pub fn finished(&self) -> usize {
        self.parts.len()
    }

    /// The finished part `key`; `None` if it is not finished.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        T::deserialize(self.parts.get(key)?).ok()
    }

    /// Returns part `key` from the journal, or computes it with `make` and records it.
    ///
    /// # Errors
    /// Those of `make`, and [`ProfileError::Write`] if the part cannot be recorded.
    pub fn part<T: Serialize + DeserializeOwned>(
        &mut self,
        key: &str,
        make: impl FnOnce() -> Result<T, ProfileError>,
    ) -> Result<T, ProfileError> {
        if let Some(found) = self.get(key) {
            return Ok(found);
        }
        let made = make()?;
        let value = serde_json::to_value(&made).expect("plain data");
        self.append(key, &value)?;
        self.parts.insert(key.to_owned(), value);
        Ok(made)
    }

    fn append(&mut self, key: &str, value: &Value) -> Result<(), ProfileError> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let mut line = serde_json::to_vec(&(key, value)).expect("plain data");
        line.push(b'\n');
        let written = file.write_all(&line).and_then(|()| file.sync_data());
        let parts = self.parts.len();
        written.map_err(|source| {
            let left = format!(
                "the {parts} parts that were finished are kept there, and the same command goes on after them"
            );
            ProfileError::Write(WriteError::Partly { path: path.clone(), source, left })
        })
    }

    /// Ends the sweep and deletes the journal, once the results are stored elsewhere or there is nothing to resume.
    pub fn finish(self) {
        if let Some((path, _)) = &self.file {
            // If the deletion fails, the leftover journal only lets the same command reuse the finished parts.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Locks the file for this process. It retries for half a second, because a process that is exiting, or a forked child
/// that has not called exec yet, may still hold the lock.
fn lock(file: &File, folder: &Path) -> Result<(), ProfileError> {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(25)),
            // The file system does not support locks: continue without one.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
    Err(ProfileError::Busy(folder.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_after_any_cut_and_counts_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let fill = |journal: &mut Journal, made: &mut Vec<usize>| -> Vec<f64> {
            let part = |i: usize, made: &mut Vec<usize>, journal: &mut Journal| {
                let make = || {
                    made.push(i);
                    Ok(i as f64 / 3.0)
                };
                journal.part(&format!("part {i}"), make).unwrap()
            };
            (0..5).map(|i| part(i, made, journal)).collect()
        };
        let mut first = Vec::new();
        let mut journal = Journal::open(folder.path(), "0123456789abcdef").unwrap();
        let expected = fill(&mut journal, &mut first);
        let path = journal.file.as_ref().unwrap().0.clone();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = Journal::open(folder.path(), "0123456789abcdef").unwrap();
            let (kept, mut made) = (journal.finished(), Vec::new());
            assert_eq!(fill(&mut journal, &mut made), expected);
            assert_eq!(made, (kept..5).collect::<Vec<_>>(), "{cut}");
            drop(journal);
            // The journal is complete now.
            let journal = Journal::open(folder.path(), "0123456789abcdef").unwrap();
            assert_eq!(journal.finished(), 5);
        }
        std::fs::write(&path, b"\xff\x00 no journal\n").unwrap();
        let journal = Journal::open(folder.path(), "0123456789abcdef").unwrap();
        assert_eq!((journal.finished(), journal.starts()), (0, 1));
        journal.finish();
        assert!(!path.exists());
    }

    #[test]
    fn belongs_to_one_process_and_one_sweep() {
        let folder = tempfile::tempdir().unwrap();
        let held = Journal::open(folder.path(), "aaaaaaaaaaaaaaaaaaaa").unwrap();
        let again = Journal::open(folder.path(), "aaaaaaaaaaaaaaaaaaaa");
        assert!(matches!(again, Err(ProfileError::Busy(_))), "{again:?}");
        assert!(Journal::open(folder.path(), "bbbbbbbbbbbbbbbbbbbb").is_ok());
        drop(held);
        assert_eq!(Journal::open(folder.path(), "aaaaaaaaaaaaaaaaaaaa").unwrap().starts(), 2);
        assert!(Journal::open(&folder.path().join("missing"), "a").is_err());
    }
}
