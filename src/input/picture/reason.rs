//! What a decoder says is wrong, as part of a message.

use crate::names::one_line;

/// A decoder's words in one line, without the lists of numbers that some quote from a file.
pub(super) fn short(reason: &str) -> String {
    const LONGEST: usize = 200;
    let line = one_line(reason);
    if line.chars().count() <= LONGEST {
        return line;
    }
    line.chars().take(LONGEST).chain("...".chars()).collect()
}
