//! A digest of a safetensors file, stored in the file itself, so that any damage is detected.
//!
//! It is the SHA-256 of the whole file (header length, header and every tensor) with its own 64 digits set to `0`. It
//! is stored as the entry `digest` of a JSON object, which is itself a string in the file's metadata. The entry's
//! quotes are therefore escaped, and those in any text that quotes such an entry are escaped twice, so that only the
//! entry itself can match.

use sha2::{Digest, Sha256};

/// Number of hex digits in a digest.
const DIGITS: usize = 64;

/// Placeholder for the digest until [`seal`] sets it.
pub(crate) fn blank() -> String {
    "0".repeat(DIGITS)
}

/// Writes the digest of `file` over its [`blank`] entry.
pub(crate) fn seal(file: &mut [u8]) {
    let at = place(file, &blank()).expect("the entry was just written");
    let digest = digest(file, at);
    file[at..at + DIGITS].copy_from_slice(digest.as_bytes());
}

/// Whether `stored`, the digest entry of `file`, is the file's digest.
pub(crate) fn holds(file: &[u8], stored: &str) -> bool {
    stored.len() == DIGITS && place(file, stored).is_some_and(|at| digest(file, at) == stored)
}

/// SHA-256 of `bytes` in lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

fn digest(file: &[u8], at: usize) -> String {
    let mut hash = Sha256::new();
    hash.update(&file[..at]);
    hash.update([b'0'; DIGITS]);
    hash.update(&file[at + DIGITS..]);
    hex(&hash.finalize())
}

/// Offset of the digest `digits` in the header of `file`.
fn place(file: &[u8], digits: &str) -> Option<usize> {
    let length = u64::from_le_bytes(file.get(..8)?.try_into().ok()?);
    let end = usize::try_from(length).ok()?.checked_add(8)?;
    let entry = format!(r#"\"digest\":\"{digits}\""#);
    let at = file.get(..end)?.windows(entry.len()).position(|window| window == entry.as_bytes())?;
    Some(at + entry.len() - 2 - DIGITS)
}

/// `bytes` in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
