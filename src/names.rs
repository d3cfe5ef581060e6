//! Formats names and text for programs and terminals; used by every layer.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write as _;

/// A name for text that programs read, such as JSON. A UTF-8 name is unchanged. In any other, `\xNN` replaces each byte
/// that is not part of a character, and `\\` a backslash, so that the name can be recovered.
pub fn shown(name: impl AsRef<OsStr>) -> String {
    let name = name.as_ref();
    if let Some(name) = name.to_str() {
        return name.to_owned();
    }
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text += &chunk.valid().replace('\\', r"\\");
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// `text` with `\uNNNN` for each character that a terminal would act on instead of showing: all control characters (C0
/// and C1 of ISO 6429) except the line feed, and characters that change the text direction (Unicode's bidirectional
/// formatting characters, and its line and paragraph separators; CVE-2021-42574). JSON text keeps its meaning.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) {
            // All of them are in the basic multilingual plane, so four digits are enough.
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe.into()
}

fn acts(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\n') || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// `text` with each run of white space replaced by one blank: a message is one line.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_on_a_terminal_is_spelled_out() {
        assert_eq!(printable("plain \u{fc}\u{65e5}\n"), "plain \u{fc}\u{65e5}\n");
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}1m\r\t\u{7f}"), r"a\u001b[2Jb\u009b1m\u000d\u0009\u007f");
        assert_eq!(printable("x\u{202e}gnp.exe\u{2066}\u{2028}"), r"x\u202egnp.exe\u2066\u2028");
        let json = serde_json::to_string("\u{202e}\u{85}\u{1b}").unwrap();
        assert_eq!(serde_json::from_str::<String>(&printable(&json)).unwrap(), "\u{202e}\u{85}\u{1b}");
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_utf8_is_shown_by_its_bytes() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(shown("a\\b"), "a\\b");
        assert_eq!(shown(OsStr::from_bytes(b"a\\b\xff\xfe.png")), r"a\\b\xff\xfe.png");
    }
}
