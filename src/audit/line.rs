//! One line: how it is written, and read again.
//!
//! A line is a JSON object whose last member `sha256` is the SHA-256 of all bytes of the line before that member (before
//! its comma). `previous` is the `sha256` of the line before, and `seq` one more than its `seq`.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::event::Event;
use crate::names::printable;
use crate::sealed::sha256;

/// Longest line in bytes, without its line feed.
pub const MAX_LINE: usize = 256 << 10;

/// What precedes the digest at the end of a line, and what follows it.
const BEFORE: &[u8] = br#","sha256":""#;
const AFTER: &[u8] = br#""}"#;
const DIGITS: usize = 64;

/// The last line of a chain: what it is compared with later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Its number, counted from 0.
    pub seq: u64,
    /// Its digest.
    pub sha256: String,
}

/// SHA-256 of `bytes` in lower-case hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    sha256(bytes)
}

/// What stands for the digest before the first line.
pub(super) fn nothing() -> String {
    "0".repeat(DIGITS)
}

/// The line that follows `previous`, without its line feed, and its head.
pub(super) fn encode(previous: Option<&Head>, event: &Event) -> serde_json::Result<(String, Head)> {
    #[derive(Serialize)]
    struct Body<'a> {
        seq: u64,
        time: String,
        previous: &'a str,
        #[serde(flatten)]
        event: &'a Event,
    }
    let seq = previous.map_or(0, |head| head.seq + 1);
    let time = DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Micros, true);
    let before = previous.map_or_else(nothing, |head| head.sha256.clone());
    let json = serde_json::to_string(&Body { seq, time, previous: &before, event })?;
    // Whoever looks at the file in a terminal sees text alone; JSON keeps its meaning.
    let json = printable(&json);
    let body = json.strip_suffix('}').unwrap_or(&json);
    let sha256 = sha256(body.as_bytes());
    Ok((format!(r#"{body},"sha256":"{sha256}"}}"#), Head { seq, sha256 }))
}

/// What a line says of its place, and what [`super::verify`] needs of events.
#[derive(Debug, Deserialize)]
pub(super) struct Fields {
    pub seq: u64,
    pub previous: String,
    pub event: String,
    /// Never read; a line has one.
    #[serde(rename = "time")]
    pub _time: String,
    pub format: Option<u32>,
    pub file: Option<u64>,
    pub torn_bytes: Option<u64>,
    pub torn_sha256: Option<String>,
    pub lost_lines: Option<u64>,
}

/// A line whose digest is right.
#[derive(Debug)]
pub(super) struct Line {
    pub fields: Fields,
    pub sha256: String,
}

impl Line {
    pub fn head(&self) -> Head {
        Head { seq: self.fields.seq, sha256: self.sha256.clone() }
    }

    /// Whether a file may begin with it.
    pub fn begins(&self) -> bool {
        ["begin", "continued"].contains(&self.fields.event.as_str())
    }
}

/// Why bytes are no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLine {
    /// They do not end as a line does: something was cut off, or it is something else.
    Incomplete,
    /// They end as a line does, with another digest than theirs.
    Changed,
    /// The digest is right, and what it covers is no line: this program has not written it.
    Foreign,
}

/// Reads a line without its line feed.
pub(super) fn parse(bytes: &[u8]) -> Result<Line, NoLine> {
    let (body, digest) = split(bytes).ok_or(NoLine::Incomplete)?;
    if bytes.len() > MAX_LINE {
        return Err(NoLine::Foreign);
    }
    if sha256(body) != digest {
        return Err(NoLine::Changed);
    }
    let fields: Fields = serde_json::from_slice(bytes).map_err(|_| NoLine::Foreign)?;
    // Nobody writes so many lines; the next number must exist.
    if fields.seq.max(fields.file.unwrap_or(0)) > u64::MAX / 2 {
        return Err(NoLine::Foreign);
    }
    Ok(Line { fields, sha256: digest.to_owned() })
}

/// What a line's digest covers, and the digest.
fn split(bytes: &[u8]) -> Option<(&[u8], &str)> {
    let rest = bytes.strip_suffix(AFTER)?;
    let (rest, digest) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    let body = rest.strip_suffix(BEFORE)?;
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digest = std::str::from_utf8(digest).ok().filter(|digest| digest.as_bytes().iter().all(is_hex))?;
    Some((body, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written_and_no_byte_of_it_can_change() {
        let (first, head) = encode(None, &Event::Begin { format: 1, nonce: "00ff".into() }).unwrap();
        let (second, last) = encode(Some(&head), &Event::Error { class: "a\u{9b}2J\"\n".into() }).unwrap();
        assert!(second.is_ascii() && !second.contains('\n'), "{second}");
        let line = parse(second.as_bytes()).unwrap();
        assert_eq!((line.head(), line.fields.previous.as_str()), (last, head.sha256.as_str()));
        assert_eq!((line.fields.seq, line.fields.event.as_str()), (1, "error"));
        assert!(parse(first.as_bytes()).unwrap().begins());
        for at in 0..first.len() {
            for flip in [1, 0x20, 0x80] {
                let mut bytes = first.clone().into_bytes();
                bytes[at] ^= flip;
                let found = parse(&bytes).unwrap_err();
                assert!(matches!(found, NoLine::Changed | NoLine::Incomplete), "{at}: {found:?}");
            }
            assert_eq!(parse(&first.as_bytes()[..at]).unwrap_err(), NoLine::Incomplete, "{at}");
        }
    }

    #[test]
    fn a_right_digest_of_something_else_is_no_line() {
        let huge = r#"{"seq":18446744073709551615,"time":"","previous":"","event":"""#;
        for body in ["", "{", huge, r#"{"seq":1"#, r#"{"seq":-1,"time":"","previous":"","event":"""#] {
            let text = format!(r#"{body},"sha256":"{}"}}"#, sha256(body.as_bytes()));
            assert_eq!(parse(text.as_bytes()).unwrap_err(), NoLine::Foreign, "{body}");
        }
    }
}
