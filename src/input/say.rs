//! Warnings on standard error about files that are read nevertheless.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

/// Number of texts remembered; beyond it, a text may be repeated.
const REMEMBERED: usize = 1 << 12;

/// Warns once per text, because a file may be opened several times: for its digest, its features and its overlay.
pub(super) fn once(text: String) {
    if is_new(&text) {
        log::warn!("{text}");
    }
}

/// Warns about the first file of a kind only, because a folder's files are often all alike.
pub(super) fn first(kind: &str, name: impl Display, problem: impl Display) {
    if is_new(kind) {
        log::warn!("{name}: {problem}; other files like it are not named");
    }
}

/// Warns about a colour profile other than sRGB, which is not applied.
pub(super) fn profile(name: impl Display, profile: &[u8]) {
    let wide: Vec<u8> = "sRGB".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let holds = |text: &[u8]| profile.windows(text.len()).any(|part| part == text);
    if !holds(b"sRGB") && !holds(&wide) {
        let problem =
            "has a colour profile other than sRGB, which is not applied: its samples are taken as they are";
        first("a colour profile", name, problem);
    }
}

/// Warns about pixels that are not square; `height` and `width` are those of a pixel or the area it shows.
pub(super) fn aspect(name: impl Display, height: f64, width: f64) {
    // Small differences come from rounded spacings.
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
