//! The end of a log that is opened again.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};

use super::line::{Head, Line, MAX_LINE, NoLine, parse};

/// Pieces of lines that may stand at the end, one for each time that closing them failed.
pub(super) const MAX_TORN: usize = 8;

/// How a file ends.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// With a line feed after a line.
    Whole,
    /// With a line that lacks its line feed.
    Unended,
    /// Within a line: bytes since the last line, and their digest so far.
    Torn { bytes: u64, sha256: Sha256 },
}

impl End {
    /// A part of a line, after the last one.
    pub fn torn(part: &[u8]) -> End {
        End::Torn { bytes: part.len() as u64, sha256: Sha256::new_with_prefix(part) }
    }

    /// What it is after only the first `part` of a write that began with a line feed unless this is [`End::Whole`].
    pub fn after(self, part: &[u8]) -> End {
        match (self, part) {
            (end, []) => end,
            (End::Whole, part) => End::torn(part),
            (End::Unended, [_]) => End::Whole,
            (End::Unended, [_, part @ ..]) => End::torn(part),
            (End::Torn { bytes, sha256 }, part) => {
                End::Torn { bytes: bytes + part.len() as u64, sha256: sha256.chain_update(part) }
            }
        }
    }
}

/// The last line of a file, and what follows it.
#[derive(Debug)]
pub(super) struct Tail {
    pub last: Line,
    pub end: End,
    /// Number of the file in its chain.
    pub file: u64,
}

/// Why a file cannot be added to.
#[derive(Debug)]
pub(super) enum TailError {
    Io(io::Error),
    NotALog,
    Damaged(String),
}

impl From<io::Error> for TailError {
    fn from(error: io::Error) -> TailError {
        TailError::Io(error)
    }
}

impl Tail {
    /// Reads the first line of `file` and its end, which has some bytes; not what is between.
    pub fn read(file: &mut File) -> Result<Tail, TailError> {
        let first = first(file)?;
        let length = file.seek(SeekFrom::End(0))?;
        let window = length.min((MAX_TORN as u64 + 2) * (MAX_LINE as u64 + 1));
        file.seek(SeekFrom::Start(length - window))?;
        let mut bytes = Vec::new();
        file.take(window).read_to_end(&mut bytes)?;
        let (last, from) = last(&bytes)?;
        let end = match (&bytes[from..], bytes.get(from.wrapping_sub(1))) {
            ([], Some(b'\n')) => End::Whole,
            ([], _) => End::Unended,
            (part, _) => End::torn(part),
        };
        Ok(Tail { last, end, file: first.fields.file.unwrap_or(0) })
    }

    pub fn head(&self) -> Head {
        self.last.head()
    }
}

/// The first line, which says that it is a log.
fn first(file: &mut File) -> Result<Line, TailError> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(MAX_LINE as u64 + 1).read_to_end(&mut bytes)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match parse(line) {
        Ok(line) if line.begins() => Ok(line),
        Ok(_) => Err(TailError::Damaged("it does not begin with the first line of an audit log".into())),
        Err(_) => Err(TailError::NotALog),
    }
}

/// The last line in `bytes`, and where what follows it begins (after its line feed, if it has one).
fn last(bytes: &[u8]) -> Result<(Line, usize), TailError> {
    let mut end = bytes.len();
    for piece in 0..MAX_TORN + 2 {
        let start = bytes[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        match parse(&bytes[start..end]) {
            Ok(line) => return Ok((line, if end < bytes.len() { end + 1 } else { end })),
            Err(NoLine::Incomplete) if start > 0 => end = start - 1,
            // After the last line feed nothing was written by a program that ended as it should.
            Err(problem) => {
                let which = if piece == 0 { "its end" } else { "its last line" };
                let what = match problem {
                    NoLine::Changed => "was changed",
                    NoLine::Foreign | NoLine::Incomplete => "is no line of an audit log",
                };
                return Err(TailError::Damaged(format!("{which} {what}")));
            }
        }
    }
    Err(TailError::Damaged("no line of an audit log is near its end".into()))
}
