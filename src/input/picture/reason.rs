//! Decoder errors as part of a message.

use crate::names::one_line;

/// A decoder's error in one line, without the long lists of numbers that some quote from a file.
pub(super) fn short(reason: &str) -> String {
    const LONGEST: usize = 200;
    let line = one_line(reason);
    if line.chars().count() <= LONGEST {
        return line;
    }
    line.chars().take(LONGEST).chain("...".chars()).collect()
}
