//! The error message for a damaged stream.

/// One line; `what` continues "a stream that".
pub(super) fn damaged(what: &str) -> String {
    format!("has a JPEG 2000 stream that {what}: the file is damaged or cut short")
}
