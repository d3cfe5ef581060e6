//! What is said on standard error of files that are read all the same.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Texts that are remembered; past them one may be said twice.
const REMEMBERED: usize = 1 << 12;

/// Warns of it once, for a file may be opened several times: for its digest, its features and its overlay.
pub(super) fn once(text: String) {
    if is_new(&text) {
        log::warn!("{text}");
    }
}

fn is_new(text: &str) -> bool {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.contains(text) {
        return false;
    }
    if said.len() < REMEMBERED {
        said.insert(text.to_owned());
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_said_once() {
        assert!(
            is_new("a.y4m: is interlaced, for this test") && is_new("b.y4m: is interlaced, for this test")
        );
        assert!(!is_new("a.y4m: is interlaced, for this test"));
    }
}
