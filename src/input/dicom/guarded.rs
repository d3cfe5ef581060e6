//! Running a codec that may panic.
//!
//! On damaged data the decoders of dicom-transfer-syntax-registry 0.10 and jpeg-decoder 0.3 index past slices and unwrap
//! (an RLE segment that ends early, a JPEG stream of more pixels than announced). What can be checked before is checked in
//! `codec.rs`; the rest becomes an error here.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// The result of `work`, or an error if it panicked; nothing is printed then. The panic hook that was set before stays in
/// charge of every other panic.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    let was_quiet = QUIET.replace(true);
    // What `work` was in the midst of changing is dropped with it.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(was_quiet);
    result.unwrap_or_else(|_| Err("the decoder gave up on damaged data".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let empty: Vec<u8> = Vec::new();
        assert_eq!(guarded(|| Ok(empty[0])), Err("the decoder gave up on damaged data".into()));
        assert_eq!(guarded(|| Ok(1)), Ok(1));
        assert!(!QUIET.get());
    }
}
