//! The fence: JPEG 2000 is decoded in a process of its own.
//!
//! openjp2, the decoder, is a translation of C and works with raw pointers. A fault in it must not end this program,
//! and a crafted file that takes it over must find nothing to take. So the program starts itself again, as a worker
//! that has no files, no network and limits of memory and time (`confine.rs`). It gets checked codestreams on its
//! standard input and answers with samples (`wire.rs`), which are compared with what the DICOM header announces. If it
//! crashes, hangs or wants too much memory, that is an error of the one file, and the next file gets a new worker
//! (`worker.rs`).
//!
//! A worker lives on for many frames: starting one takes longer than decoding a small frame.

#[cfg(target_os = "linux")]
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")),
    path = "calls_absent.rs"
)]
mod calls;
mod child;
mod confine;
#[cfg(debug_assertions)]
mod faults;
mod wire;
mod worker;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use microraptor::input::{
    Codestream, JPEG2000_VARIABLE, decode_codestream, refuse_codestream, set_jpeg2000_decoder,
};

pub use child::run;
use worker::Worker;

use super::limits::{self, Jpeg2000};

/// Workers that wait for work, at most [`IDLE`].
static WORKERS: Mutex<Vec<Worker>> = Mutex::new(Vec::new());

/// Threads that read files at the same time are few.
const IDLE: usize = 4;

/// Makes this process decode JPEG 2000 as `asked`, or else as the environment says, or else fenced.
pub fn begin(asked: Option<Jpeg2000>) -> anyhow::Result<()> {
    let way = match (asked, std::env::var(JPEG2000_VARIABLE)) {
        (Some(way), _) => way,
        (None, Ok(name)) => Jpeg2000::from_str(&name, true).map_err(|_| {
            anyhow::anyhow!(
                "{JPEG2000_VARIABLE} is '{name}': set it to fenced, direct or refuse, or unset it"
            )
        })?,
        (None, Err(_)) => Jpeg2000::Fenced,
    };
    set_jpeg2000_decoder(match way {
        Jpeg2000::Fenced => |codestream| limits::within(|left| decode(codestream, left)),
        Jpeg2000::Direct => decode_codestream,
        Jpeg2000::Refuse => refuse_codestream,
    });
    Ok(())
}

/// Decodes `codestream` in a worker, within the time `left` of its file.
fn decode(codestream: &Codestream<'_>, left: Option<Duration>) -> Result<Vec<u8>, String> {
    let mut worker = match idle() {
        Some(worker) => worker,
        None => Worker::start(limits::max_memory())?,
    };
    // A worker that failed is dropped, which ends it.
    let answer = worker.decode(codestream, left)?;
    let mut workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    if workers.len() < IDLE && !worker.is_worn() {
        workers.push(worker);
    }
    drop(workers);
    answer
}

/// A worker that waits; those that ended meanwhile are dropped.
fn idle() -> Option<Worker> {
    loop {
        let mut worker = WORKERS.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        if worker.lives() {
            return Some(worker);
        }
    }
}
