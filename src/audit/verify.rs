//! Reads a log again, and finds the first line that is not as it was written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::AuditError;
use super::event::FORMAT;
use super::line::{Head, Line, MAX_LINE, NoLine, nothing, parse};
use crate::sealed::hex;

/// What is known of the log from elsewhere. Without it, lines that were removed from its end are not missed.
#[derive(Clone, Debug, Default)]
pub struct Anchor {
    /// Digest of a line that must be there.
    pub sha256: Option<String>,
    /// Lines that the chain must have at least, with those of files before.
    pub lines: Option<u64>,
}

/// What a log is found to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every line is as it was written.
    Whole(Report),
    /// One is not.
    Broken(Fault),
}

/// What is in a log that is whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Lines that were read.
    pub lines: u64,
    /// Number of the first one: not 0 if the chain began in a file that was not given.
    pub first: u64,
    /// The last one.
    pub head: Option<Head>,
    /// Runs of the program.
    pub runs: u64,
    /// Runs that did not say that they end: the program was killed, or still runs.
    pub unfinished: u64,
    /// Lines that could not be written, as later lines say.
    pub lost: u64,
    /// Lines that were not written to their end, and closed by a later line; the first hundred.
    pub torn: Vec<Torn>,
}

/// Bytes of a line that was not written to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Torn {
    /// The file.
    pub file: PathBuf,
    /// Where in it, counted in lines from 1.
    pub line: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// The first line that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1; one more than there are if something is missing at the end.
    pub line: u64,
    /// In which way.
    pub kind: FaultKind,
    /// In a sentence.
    pub problem: String,
}

/// In which way a line is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FaultKind {
    /// Its digest is not that of its bytes.
    Changed,
    /// It is no line of an audit log.
    NoLine,
    /// Lines before it, or at the end, are missing.
    Removed,
    /// A line that should be here is further down.
    Moved,
    /// A line that does not belong here.
    Inserted,
    /// The line before it is another one than was there when this one was written.
    Replaced,
    /// The file ends within a line.
    Torn,
}

/// Reads the files of one chain in their order, in bounded memory.
///
/// # Errors
/// The system's, if a file cannot be read.
pub fn verify(paths: &[PathBuf], anchor: &Anchor) -> Result<Verdict, AuditError> {
    let mut chain = Chain { wanted: anchor.sha256.clone(), ..Chain::default() };
    for path in paths {
        let doing = "read";
        let failed = |source| AuditError::Io { path: path.clone(), doing, source };
        let file = crate::files::open(path).map_err(failed)?;
        if let Some(fault) = chain.file(path, file).map_err(failed)? {
            return Ok(Verdict::Broken(fault));
        }
    }
    Ok(match paths.last().and_then(|path| chain.missing(path, anchor)) {
        Some(fault) => Verdict::Broken(fault),
        None => Verdict::Whole(chain.report),
    })
}

/// The chain so far.
#[derive(Default)]
struct Chain {
    report: Report,
    /// Lines of the present file.
    line: u64,
    /// What was not written to its end, until the line that says so.
    torn: Option<Pieces>,
    /// A digest that must still come.
    wanted: Option<String>,
}

/// Pieces of lines that follow each other.
struct Pieces {
    line: u64,
    bytes: u64,
    sha256: Sha256,
    /// Whether the last one lacks its line feed.
    open: bool,
}

/// What is wrong, before it has a place.
type Wrong = (FaultKind, String);

