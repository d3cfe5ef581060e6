//! Checks that a WebP file has its stated length, and counts its frames (RFC 9649).
//!
//! The pixels have no checksum: damage that leaves them decodable (and, if lossless, of the right length) cannot be
//! detected.

use super::pages::Pages;

/// Refuses a truncated file, or one whose chunks do not fill it.
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
        // Chunks are padded to an even length; some encoders omit the last padding byte.
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

/// Refuses lossless pixels that end before their chunk; `at` is the decoder's position after the last pixel.
pub(super) fn check_used(bytes: &[u8], at: usize) -> Result<(), String> {
    /// The decoder reads up to one 8-byte word ahead; a chunk may have one byte of padding.
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
