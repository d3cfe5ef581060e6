//! Whether a JPEG stream is whole: decoders fill in what a damaged one lacks, with grey, and say nothing.
//!
//! [`check`] reads every code of ITU-T T.81 streams (baseline, extended sequential, progressive and lossless, with
//! Huffman coding) without turning them into pixels. It finds what an encoder cannot have written: a code that is in no
//! table, a coefficient past the 63rd or out of range, MCUs that are missing or too many, restart markers that are
//! missing or out of order, padding that is none, a component or a bit of a coefficient that no scan holds, no
//! end-of-image marker. Damage that leaves a stream of valid codes and of the right length cannot be known.

mod bits;
mod deep;
mod frame;
mod huffman;
mod scan;
mod stream;
mod tables;

pub(in crate::input) use deep::decode_12;
use stream::Stream;

/// Refuses a stream in which a decoder would have to invent a sample.
///
/// # Errors
/// A line that says what is wrong, and in which scan and MCU.
pub(in crate::input) fn check(bytes: &[u8]) -> Result<(), String> {
    Stream::read(bytes, false).map(|_| ())
}

/// Where the pictures begin that follow each other in a file: one, or several in a Multi-Picture file (CIPA DC-007). What
/// follows the last is not looked at.
///
/// # Errors
/// Those of [`check`], for any of them.
pub(super) fn pictures(bytes: &[u8]) -> Result<Vec<usize>, String> {
    let mut starts = vec![0];
    loop {
        let at = starts[starts.len() - 1];
        let stream = Stream::read(&bytes[at..], false).map_err(|e| match starts.len() {
            1 => e,
            n => format!("picture {n}: {e}"),
        })?;
        let rest = &bytes[at + stream.end..];
        let filling = rest.iter().take_while(|&&byte| byte == 0).count();
        if !rest[filling..].starts_with(&[0xFF, 0xD8, 0xFF]) {
            return Ok(starts);
        }
        starts.push(at + stream.end + filling);
    }
}

/// Bits a sample, and columns and rows, by the first frame header.
pub(super) fn header(bytes: &[u8]) -> Option<(u8, [u16; 2])> {
    stream::header(bytes)
}

/// The EXIF block, from its byte order on.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    stream::exif(bytes)
}
