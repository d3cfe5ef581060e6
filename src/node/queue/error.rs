//! Errors of a queue.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the queue cannot do something.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The system failed.
    #[error("{path}: {source}: check the disk, and the permissions of the queue")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the queue.
    #[error("{0}: another node uses this queue: give each its own (--queue)")]
    Taken(PathBuf),
    /// The UID cannot be the name of a file.
    #[error("{0:?} is no UID")]
    Uid(String),
    /// There is less space on the disk than is kept free.
    #[error("{path}: {free} bytes are free, and {reserve} are kept free: make room on the disk")]
    Full {
        /// The queue.
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// Bytes that are kept free.
        reserve: u64,
    },
}

impl QueueError {
    /// Whether the disk is full, which may pass.
    pub fn is_full(&self) -> bool {
        match self {
            QueueError::Full { .. } => true,
            QueueError::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}
