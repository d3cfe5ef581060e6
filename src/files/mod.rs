//! File access for all layers above: only regular files are opened, and they are read whole up to a limit. Written
//! files are complete under their final name, or do not exist.

mod access;
mod atomic;
mod error;
mod read;
mod temporary;

pub use access::{Access, Target};
pub use atomic::{AtomicFile, check_writable, spool_beside, write_all_atomically, write_atomically};
pub use error::WriteError;
pub use read::{MAX_TABLE, MAX_TEXT, check_length, open, read, text};
pub use temporary::remove_temporaries;
