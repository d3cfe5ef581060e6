//! How far a conversion has come.

/// Hears how far a conversion has come.
pub trait Progress: Sync {
    /// A stage of `steps` steps begins.
    fn stage(&self, name: &str, steps: usize);
    /// A step of it is done.
    fn step(&self);
}

/// Hears nothing.
impl Progress for () {
    fn stage(&self, _: &str, _: usize) {}
    fn step(&self) {}
}
