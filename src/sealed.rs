//! A digest that a safetensors file holds of itself, so that no damage to it goes unnoticed.
//!
//! It is the SHA-256 of the whole file (the header's length, the header, every tensor) with its own 64 digits set to `0`. It
//! is the entry `digest` of a JSON object that is a string of the file's metadata: there its quotes are escaped, and those of
//! any text that quotes such an entry are escaped twice, so that only the entry itself can match.

use sha2::{Digest, Sha256};

/// Digits of a digest.
const DIGITS: usize = 64;

/// What stands in the place of the digest until [`seal`] sets it.
pub(crate) fn blank() -> String {
    "0".repeat(DIGITS)
}

/// Sets the digest of `file`, whose entry is [`blank`].
pub(crate) fn seal(file: &mut [u8]) {
    let at = place(file, &blank()).expect("the entry was just written");
    let digest = digest(file, at);
    file[at..at + DIGITS].copy_from_slice(digest.as_bytes());
}

/// Whether `stored`, which is the entry of `file`, is its digest.
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

/// Where the header of `file` holds the digest `digits`.
fn place(file: &[u8], digits: &str) -> Option<usize> {
    let length = u64::from_le_bytes(file.get(..8)?.try_into().ok()?);
    let end = usize::try_from(length).ok()?.checked_add(8)?;
    let entry = format!(r#"\"digest\":\"{digits}\""#);
    let at = file.get(..end)?.windows(entry.len()).position(|window| window == entry.as_bytes())?;
    Some(at + entry.len() - 2 - DIGITS)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
