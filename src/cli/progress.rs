//! Progress bars: on standard error, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of `length` steps; hidden unless standard error is a terminal.
pub fn bar(length: usize, what: impl Into<String>) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg:24!} {bar:32} {pos}/{len} {eta:>4}").expect("a constant template");
    ProgressBar::new(length as u64).with_style(style).with_message(what.into())
}