impl Chain {
    /// Reads a file; what is wrong with it.
    fn file(&mut self, path: &Path, file: File) -> io::Result<Option<Fault>> {
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut bytes = Vec::new();
        self.line = 0;
        while let Some(ended) = next(&mut reader, &mut bytes)? {
            self.line += 1;
            let (at, wrong) = match self.piece(path, &bytes, ended) {
                Ok(()) => continue,
                Err(found) => found,
            };
            let (kind, problem) = match wrong {
                Place::Wrong(wrong) => wrong,
                Place::Ahead { found } => self.ahead(found, &mut reader)?,
            };
            return Ok(Some(Fault { file: path.to_owned(), line: at, kind, problem }));
        }
        let fault = |line, kind, problem: String| Fault { file: path.to_owned(), line, kind, problem };
        if let Some(torn) = &self.torn {
            let (kind, problem) = if torn.open {
                let bytes = torn.bytes;
                let problem = format!(
                    "ends within a line ({bytes} bytes): the program was stopped while it wrote, or the end was cut off"
                );
                (FaultKind::Torn, problem)
            } else {
                no_line()
            };
            return Ok(Some(fault(torn.line, kind, problem)));
        }
        if self.line == 0 {
            return Ok(Some(fault(1, FaultKind::Removed, "holds no line".into())));
        }
        Ok(None)
    }

    /// Takes the next piece of the file: a line, or a part of one. Else the number of the line that is wrong.
    fn piece(&mut self, path: &Path, bytes: &[u8], ended: bool) -> Result<(), (u64, Place)> {
        let here = self.line;
        // What is torn and not closed by this line is the first thing that is wrong.
        let wrong = |chain: &Chain, wrong: Wrong| match &chain.torn {
            Some(torn) => (torn.line, Place::Wrong(no_line())),
            None => (here, Place::Wrong(wrong)),
        };
        let line = match parse(bytes) {
            Ok(line) => line,
            Err(NoLine::Incomplete) if bytes.len() <= MAX_LINE => {
                self.tear(bytes, ended);
                return Ok(());
            }
            Err(NoLine::Changed) => {
                let problem = "was changed: its digest is not that of its bytes".to_owned();
                return Err(wrong(self, (FaultKind::Changed, problem)));
            }
            Err(_) => return Err(wrong(self, no_line())),
        };
        let closes = self.torn.as_ref().map(|torn| torn.is_closed_by(&line));
        match closes {
            None if line.fields.event == "torn" => {
                let problem = "says that the line before was not written to its end, and that one is whole";
                return Err((here, Place::Wrong((FaultKind::Removed, problem.into()))));
            }
            Some(false) => return Err(wrong(self, no_line())),
            _ => {}
        }
        self.link(&line).map_err(|place| (here, place))?;
        if let Some(torn) = self.torn.take()
            && self.report.torn.len() < 100
        {
            self.report.torn.push(Torn { file: path.to_owned(), line: torn.line, bytes: torn.bytes });
        }
        self.count(&line);
        Ok(())
    }

    /// A piece that is no whole line.
    fn tear(&mut self, bytes: &[u8], ended: bool) {
        let line = self.line;
        match &mut self.torn {
            Some(torn) => {
                torn.sha256.update(b"\n");
                torn.sha256.update(bytes);
                torn.bytes += 1 + bytes.len() as u64;
                torn.open = !ended;
            }
            None => {
                let sha256 = Sha256::new_with_prefix(bytes);
                self.torn = Some(Pieces { line, bytes: bytes.len() as u64, sha256, open: !ended });
            }
        }
    }

    /// Whether the line follows the one before.
    fn link(&self, line: &Line) -> Result<(), Place> {
        let fields = &line.fields;
        let wrong = |kind, problem: String| Err(Place::Wrong((kind, problem)));
        let seq = fields.seq;
        if self.line == 1 && !line.begins() {
            return wrong(FaultKind::Removed, format!("the file begins with line {seq} of its chain"));
        }
        if line.begins() && fields.format != Some(FORMAT) {
            return wrong(FaultKind::NoLine, format!("is not of format {FORMAT}: another version wrote it"));
        }
        if self.line > 1 && line.begins() {
            return wrong(FaultKind::Inserted, "is the first line of a file, within one".into());
        }
        let Some(head) = &self.report.head else {
            // A chain that began in an earlier file is followed from here on.
            let sound = match fields.event.as_str() {
                "begin" => seq == 0 && fields.previous == nothing(),
                _ => seq > 0,
            };
            return if sound { Ok(()) } else { Err(Place::Wrong(no_line())) };
        };
        let expected = head.seq + 1;
        if seq == expected && fields.previous == head.sha256 {
            return Ok(());
        }
        if fields.event == "begin" {
            let problem = "begins another chain: verify each by itself";
            return wrong(FaultKind::Inserted, problem.into());
        }
        if seq > expected {
            return Err(Place::Ahead { found: seq });
        }
        if seq == expected {
            let problem = format!(
                "was written after another line {} than the one that is there: that one was replaced",
                head.seq
            );
            return wrong(FaultKind::Replaced, problem);
        }
        wrong(FaultKind::Inserted, format!("is line {seq} of the chain, after line {}", head.seq))
    }

