//! Writing what the program makes: files that are whole or absent.

mod atomic;
pub mod features;

pub use atomic::{AtomicFile, OutputError, check_writable, write_atomically};
