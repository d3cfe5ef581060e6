//! The error message for a file that a library cannot read.

use std::error::Error;

use crate::names::one_line;

/// One line with `what`, the error and its causes.
pub(super) fn damaged(what: &str, error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = source.source();
    }
    format!("{what} ({}): the file is damaged or cut short", one_line(&text))
}
