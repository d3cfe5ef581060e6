//! What of a sweep is finished, so that one that was interrupted goes on where it stood.
//!
//! A file of lines, each a part of the sweep under a key, synchronised to the disk before the next part begins. A line that
//! was not written to its end is cut off when the file is opened again: what it was about is measured again, and nothing
//! is counted twice, since a part has one key.

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

/// Most bytes of a journal that are read: a thousand times what a large sweep leaves.
const MAX_BYTES: u64 = 1 << 30;

/// Key of the lines that say when a run began.
const START: &str = "start";

/// The finished parts of one sweep.
#[derive(Debug)]
pub struct Journal {
    file: Option<(PathBuf, File)>,
    parts: BTreeMap<String, Value>,
    starts: usize,
}

impl Journal {
    /// One that is kept in memory only.
    pub fn in_memory() -> Journal {
        Journal { file: None, parts: BTreeMap::new(), starts: 1 }
    }

    /// The journal of the sweep `fingerprint` (which must tell it from every other) in `folder`: that of an earlier run,
    /// or a new one. It belongs to this process until it is dropped.
    ///
    /// # Errors
    /// [`ProfileError::Write`] when the file cannot be read or written, [`ProfileError::Busy`] when another process has it.
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

    /// Sittings so far, this one too.
    pub fn starts(&self) -> usize {
        self.starts
    }

    /// Finished parts.
    pub fn finished(&self) -> usize {
        self.parts.len()
    }

    /// A part that is finished.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        T::deserialize(self.parts.get(key)?).ok()
    }

    /// The part `key`: as it was found, or made by `make` and kept.
    ///
    /// # Errors
    /// Those of `make`, and [`ProfileError::Write`] when it cannot be kept.
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

    /// Ends the sweep: its results are kept elsewhere now.
    pub fn finish(self) {
        if let Some((path, _)) = &self.file {
            // A journal that stays behind only offers to go on with what is done.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Takes the file for this process. One that is ending, or is about to become another program, holds it a little longer.
fn lock(file: &File, folder: &Path) -> Result<(), ProfileError> {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(25)),
            // A file system without locks: nothing is known, and nothing is in the way.
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
            // What is there now is whole.
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
