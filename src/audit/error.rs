//! Why a log cannot be written.

use std::io;
use std::path::PathBuf;

/// Why a log cannot be opened or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The system's error.
    #[error("{path}: the audit log cannot be {doing}: {source}")]
    Io {
        /// The log.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process writes to it.
    #[error("{0}: another process writes to this audit log: give each its own")]
    Locked(PathBuf),
    /// The file is something else.
    #[error("{0}: is no audit log, and nothing is added to it: give the name of a new file, or of a log")]
    NotALog(PathBuf),
    /// The end of the file is not what this program leaves.
    #[error("{path}: {problem}: nothing is added to it; verify it, keep it, and begin a new one")]
    Damaged {
        /// The log.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// An event is too long for a line.
    #[error("{path}: a line of {bytes} bytes is longer than one of an audit log may be")]
    TooLong {
        /// The log.
        path: PathBuf,
        /// The line's length.
        bytes: usize,
    },
}

impl AuditError {
    /// Whether the disk is full or fails, so that another try may succeed.
    pub fn may_pass(&self) -> bool {
        matches!(self, AuditError::Io { .. })
    }
}