    /// Line `found` of the chain is where another one should be: looks whether that one comes later in the file.
    fn ahead(&self, found: u64, reader: &mut impl BufRead) -> io::Result<Wrong> {
        let expected = self.report.head.as_ref().map_or(0, |head| head.seq + 1);
        let (mut bytes, mut at) = (Vec::new(), self.line);
        while next(reader, &mut bytes)?.is_some() {
            at += 1;
            if parse(&bytes).is_ok_and(|line| line.fields.seq == expected) {
                let problem = format!(
                    "is line {found} of the chain; line {expected}, which belongs here, is line {at} of the file"
                );
                return Ok((FaultKind::Moved, problem));
            }
        }
        let missing = match found - expected {
            1 => format!("line {expected} is missing"),
            _ => format!("lines {expected} to {} are missing", found - 1),
        };
        Ok((FaultKind::Removed, format!("is line {found} of the chain, and {missing} before it")))
    }

    /// Takes a line that is as it was written.
    fn count(&mut self, line: &Line) {
        let Report { lines, first, head, runs, unfinished, lost, .. } = &mut self.report;
        if head.is_none() {
            *first = line.fields.seq;
        }
        *lines += 1;
        *head = Some(line.head());
        match line.fields.event.as_str() {
            "start" => {
                *runs += 1;
                *unfinished += 1;
            }
            "stop" => *unfinished = unfinished.saturating_sub(1),
            "lines-lost" => *lost = lost.saturating_add(line.fields.lost_lines.unwrap_or(0)),
            _ => {}
        }
        self.wanted.take_if(|wanted| *wanted == line.sha256);
    }

    /// What is missing at the end.
    fn missing(&self, path: &Path, anchor: &Anchor) -> Option<Fault> {
        let lines = self.report.head.as_ref().map_or(0, |head| head.seq + 1);
        let problem = match (&self.wanted, anchor.lines) {
            (Some(wanted), _) => format!(
                "the line with the digest {wanted} is not there: lines at the end were removed, or it is another log"
            ),
            (None, Some(least)) if lines < least => {
                format!("the chain has {lines} lines and not {least}: lines at the end were removed")
            }
            _ => return None,
        };
        Some(Fault { file: path.to_owned(), line: self.line + 1, kind: FaultKind::Removed, problem })
    }
}

/// What is wrong with a line, or that the reason lies further down.
enum Place {
    Wrong(Wrong),
    /// Line `found` of the chain comes too early.
    Ahead {
        found: u64,
    },
}

impl Pieces {
    /// Whether `line` says just this.
    fn is_closed_by(&self, line: &Line) -> bool {
        let digest = hex(&self.sha256.clone().finalize());
        line.fields.event == "torn"
            && line.fields.torn_bytes == Some(self.bytes)
            && line.fields.torn_sha256.as_deref() == Some(&digest)
    }
}

fn no_line() -> Wrong {
    (FaultKind::NoLine, "is no line of an audit log: it was changed, or does not belong here".into())
}

/// Reads the next line without its line feed, and whether it has one; `None` at the end. Of a line that is too long, one
/// byte too many is read.
fn next(reader: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<Option<bool>> {
    bytes.clear();
    reader.take(MAX_LINE as u64 + 2).read_until(b'\n', bytes)?;
    let ended = bytes.pop_if(|byte| *byte == b'\n').is_some();
    Ok((ended || !bytes.is_empty()).then_some(ended))
}
