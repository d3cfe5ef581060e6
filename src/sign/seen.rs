//! The counter against older versions: the highest number that was seen of each file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Refusal, Role, SignError, Statement};
use crate::files::{self, WriteError, write_atomically};

/// Version of the layout.
const VERSION: u32 = 1;

/// Maximum size of the file, in bytes: a hundred thousand entries.
const MAX_BYTES: u64 = 32 << 20;

/// How long another process may keep the file.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    version: u32,
    /// The latest time of signing that was seen, in seconds since 1970: a clock that was set back is not believed.
    pub latest: u64,
    files: Vec<Entry>,
}

/// The version of a file with the highest number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    role: Role,
    file: String,
    serial: u64,
    sha256: String,
}

impl Seen {
    /// Reads the file; nothing was seen if there is none.
    pub fn read(path: &Path) -> Result<Seen, SignError> {
        let text = match files::text(path, MAX_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Seen { version: VERSION, latest: 0, files: Vec::new() });
            }
            Err(source) => return Err(SignError::Read { path: path.to_owned(), source }),
        };
        match serde_json::from_str(&text) {
            Ok(seen @ Seen { version: VERSION, .. }) => Ok(seen),
            _ => Err(SignError::Wrong {
                path: path.to_owned(),
                problem: "is no counter of this version of microraptor: put a copy back; without it older versions of \
                          files would be accepted once more"
                    .into(),
            }),
        }
    }

    /// Refuses an older version, and another one with the same number.
    pub fn check(&self, statement: &Statement) -> Result<(), Refusal> {
        let Some(seen) = self.files.iter().find(|entry| entry.is_of(statement)) else { return Ok(()) };
        if statement.serial < seen.serial {
            return Err(Refusal::RolledBack { serial: statement.serial, seen: seen.serial });
        }
        if statement.serial == seen.serial && statement.sha256 != seen.sha256 {
            return Err(Refusal::SameSerial(seen.serial));
        }
        Ok(())
    }

    /// Whether it knows of `statement`.
    fn knows(&self, statement: &Statement) -> bool {
        let same = |entry: &Entry| entry.is_of(statement) && entry.serial == statement.serial;
        self.latest >= statement.timestamp && self.files.iter().any(same)
    }

    fn note(&mut self, statement: &Statement) {
        let Statement { role, file, serial, sha256, timestamp, .. } = statement.clone();
        self.latest = self.latest.max(timestamp);
        self.files.retain(|entry| !entry.is_of(statement));
        self.files.push(Entry { role, file, serial, sha256 });
        self.files.sort_by(|a, b| (a.role, &a.file).cmp(&(b.role, &b.file)));
    }

    /// Adds `statement` to the file at `path`, unless it is there. The change is on the disk before this returns.
    ///
    /// # Errors
    /// [`Seen::check`]'s, if another process was faster with a newer version; [`SignError::Counter`] if the file cannot be
    /// written.
    pub fn add(path: &Path, signed: &Path, statement: &Statement) -> Result<(), SignError> {
        let refused = |reason| SignError::Refused { path: signed.to_owned(), reason };
        let seen = Seen::read(path)?;
        seen.check(statement).map_err(refused)?;
        if seen.knows(statement) {
            return Ok(());
        }
        let counter = |source| SignError::Counter { source };
        let _lock = Lock::take(path).map_err(counter)?;
        let mut seen = Seen::read(path)?;
        seen.check(statement).map_err(refused)?;
        seen.note(statement);
        let text = serde_json::to_string_pretty(&seen).expect("plain data");
        write_atomically(path, |file| writeln!(file, "{text}")).map_err(counter)
    }
}

impl Entry {
    fn is_of(&self, statement: &Statement) -> bool {
        (self.role, &self.file) == (statement.role, &statement.file)
    }
}

/// Keeps other processes from the counter while it is changed; the system lets go of it when a process ends.
struct Lock(#[expect(dead_code, reason = "held until it is dropped")] File);

impl Lock {
    fn take(counter: &Path) -> Result<Lock, WriteError> {
        let mut name = counter.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let failed = |source| WriteError::new(&path, source);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        // Whoever may read a file may lock it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(failed)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(failed(io::Error::new(
                        io::ErrorKind::WouldBlock,
                        "another process keeps it locked",
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(file: &str, serial: u64, digit: &str) -> Statement {
        let (file, sha256) = (file.to_owned(), digit.repeat(64));
        Statement { role: Role::Head, file, serial, timestamp: 100 + serial, expires: None, sha256 }
    }

    #[test]
    fn counts_up_for_each_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust.seen");
        let add =
            |statement: &Statement| Seen::add(&path, Path::new("f"), statement).map_err(|e| e.to_string());
        add(&statement("a", 3, "1")).unwrap();
        add(&statement("b", 2, "1")).unwrap();
        add(&Statement { role: Role::Model, ..statement("a", 1, "1") }).unwrap();
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        add(&statement("a", 3, "1")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written, "nothing new");
        assert!(add(&statement("a", 2, "1")).unwrap_err().contains("version 3 was used here before"));
        assert!(add(&statement("a", 3, "2")).unwrap_err().contains("higher number"));
        add(&statement("a", 4, "2")).unwrap();
        assert_eq!(Seen::read(&path).unwrap().latest, 104);
        for damaged in ["", "{}", "{\"version\":2,\"latest\":0,\"files\":[]}", "\u{0}"] {
            std::fs::write(&path, damaged).unwrap();
            assert!(add(&statement("a", 9, "1")).unwrap_err().contains("put a copy back"), "{damaged}");
        }
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen");
        std::thread::scope(|scope| {
            for file in ["a", "b", "c", "d"] {
                let path = &path;
                scope.spawn(move || {
                    (1..6).for_each(|n| Seen::add(path, Path::new("f"), &statement(file, n, "1")).unwrap());
                });
            }
        });
        let seen = Seen::read(&path).unwrap();
        let serials: Vec<u64> = seen.files.iter().map(|entry| entry.serial).collect();
        assert_eq!(serials, [5; 4]);
    }
}
