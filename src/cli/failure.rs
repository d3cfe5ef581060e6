//! How a failure is said: one line, and an exit code.

use std::io::{self, IsTerminal, Write};

use microraptor::names::printable;

use super::terminal;

/// The exit code of every failure.
pub const FAILURE: u8 = 2;

/// One line: `error: what: where: why`.
pub fn report(error: &anyhow::Error) {
    let text = one_line(error);
    let label = terminal::coloured("error:", RED, io::stderr().is_terminal());
    // Nothing is left to do if standard error itself is gone.
    let _ = writeln!(io::stderr(), "{label} {text}");
}

/// Bold red, as ANSI terminals know it.
const RED: &str = "1;31";

/// The error and its causes, each said once: many messages hold their cause's already.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    printable(&text.replace(['\n', '\r'], " ")).into_owned()
}
