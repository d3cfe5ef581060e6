//! What is said on standard error of files that are read all the same.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

/// Texts that are remembered; past them one may be said twice.
const REMEMBERED: usize = 1 << 12;

/// Warns of it once, for a file may be opened several times: for its digest, its features and its overlay.
pub(super) fn once(text: String) {
    if is_new(&text) {
        log::warn!("{text}");
    }
}

/// Warns of the first file of its kind alone, for folders whose files are all alike.
pub(super) fn first(kind: &str, name: impl Display, problem: impl Display) {
    if is_new(kind) {
        log::warn!("{name}: {problem}; other files like it are not named");
    }
}

/// What pictures carry along and nobody applies: a colour profile other than sRGB.
pub(super) fn profile(name: impl Display, profile: &[u8]) {
    let wide: Vec<u8> = "sRGB".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let holds = |text: &[u8]| profile.windows(text.len()).any(|part| part == text);
    if !holds(b"sRGB") && !holds(&wide) {
        let problem =
            "has a colour profile other than sRGB, which is not applied: its samples are taken as they are";
        first("a colour profile", name, problem);
    }
}

/// Pixels that are not square, by their height and width or those of what they show.
pub(super) fn aspect(name: impl Display, height: f64, width: f64) {
    // A rounded spacing is not a shape.
    if height > 0.0 && width > 0.0 && (height / width - 1.0).abs() > 0.01 {
        let problem = format!(
            "has pixels that are not square ({width} wide, {height} high), which is not corrected: what is seen is \
             stretched"
        );
        first("pixels that are not square", name, problem);
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
    fn a_kind_is_said_of_its_first_file() {
        assert!(is_new("a kind, for this test") && !is_new("a kind, for this test"));
    }

    #[test]
    fn a_text_is_said_once() {
        assert!(
            is_new("a.y4m: is interlaced, for this test") && is_new("b.y4m: is interlaced, for this test")
        );
        assert!(!is_new("a.y4m: is interlaced, for this test"));
    }
}
