//! Progress of a conversion.

/// Receives the progress of a conversion.
pub trait Progress: Sync {
    /// A stage of `steps` steps begins.
    fn stage(&self, name: &str, steps: usize);
    /// One step of the current stage is done.
    fn step(&self);
}

/// Ignores progress.
impl Progress for () {
    fn stage(&self, _: &str, _: usize) {}
    fn step(&self) {}
}
