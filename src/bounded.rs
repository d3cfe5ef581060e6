//! Files of bounded length, read whole.
//!
//! A file's length costs nothing to claim: one with a hole has gigabytes on a disk that holds a page. What is read whole is
//! therefore of a kind that has a largest sensible length, and that is checked before anything is allocated.

use std::io::{self, Read};
use std::path::Path;

/// Most bytes of a description in JSON or TOML: transformers' longest `config.json` has some 10 KiB.
pub const MAX_TEXT: u64 = 16 << 20;

/// Most bytes of a table: half a million rows of 64.
pub const MAX_TABLE: u64 = 32 << 20;

/// The bytes of the file at `path`, of which there may be `limit`.
///
/// # Errors
/// What the system says; [`io::ErrorKind::FileTooLarge`] for a file that is longer, of which nothing has been read then
/// unless the length that the system gives is wrong, as it is of a pipe.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = crate::files::open(path)?;
    let length = file.metadata()?.len();
    check(length, limit)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length as usize)?;
    file.take(limit + 1).read_to_end(&mut bytes)?;
    check(bytes.len() as u64, limit)?;
    Ok(bytes)
}

/// As [`read`], of text in UTF-8.
///
/// # Errors
/// As [`read`]; [`io::ErrorKind::InvalidData`] for what is not UTF-8.
pub fn text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Refuses `length` bytes where `limit` are the most.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`] gives both numbers.
pub fn check(length: u64, limit: u64) -> io::Result<()> {
    if length <= limit {
        return Ok(());
    }
    let most = if limit >= 1 << 20 { format!("{} MiB", limit >> 20) } else { format!("{} KiB", limit >> 10) };
    let problem = format!("its {length} bytes are more than the {most} that such a file may have");
    Err(io::Error::new(io::ErrorKind::FileTooLarge, problem))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_file_of_holes_is_refused_by_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        File::create(&path).unwrap().set_len(3 << 30).unwrap();
        let error = read(&path, MAX_TEXT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(
            error.to_string(),
            "its 3221225472 bytes are more than the 16 MiB that such a file may have"
        );
        std::fs::write(&path, [b'x'; 1024]).unwrap();
        assert_eq!(read(&path, 1024).unwrap(), [b'x'; 1024]);
        assert!(read(&path, 1023).unwrap_err().to_string().contains("0 KiB"));
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(text(&path, 9).unwrap_err().to_string(), "it is not UTF-8 text");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_whose_length_is_a_lie_is_bounded_all_the_same() {
        // procfs gives no lengths.
        assert!(!read(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
        let error = read(Path::new("/proc/self/status"), 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(read(Path::new("/dev/zero"), 4096).unwrap_err().to_string().contains("it is a device"));
    }
}
