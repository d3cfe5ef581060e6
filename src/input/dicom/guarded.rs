//! [`guarded`](crate::guarded::guarded) for functions whose error is a message.

/// The result of `work`, or an error if it panicked.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    crate::guarded::guarded(work, str::to_owned)
}
