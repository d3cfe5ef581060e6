//! Opens files and reads them whole.
//!
//! A file's length cannot be trusted: a sparse file can claim gigabytes and occupy one page on disk. So only kinds of
//! file with a largest sensible length are read whole, and the length is checked before anything is allocated.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Maximum size of a JSON or TOML description, in bytes: the longest `config.json` of transformers has about 10 KiB.
pub const MAX_TEXT: u64 = 16 << 20;

/// Maximum size of a table, in bytes: half a million rows of 64 bytes.
pub const MAX_TABLE: u64 = 32 << 20;

/// Opens a file for reading. Anything but a regular file is refused at once, without waiting for a writer: pipes,
/// sockets and devices have no known end and are most likely a mistake. Links are followed.
///
/// # Errors
/// The system's error, or one that says what is there instead of a file.
pub fn open(path: &Path) -> io::Result<File> {
    // Checked before opening: opening a device can have side effects (a tape moves), and opening a pipe takes bytes
    // from its writer.
    check_kind(&std::fs::metadata(path)?)?;
    let file = open_at_once(path)?;
    // Checked again after opening: another file may have taken the name in between.
    check_kind(&file.metadata()?)?;
    Ok(file)
}

/// The bytes of the file at `path`, at most `limit` of them.
///
/// # Errors
/// As [`open`]; [`io::ErrorKind::FileTooLarge`] for a longer file, before anything is read, unless the system reports a
/// wrong length, as procfs does.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    check_length(length, limit)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length as usize)?;
    file.take(limit + 1).read_to_end(&mut bytes)?;
    check_length(bytes.len() as u64, limit)?;
    Ok(bytes)
}

/// As [`read`], for UTF-8 text.
///
/// # Errors
/// As [`read`]; [`io::ErrorKind::InvalidData`] if the file is not UTF-8.
pub fn text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Refuses a length of more than `limit` bytes.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`] gives both numbers.
pub fn check_length(length: u64, limit: u64) -> io::Result<()> {
    if length <= limit {
        return Ok(());
    }
    let most = if limit >= 1 << 20 { format!("{} MiB", limit >> 20) } else { format!("{} KiB", limit >> 10) };
    let problem = format!("its {length} bytes are more than the {most} that such a file may have");
    Err(io::Error::new(io::ErrorKind::FileTooLarge, problem))
}

/// Opens without blocking: opening a pipe would otherwise wait for a writer. The flag has no effect on regular files.
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

fn check_kind(found: &Metadata) -> io::Result<()> {
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

/// What the path is instead of a file; `None` if it is none of these.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened() {
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert_eq!(text(&file, 4).unwrap(), "text");
        std::os::unix::fs::symlink(&file, folder.path().join("link")).unwrap();
        assert_eq!(read(&folder.path().join("link"), 4).unwrap(), b"text");
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
        // procfs reports a length of zero.
        assert!(!read(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
        let error = read(Path::new("/proc/self/status"), 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(read(Path::new("/dev/zero"), 4096).unwrap_err().to_string().contains("it is a device"));
    }
}
