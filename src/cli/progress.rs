//! Progress bars on standard error, shown only if it is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use microraptor::names::printable;

/// A bar of `length` steps; hidden unless standard error is a terminal.
pub fn bar(length: usize, what: impl Into<String>) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg:24!} {bar:32} {pos}/{len} {eta:>4}").expect("a constant template");
    ProgressBar::new(length as u64).with_style(style).with_message(printable(&what.into()).into_owned())
}

/// A spinner for work of unknown length; hidden unless standard error is a terminal.
pub fn spinner(what: impl Into<String>) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(printable(&what.into()).into_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
