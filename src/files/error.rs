//! Why a file could not be written.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The folder that should hold the file does not exist.
    #[error("cannot write {path}: the folder {folder} does not exist; create it first")]
    NoFolder {
        /// The requested file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// The path names a folder, or does not end in a file name.
    #[error("cannot write {0}: that is a folder; give a file name in it")]
    IsFolder(PathBuf),
    /// Permissions, or a read-only file system.
    #[error(
        "cannot write {path}: the folder {folder} is not writable ({source}); choose another place or change its permissions"
    )]
    NotWritable {
        /// The requested file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Some of several files were written and others were not.
    #[error("cannot write {path}: {source}; {left}")]
    Partly {
        /// The file that could not be written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
        /// Which files were written and which were not.
        left: String,
    },
    /// Any other error from the system, such as a full disk.
    #[error("cannot write {path}: {source}; nothing of it was left behind")]
    Io {
        /// The requested file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl WriteError {
    /// The variant that matches the system's error on writing `path`.
    pub fn new(path: &Path, source: io::Error) -> WriteError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                WriteError::NotWritable { folder: folder_of(&path).to_owned(), path, source }
            }
            _ => WriteError::Io { path, source },
        }
    }
}

/// The parent folder. The parent of "out.json" is "", which means the current folder.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
