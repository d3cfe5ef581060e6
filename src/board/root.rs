//! Reads `/proc` and `/sys` (and a Jetson's files in `/var` and `/etc`) of this machine or of a recorded tree, with
//! limits on size and without errors.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Maximum number of bytes read from a file. An attribute that the kernel writes has at most one page (4 KiB).
const MAX_BYTES: u64 = 64 << 10;

/// Maximum number of bytes read from `/proc/cpuinfo`: x86 uses some 1.5 KiB per core, and servers have hundreds.
const MAX_CPUINFO_BYTES: u64 = 1 << 20;

/// Maximum number of entries read from a folder.
const MAX_ENTRIES: usize = 4096;

/// The folder that contains `proc` and `sys`. Anything unreadable is `None`: a missing sensor is not an error.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// This machine.
    pub fn live() -> Root {
        Root(PathBuf::from("/"))
    }

    /// A recorded tree.
    pub fn recorded(folder: impl Into<PathBuf>) -> Root {
        Root(folder.into())
    }

    /// Whether this is the live machine.
    pub fn is_live(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// The file's text, with white space and NUL trimmed at both ends; `None` if it is missing, empty or not a file.
    pub fn text(&self, path: &str) -> Option<String> {
        let bytes = self.bytes(path, MAX_BYTES)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The file's first line in printable form: at most 200 characters, without control characters.
    pub fn line(&self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        Some(printable(text.lines().next()?))
    }

    /// The file's text, parsed.
    pub fn value<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// NUL-terminated strings, as in device trees.
    pub fn strings(&self, path: &str) -> Vec<String> {
        let text = self.text(path).unwrap_or_default();
        text.split('\0').filter(|s| !s.is_empty()).map(printable).collect()
    }

    /// `/proc/cpuinfo`.
    pub(super) fn cpuinfo(&self) -> String {
        let bytes = self.bytes("proc/cpuinfo", MAX_CPUINFO_BYTES).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Names in a folder that consist of `prefix` and a number, sorted by number: `cpu0`, `cpu1`, `cpu10`.
    pub fn numbered(&self, folder: &str, prefix: &str) -> Vec<(usize, String)> {
        let Ok(entries) = std::fs::read_dir(self.0.join(folder)) else { return Vec::new() };
        let number = |name: String| {
            let digits = name.strip_prefix(prefix)?;
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            Some((plain.then(|| digits.parse().ok())??, name))
        };
        let mut names: Vec<(usize, String)> = entries
            .take(MAX_ENTRIES)
            .filter_map(|entry| number(entry.ok()?.file_name().into_string().ok()?))
            .collect();
        names.sort();
        names
    }

    /// Names in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.0.join(folder)) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .take(MAX_ENTRIES)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    fn bytes(&self, path: &str, limit: u64) -> Option<Vec<u8>> {
        let path = self.0.join(path);
        // Opening a pipe would block until it has a writer.
        if !std::fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// At most 200 characters, with control characters replaced, since a recorded tree may contain anything.
pub(super) fn printable(text: &str) -> String {
    text.trim().chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn reads_are_bounded_and_never_fail() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::recorded(folder.path());
        fs::write(folder.path().join("big"), vec![b'7'; 1 << 20]).unwrap();
        fs::write(folder.path().join("binary"), [0xff, 0, 27, b'x', b'\n', b'y']).unwrap();
        fs::write(folder.path().join("empty"), "").unwrap();
        fs::write(folder.path().join("number"), " 42\n").unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        assert_eq!(root.text("big").unwrap().len() as u64, MAX_BYTES);
        assert_eq!(root.line("big").unwrap().len(), 200);
        assert_eq!(root.value::<u64>("big"), None);
        assert!(!root.line("binary").unwrap().contains('\u{1b}'));
        assert_eq!(root.value::<u64>("number"), Some(42));
        for path in ["empty", "folder", "missing", "number/below"] {
            assert_eq!(root.text(path), None, "{path}");
        }
        assert!(root.names("missing").is_empty() && root.numbered("number", "cpu").is_empty());
    }

    #[test]
    fn numbered_names_are_sorted_by_number() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["cpu10", "cpu2", "cpufreq", "cpu", "cpu99999999999999999999", "cpu+1"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let names = Root::recorded(folder.path()).numbered("", "cpu");
        assert_eq!(names, [(2, "cpu2".to_owned()), (10, "cpu10".to_owned())]);
    }
}
