//! Running a reader or a codec that may panic.
//!
//! On damaged data decoders index past slices and unwrap (dicom-transfer-syntax-registry 0.10 on an RLE segment that ends
//! early, jpeg-decoder 0.3 on a JPEG stream of more pixels than announced). What can be checked before is checked by the
//! readers; the rest becomes an error here.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What is said of data on which a decoder panicked.
const GAVE_UP: &str = "the decoder gave up on damaged data";

/// The result of `work`, or what `error` makes of the reason if it panicked; nothing is printed then. The panic hook that
/// was set before stays in charge of every other panic.
pub(crate) fn guarded<T, E>(
    work: impl FnOnce() -> Result<T, E>,
    error: impl FnOnce(&str) -> E,
) -> Result<T, E> {
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
    // What `work` was in the midst of changing is dropped with it, or not used again.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(was_quiet);
    result.unwrap_or_else(|_| Err(error(GAVE_UP)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let empty: Vec<u8> = Vec::new();
        assert_eq!(guarded(|| Ok(empty[0]), str::to_owned), Err(GAVE_UP.to_owned()));
        assert_eq!(guarded(|| Ok(1), str::to_owned), Ok(1));
        assert!(!QUIET.get());
    }
}
