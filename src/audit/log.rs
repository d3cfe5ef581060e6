//! Writes a log.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::Digest;

use super::error::AuditError;
use super::event::{Event, FORMAT};
use super::line::{Head, MAX_LINE, encode};
use super::place;
use super::sync::{Durability, Syncer};
use super::tail::{End, Tail, TailError};
use crate::sealed::hex;

/// What happens when a line cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Full {
    /// It is an error: what is not in the log must not happen.
    #[default]
    Stop,
    /// It is counted; the next line that can be written is preceded by one that says how many are missing.
    GoOn,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// When lines are on the disk for good.
    pub durability: Durability,
    /// What happens when they cannot be written.
    pub full: Full,
    /// Size in bytes from which a file is put aside and another one begun; `None` for never.
    pub max: Option<u64>,
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is in the log.
    Yes,
    /// It is in the log, and the first one after some that are not.
    Again {
        /// How many are not.
        lost: u64,
    },
    /// It is not ([`Full::GoOn`]).
    Lost {
        /// Why not, of the first one that is lost.
        problem: Option<String>,
    },
}

/// A log that this process alone adds to.
pub struct Log {
    path: PathBuf,
    file: File,
    /// The last line; `None` before the first one.
    head: Option<Head>,
    end: End,
    size: u64,
    /// Number of the file in its chain.
    number: u64,
    /// Lines that were lost since the last one, and why.
    lost: u64,
    reason: String,
    options: Options,
    syncer: Option<Syncer>,
}

impl Log {
    /// Opens the log at `path`, or begins it. Of an older one the first line and the last one are checked, not those
    /// between. A last line that is not whole is closed by one that says so.
    ///
    /// # Errors
    /// If another process has it, if it is another file or its end was changed, and the system's.
    pub fn open(path: &Path, options: Options) -> Result<Log, AuditError> {
        // A link is followed once, so that the file can be put aside.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let file = place::open(&path)?;
        let mut log = Log {
            path,
            file,
            head: None,
            end: End::Whole,
            size: 0,
            number: 0,
            lost: 0,
            reason: String::new(),
            options,
            syncer: None,
        };
        log.size = log.length()?;
        if options.durability == Durability::Second {
            log.syncer = Some(Syncer::start(&log.file).map_err(|source| log.failed("written", source))?);
        }
        if log.size == 0 { log.begin() } else { log.resume() }?;
        Ok(log)
    }

    /// The last line.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Adds a line. With [`Full::GoOn`] a line that cannot be written is counted instead.
    ///
    /// # Errors
    /// The system's, and that the line is too long.
    pub fn append(&mut self, event: &Event) -> Result<Written, AuditError> {
        match self.try_append(event) {
            Ok(0) => Ok(Written::Yes),
            Ok(lost) => Ok(Written::Again { lost }),
            Err(error) if self.options.full == Full::GoOn && error.may_pass() => {
                self.lost += 1;
                let problem = (self.lost == 1).then(|| error.to_string());
                if let (AuditError::Io { source, .. }, true) = (&error, self.lost == 1) {
                    self.reason = source.kind().to_string();
                }
                Ok(Written::Lost { problem })
            }
            Err(error) => Err(error),
        }
    }

    /// Puts all lines on the disk.
    ///
    /// # Errors
    /// The system's.
    pub fn synchronise(&self) -> Result<(), AuditError> {
        match self.options.durability {
            Durability::None => Ok(()),
            _ => self.file.sync_data().map_err(|source| self.failed("put on the disk", source)),
        }
    }

    /// As [`Log::append`]; how many lines before it were lost.
    fn try_append(&mut self, event: &Event) -> Result<u64, AuditError> {
        if let Some(source) = self.syncer.as_ref().and_then(Syncer::failed) {
            return Err(self.failed("put on the disk", source));
        }
        if self.size == 0 {
            self.first(&Event::Continued { format: FORMAT, file: self.number })?;
        }
        self.mend()?;
        if self.options.max.is_some_and(|max| self.size >= max) {
            self.put(&Event::Closed {})?;
            self.turn()?;
        }
        let lost = self.lost;
        if lost > 0 {
            self.put(&Event::LinesLost { lost_lines: lost, reason: self.reason.clone() })?;
            self.lost = 0;
        }
        self.put(event)?;
        if self.options.durability == Durability::Line {
            self.synchronise()?;
        }
        Ok(lost)
    }

