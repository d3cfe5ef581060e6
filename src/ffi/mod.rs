//! The library for C: `include/microraptor.h` is made of this module by cbindgen (`tests/header.rs`).
//!
//! A handle is a number that is looked up, so that one that was closed is an error. What C points to is read and written in
//! `memory.rs` alone, as structures that say their size. No panic leaves a call.

// The names of a C interface.
#![allow(missing_docs, clippy::missing_safety_doc)]

mod answer;
mod attest;
mod exclusive;
mod extractor;
mod frame;
mod handles;
mod memory;
mod model;
mod pipeline;
mod status;
mod trust;

use std::ffi::c_char;

// For tests, which call what C calls.
pub use answer::*;
pub use exclusive::Limits;
pub use extractor::*;
pub use frame::*;
pub use model::*;
pub use pipeline::*;
pub use status::*;
pub use trust::mr_trust;

/// Changes whenever a program that was built with the header must be built again: the first number of the library's soname.
pub const MR_ABI: u32 = 0;

/// The library's [`MR_ABI`]: that of the header should be the same.
#[unsafe(no_mangle)]
pub extern "C" fn mr_abi() -> u32 {
    MR_ABI
}

/// The library's version, such as 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn mr_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
