//! Files and their names as the system has them, below every layer that reads or writes.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Opens a file for reading. What is no regular file is refused at once, without waiting for a writer: a pipe, a socket
/// and a device have no end that is known, and whoever gave one meant something else. Links are followed.
///
/// # Errors
/// What the system says, or one that says what is there instead of a file.
pub fn open(path: &Path) -> io::Result<File> {
    // Asked before it is opened, for opening a device can move it (a tape), and opening a pipe takes its writer's bytes.
    check(&std::fs::metadata(path)?)?;
    let file = open_at_once(path)?;
    // Asked again of what was opened: another file may have taken the name in between.
    check(&file.metadata()?)?;
    Ok(file)
}

/// The bytes of a file that [`open`] opens.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file that [`open`] opens.
///
/// # Errors
/// As [`open`]; one of its own for text that is not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let mut file = open(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Opening a pipe without a writer waits for one, unless it is told not to. Regular files do not know the flag.
#[cfg(unix)]
fn open_at_once(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open_at_once(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

fn check(found: &Metadata) -> io::Result<()> {
    match kind(found.file_type()) {
        None => Ok(()),
        Some("folder") => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder, not a file")),
        Some(kind) => {
            let problem =
                format!("it is a {kind}, not a file; standard input is given as '-', where it is read");
            Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
        }
    }
}

/// What is there instead of a file.
fn kind(found: FileType) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if found.is_fifo() {
            return Some("pipe");
        }
        if found.is_socket() {
            return Some("socket");
        }
        if found.is_char_device() || found.is_block_device() {
            return Some("device");
        }
    }
    found.is_dir().then_some("folder")
}

/// A name for text that programs read, such as JSON. One that is UTF-8 stands as it is. In any other, `\xNN` stands for
/// each byte that is no part of a character, and `\\` for a backslash, so that the name can be had back.
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

/// `text` with `\uNNNN` for each character that would do something on a terminal instead of standing there: controls of
/// either set (ISO 6429) but the line feed, and what turns the direction of text around (Unicode's bidirectional formatting
/// characters, and its line and paragraph separators; CVE-2021-42574). JSON text keeps its meaning.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) {
            // All of them are of the basic plane, and so have four digits.
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

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened() {
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert_eq!(read_to_string(&file).unwrap(), "text");
        std::os::unix::fs::symlink(&file, folder.path().join("link")).unwrap();
        assert_eq!(read(&folder.path().join("link")).unwrap(), b"text");
        let said = |path: &Path| open(path).unwrap_err().to_string();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(said(&pipe).contains("it is a pipe"), "{}", said(&pipe));
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(said(&socket).contains("it is a socket"));
        assert!(said(Path::new("/dev/null")).contains("it is a device"));
        assert!(said(folder.path()).contains("it is a folder"));
        assert_eq!(open(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
