//! Calls that have their handle for themselves, within bounds.

use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use super::memory::Versioned;
use super::status::{Failure, Status};
use crate::encoder::{Interrupt, Interrupted};

/// Bounds of one call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Limits {
    /// sizeof(mr_limits).
    pub size: usize,
    /// How long the call may take, in microseconds; 0 for any time. It is looked at between the blocks of the network and
    /// before the answer is given.
    pub deadline_us: u64,
}

// SAFETY: integers; the size is first.
unsafe impl Versioned for Limits {
    const NAME: &str = "mr_limits";
}

impl Limits {
    /// When a call that began at `started` must have ended. So far away that no clock gets there: never.
    pub(super) fn deadline(&self, started: Instant) -> Option<Instant> {
        let deadline = Duration::from_micros(self.deadline_us);
        started.checked_add(deadline).filter(|_| !deadline.is_zero())
    }
}

/// What the calls on a handle share, for one of them.
///
/// # Errors
/// [`Status::Busy`] if another thread has it.
pub(super) fn exclusive<'a, T>(shared: &'a Mutex<T>, name: &str) -> Result<MutexGuard<'a, T>, Failure> {
    match shared.try_lock() {
        Ok(own) => Ok(own),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::new(Status::Busy, format!("another thread uses this {name}")))
        }
        Err(TryLockError::Poisoned(_)) => {
            Err(Failure::new(Status::Fault, format!("a fault ended a call on this {name}: close it")))
        }
    }
}

/// Whether a call was ended by `interrupt`, which is set back.
pub(super) fn ended(interrupt: &Interrupt) -> Result<(), Failure> {
    let checked = interrupt.check();
    interrupt.reset(None);
    checked.map_err(interrupted)
}

pub(super) fn interrupted(reason: Interrupted) -> Failure {
    let status = if reason == Interrupted::Late { Status::Late } else { Status::Cancelled };
    Failure::new(status, reason)
}
