//! Whether a WebP file is as long as it says, and how many frames it has (RFC 9649).
//!
//! Its pixels have no checksum: what damage within them leaves readable, and of the right length where they are coded
//! without loss, cannot be known.

use super::pages::Pages;

/// Refuses a file that is cut, or whose chunks do not fill it.
pub(super) fn check(bytes: &[u8]) -> Result<Pages, String> {
    let size =
        |at: usize| bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u32::from_le_bytes(*b) as usize);
    let end = 8 + size(4).ok_or("it ends within its header")?;
    if end > bytes.len() {
        return Err(format!("it has {} bytes of the {end} that it says", bytes.len()));
    }
    let (mut at, mut frames, mut animated) = (12, 0, false);
    while at < end {
        let length = size(at + 4).filter(|_| at + 8 <= end).ok_or("it ends within a chunk's header")?;
        // Chunks are padded to an even length; some encoders leave the last padding out.
        if at + 8 + length > end {
            return Err(format!("it ends within the chunk at byte {at}"));
        }
        match &bytes[at..at + 4] {
            b"ANIM" => animated = true,
            b"ANMF" => frames += 1,
            _ => {}
        }
        at += 8 + length + length % 2;
    }
    if animated { Ok(Pages { count: frames, animated: Some(0), ..Pages::ONE }) } else { Ok(Pages::ONE) }
}

/// Refuses pixels coded without loss that end before their chunk does; the decoder stood at byte `at` after the last.
pub(super) fn check_used(bytes: &[u8], at: usize) -> Result<(), String> {
    /// The decoder takes up to a word of 8 bytes ahead; a chunk may have a byte of padding.
    const AHEAD: usize = 9;
    let mut chunk = 12;
    while let Some(length) = bytes.get(chunk + 4..).and_then(|b| b.first_chunk()) {
        let end = chunk + 8 + u32::from_le_bytes(*length) as usize;
        if bytes[chunk..].starts_with(b"VP8L") && at + AHEAD < end {
            return Err(format!("{} bytes remain after the last pixel", end - at));
        }
        chunk = end + end % 2;
    }
    Ok(())
}