    /// Writes the first line of a chain, or goes on after a file that was put aside.
    fn begin(&mut self) -> Result<(), AuditError> {
        let aside = place::newest_aside(&self.path).map_err(|source| self.failed("opened", source))?;
        if let Some(before) = aside {
            let mut file = crate::files::open(&before).map_err(|source| self.failed("opened", source))?;
            // Another file that has such a name begins no chain, and ends none.
            if let Ok(tail) = Tail::read(&mut file)
                && tail.last.fields.event == "closed"
            {
                self.head = Some(tail.head());
                self.number = tail.file + 1;
                return self.first(&Event::Continued { format: FORMAT, file: self.number });
            }
        }
        let mut nonce = [0u8; 16];
        getrandom::fill(&mut nonce).map_err(|error| self.failed("begun", io::Error::other(error)))?;
        let nonce = hex(&nonce);
        self.first(&Event::Begin { format: FORMAT, nonce })
    }

    /// Writes the first line of a file, or leaves it empty.
    fn first(&mut self, event: &Event) -> Result<(), AuditError> {
        let written = self.put(event);
        if written.is_err() {
            // A part of a first line would not show that the file is a log.
            self.file.set_len(0).map_err(|source| self.failed("begun", source))?;
            (self.size, self.end) = (0, End::Whole);
        }
        place::synchronise(&self.path);
        written
    }

    /// Goes on after the last line of the file.
    fn resume(&mut self) -> Result<(), AuditError> {
        let tail = Tail::read(&mut self.file).map_err(|error| match error {
            TailError::Io(source) => self.failed("read", source),
            TailError::NotALog => AuditError::NotALog(self.path.clone()),
            TailError::Damaged(problem) => AuditError::Damaged { path: self.path.clone(), problem },
        })?;
        self.head = Some(tail.head());
        self.number = tail.file;
        self.end = tail.end;
        if tail.last.fields.event == "closed" && matches!(self.end, End::Whole) {
            return self.turn();
        }
        self.mend()
    }

    /// Closes a line that was not written to its end.
    fn mend(&mut self) -> Result<(), AuditError> {
        let End::Torn { bytes, sha256 } = &self.end else { return Ok(()) };
        let torn_sha256 = hex(&sha256.clone().finalize());
        let torn_bytes = *bytes;
        self.put(&Event::Torn { torn_bytes, torn_sha256 })
    }

    /// Puts the file aside and begins the next one.
    fn turn(&mut self) -> Result<(), AuditError> {
        self.synchronise()?;
        let number = self.number + 1;
        let aside = place::aside(&self.path, number);
        if aside.exists() {
            let taken = io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is there", aside.display()));
            return Err(self.failed("put aside", taken));
        }
        std::fs::rename(&self.path, &aside).map_err(|source| self.failed("put aside", source))?;
        self.file = place::make(&self.path).inspect_err(|_| {
            // As it was, for another try; if this fails too, that try says so.
            let _ = std::fs::rename(&aside, &self.path);
        })?;
        if let Some(syncer) = &self.syncer {
            syncer.turn(&self.file).map_err(|source| self.failed("written", source))?;
        }
        (self.size, self.number, self.end) = (0, number, End::Whole);
        self.first(&Event::Continued { format: FORMAT, file: number })
    }

    /// Writes one line by one call of the system.
    fn put(&mut self, event: &Event) -> Result<(), AuditError> {
        let (line, head) = encode(self.head.as_ref(), event)
            .map_err(|error| self.failed("written", io::Error::other(error)))?;
        if line.len() > MAX_LINE {
            return Err(AuditError::TooLong { path: self.path.clone(), bytes: line.len() });
        }
        let mut bytes = Vec::with_capacity(line.len() + 2);
        if !matches!(self.end, End::Whole) {
            bytes.push(b'\n');
        }
        bytes.extend(line.as_bytes());
        bytes.push(b'\n');
        let (done, result) = write(&mut self.file, &bytes);
        self.size += done as u64;
        match result {
            Ok(()) => self.end = End::Whole,
            // The line is there, and the next one begins with its line feed.
            Err(_) if done + 1 == bytes.len() => self.end = End::Unended,
            Err(source) => {
                self.end = std::mem::replace(&mut self.end, End::Whole).after(&bytes[..done]);
                return Err(self.failed("written", source));
            }
        }
        self.head = Some(head);
        if let Some(syncer) = &self.syncer {
            syncer.wrote();
        }
        Ok(())
    }

    fn length(&self) -> Result<u64, AuditError> {
        self.file.metadata().map(|found| found.len()).map_err(|source| self.failed("read", source))
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> AuditError {
        AuditError::Io { path: self.path.clone(), doing, source }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.synchronise() {
            log::warn!("{error}");
        }
    }
}

/// Writes `bytes`; how many were written.
fn write(file: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < bytes.len() {
        match file.write(&bytes[done..]) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}
