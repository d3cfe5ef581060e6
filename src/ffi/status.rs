//! What every call returns, and the message of a call that failed.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

/// What a call returns.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// A NULL, a size, a length or a value that the call does not take.
    Argument = 1,
    /// The handle was closed, or never was one.
    Closed = 2,
    /// Another thread uses the handle at this moment.
    Busy = 3,
    /// A file or a model cannot be read, or does not fit the others.
    Model = 4,
    /// The frame is refused.
    Frame = 5,
    /// The caller's buffer is too small; the message says how long it must be.
    Small = 6,
    /// Another thread cancelled the call.
    Cancelled = 7,
    /// The deadline passed before there was an answer.
    Late = 8,
    /// The run failed.
    Run = 9,
    /// A fault of the library, which is to be reported. The handle may be closed, but should not be used.
    Fault = 10,
    /// This machine computes something else than was validated, to the bit: the message says what.
    Attest = 11,
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub status: Status,
    pub text: String,
}

impl Failure {
    pub(super) fn new(status: Status, text: impl ToString) -> Failure {
        Failure { status, text: text.to_string() }
    }

    pub(super) fn argument(text: impl ToString) -> Failure {
        Failure::new(Status::Argument, text)
    }

    pub(super) fn model(error: impl ToString) -> Failure {
        Failure::new(Status::Model, error)
    }
}

/// Messages that a thread keeps, one for each handle that failed there.
const KEPT: usize = 32;

thread_local! {
    /// Handles and their messages, the latest last.
    static MESSAGES: RefCell<Vec<(usize, CString)>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the message of `failure`, a call on `handle` (0 for none).
fn keep(handle: usize, failure: &Failure) {
    let text = failure.text.replace(char::is_control, " ");
    let text = CString::new(text).unwrap_or_default();
    MESSAGES.with_borrow_mut(|messages| {
        messages.retain(|(of, _)| *of != handle);
        if messages.len() == KEPT {
            messages.remove(0);
        }
        messages.push((handle, text));
    });
}

/// Runs a call on `handle` (0 for none): a failure leaves its message, and a panic becomes one.
pub(super) fn call(handle: usize, work: impl FnOnce() -> Result<(), Failure>) -> Status {
    let done = crate::guarded::caught(work).unwrap_or_else(|panic| {
        let text = format!("a fault of microraptor, which should be reported: {panic}");
        Err(Failure::new(Status::Fault, text))
    });
    match done {
        Ok(()) => Status::Ok,
        Err(failure) => {
            // At the end of a thread its messages may be gone.
            let _ = crate::guarded::caught(|| keep(handle, &failure));
            failure.status
        }
    }
}

/// What is said of a call that failed on this thread: of the last one, or with a handle of the last one on it. One line
/// of UTF-8, or an empty one; it lasts until the next call that fails on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn mr_message(handle: *const std::ffi::c_void) -> *const c_char {
    const NONE: &CStr = c"";
    let handle = handle.addr();
    let found = MESSAGES.try_with(|messages| {
        let messages = messages.borrow();
        let of = messages.iter().rev().find(|(of, _)| handle == 0 || *of == handle);
        of.map_or(NONE.as_ptr(), |(_, text)| text.as_ptr())
    });
    found.unwrap_or(NONE.as_ptr())
}

/// A short name of a status, such as `late`; of other numbers `unknown`.
#[unsafe(no_mangle)]
pub extern "C" fn mr_status_name(status: u32) -> *const c_char {
    let names = [
        c"ok",
        c"argument",
        c"closed",
        c"busy",
        c"model",
        c"frame",
        c"small",
        c"cancelled",
        c"late",
        c"run",
        c"fault",
        c"attest",
    ];
    names.get(status as usize).unwrap_or(&c"unknown").as_ptr()
}
