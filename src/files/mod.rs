//! Files, below every layer that reads or writes: regular ones alone are opened, and read whole up to a limit; what is written is
//! whole under its name, or is not there.

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
