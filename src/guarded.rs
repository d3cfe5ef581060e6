//! Running a reader or a codec that may panic.
//!
//! On damaged data decoders index past slices and unwrap (dicom-transfer-syntax-registry 0.10 on an RLE segment that ends
//! early, jpeg-decoder 0.3 on a JPEG stream of more pixels than announced). What can be checked before is checked by the
//! readers; the rest becomes an error here.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`caught`], where a panic becomes an error and is not to be printed as well.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What is said of data on which a decoder panicked.
const GAVE_UP: &str = "the decoder gave up on damaged data";

/// The result of `work`, or what `error` makes of the reason if it panicked.
pub(crate) fn guarded<T, E>(
    work: impl FnOnce() -> Result<T, E>,
    error: impl FnOnce(&str) -> E,
) -> Result<T, E> {
    caught(work).unwrap_or_else(|_| Err(error(GAVE_UP)))
}

/// What `work` gives, or the words of its panic; nothing is printed then. The panic hook that was set before stays in
/// charge of every other panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // The hook belongs to the process: ours goes in once, in front of the one that was there.
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
