//! Whether a WebP file is as long as it says, and how many frames it has (RFC 9649).
//!
//! Its pixels have no checksum: what damage within them leaves readable cannot be known.

use super::Pages;

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
