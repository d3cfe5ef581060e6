//! What is said of a damaged stream.

/// A line that says it; `what` follows on "a stream that".
pub(super) fn damaged(what: &str) -> String {
    format!("has a JPEG 2000 stream that {what}: the file is damaged or cut short")
}
