//! Writing what the program makes: files that are whole or absent.

mod atomic;
mod error;
pub mod features;
mod picture;

pub use atomic::{AtomicFile, check_writable, write_atomically};
pub use error::OutputError;
pub use picture::{PALETTE, colour, write_mask, write_overlay};
