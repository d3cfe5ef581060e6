//! Standard output, with control characters in names from files escaped.

use std::io::{self, StdoutLock, Write};

use microraptor::names::printable;

/// Standard output, through [`printable`].
pub fn stdout() -> Printable<StdoutLock<'static>> {
    Printable(io::stdout().lock())
}

/// Prints a line, whole and at once, whichever thread calls.
pub fn line(text: &str) -> io::Result<()> {
    let mut out = stdout();
    writeln!(out, "{text}")?;
    out.flush()
}

/// A writer that escapes characters that would control a terminal.
pub struct Printable<W>(W);

impl<W: Write> Printable<W> {
    /// Writes `text` in a colour if `terminal` is true.
    pub fn coloured(&mut self, text: &str, colour: &str, terminal: bool) -> io::Result<()> {
        self.0.write_all(coloured(&printable(text), colour, terminal).as_bytes()).map_err(named)
    }
}

/// `text` in a colour, on a terminal and unless NO_COLOR is set.
pub fn coloured(text: &str, colour: &str, terminal: bool) -> String {
    if terminal && std::env::var_os("NO_COLOR").is_none() {
        format!("\u{1b}[{colour}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Formatting writes whole strings, so that no character is split.
        for chunk in bytes.utf8_chunks() {
            self.0.write_all(printable(chunk.valid()).as_bytes()).map_err(named)?;
            if !chunk.invalid().is_empty() {
                self.0.write_all("\u{fffd}".as_bytes()).map_err(named)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(named)
    }
}

/// Adds where writing failed. The kind is kept, because a closed pipe is not reported as a failure.
fn named(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_spelled_out_and_json_keeps_its_meaning() {
        let mut out = Printable(Vec::new());
        let name = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}.png";
        writeln!(out, "{name}").unwrap();
        writeln!(out, "{}", serde_json::json!({"file": name})).unwrap();
        out.write_all(b"\xff\n").unwrap();
        let text = String::from_utf8(out.0).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], r"\u001b]0;owned\u0007\u009b2J\u202e.png");
        assert_eq!(serde_json::from_str::<serde_json::Value>(lines[1]).unwrap()["file"], name);
        assert!(lines[1].is_ascii());
        assert_eq!(lines[2], "\u{fffd}");
    }
}
