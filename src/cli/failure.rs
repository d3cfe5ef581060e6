//! How a failure is reported: one line, and an exit code.

use std::io::{self, IsTerminal, Write};

use microraptor::names::printable;

use super::terminal;

/// The exit code of every failure.
pub const FAILURE: u8 = 2;

/// Prints one line on standard error: `error: what: where: why`.
pub fn report(error: &anyhow::Error) {
    let text = one_line(error);
    let label = terminal::coloured("error:", RED, io::stderr().is_terminal());
    // If standard error is closed, nothing more can be done.
    let _ = writeln!(io::stderr(), "{label} {text}");
}

/// ANSI code for bold red.
const RED: &str = "1;31";

/// The error and its causes. A cause whose message is already part of the text is skipped.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    printable(&text.replace(['\n', '\r'], " ")).into_owned()
}
