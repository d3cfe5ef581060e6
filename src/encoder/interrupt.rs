//! Ends a run before it is complete.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Why a run ended before it was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// Another thread asked for it.
    #[error("the run was cancelled")]
    Cancelled,
    /// The time for it is over.
    #[error("the run was ended: its deadline has passed")]
    Late,
}

/// Says to runs, which look between the blocks of the network, whether they should end. Shared by the runs of a session
/// and by whoever ends them.
#[derive(Debug, Default)]
pub struct Interrupt {
    cancelled: AtomicBool,
    /// Nanoseconds since [`origin`]; 0 without a deadline.
    deadline: AtomicU64,
}

/// The time from which deadlines are counted.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

impl Interrupt {
    /// Forgets what was asked before: the next runs may take until `deadline`.
    pub fn reset(&self, deadline: Option<Instant>) {
        let since = |deadline: Instant| deadline.saturating_duration_since(origin()).as_nanos();
        let nanoseconds =
            deadline.map_or(0, |deadline| u64::try_from(since(deadline)).unwrap_or(u64::MAX).max(1));
        self.deadline.store(nanoseconds, Ordering::Release);
        self.cancelled.store(false, Ordering::Release);
    }

    /// Ends the current run, and every one until [`Interrupt::reset`]. From any thread.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether a run should go on.
    ///
    /// # Errors
    /// [`Interrupted`] if not.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.cancelled.load(Ordering::Acquire) {
            return Err(Interrupted::Cancelled);
        }
        match self.deadline.load(Ordering::Acquire) {
            0 => Ok(()),
            deadline if origin().elapsed().as_nanos() < u128::from(deadline) => Ok(()),
            _ => Err(Interrupted::Late),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ends_what_is_cancelled_or_late() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.check(), Ok(()));
        interrupt.cancel();
        assert_eq!(interrupt.check(), Err(Interrupted::Cancelled));
        interrupt.reset(Some(Instant::now() + Duration::from_secs(3600)));
        assert_eq!(interrupt.check(), Ok(()));
        interrupt.reset(Some(Instant::now()));
        assert_eq!(interrupt.check(), Err(Interrupted::Late));
        interrupt.reset(None);
        assert_eq!(interrupt.check(), Ok(()));
    }
}
