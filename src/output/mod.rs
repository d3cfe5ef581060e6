//! Writing what the program makes: files that are whole or absent.

mod atomic;

pub use atomic::{OutputError, write_atomically};
