//! Why a file could not be written.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The folder that should hold the file does not exist.
    #[error("cannot write {path}: the folder {folder} does not exist; create it first")]
    NoFolder {
        /// The file asked for.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// The path names a folder, or ends in no file name.
    #[error("cannot write {0}: that is a folder; give a file name in it")]
    IsFolder(PathBuf),
    /// Permissions, or a read-only file system.
    #[error(
        "cannot write {path}: the folder {folder} is not writable ({source}); choose another place or change its permissions"
    )]
    NotWritable {
        /// The file asked for.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What comes in parts, of which some are written.
    #[error("cannot write {path}: {source}; {left}")]
    Partly {
        /// The file that could not be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What is written and what is not.
        left: String,
    },
    /// Anything else that the system said, such as a full disk.
    #[error("cannot write {path}: {source}; nothing of it was left behind")]
    Io {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl WriteError {
    /// What the system said about writing `path`.
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

/// "out.json" has the parent "", which is the current folder.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
