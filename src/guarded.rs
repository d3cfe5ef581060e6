//! Runs readers and codecs that may panic.
//!
//! On damaged data, decoders index past slices and unwrap (dicom-transfer-syntax-registry 0.10 on an RLE segment that
//! ends early, jpeg-decoder 0.3 on a JPEG stream with more pixels than announced). The readers check what they can
//! beforehand; any remaining panic becomes an error here.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`caught`], which turns a panic into an error, so that the panic is not printed as
    /// well.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Error text for data on which a decoder panicked.
const GAVE_UP: &str = "the decoder gave up on damaged data";

/// The result of `work`, or the error that `error` makes of the reason if `work` panicked.
pub(crate) fn guarded<T, E>(
    work: impl FnOnce() -> Result<T, E>,
    error: impl FnOnce(&str) -> E,
) -> Result<T, E> {
    caught(work).unwrap_or_else(|_| Err(error(GAVE_UP)))
}

/// The result of `work`, or its panic message, in which case nothing is printed. The panic hook set before still
/// handles every other panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // The hook is global to the process: ours is installed once, in front of the existing one.
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
    // Any state that `work` was changing is dropped with it or not used again.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(was_quiet);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let empty: Vec<u8> = Vec::new();
        assert_eq!(guarded(|| Ok(empty[0]), str::to_owned), Err(GAVE_UP.to_owned()));
        assert_eq!(guarded(|| Ok(1), str::to_owned), Ok(1));
        assert_eq!(caught(|| empty.len()), Ok(0));
        assert_eq!(caught::<()>(|| panic!("in {} words", 3)), Err("in 3 words".to_owned()));
        assert_eq!(caught::<()>(|| panic!("plain")), Err("plain".to_owned()));
        assert!(!QUIET.get());
    }
}
