//! Checks that a JPEG stream is complete: decoders fill the missing parts of a damaged stream with grey and report
//! nothing.
//!
//! [`check`] reads every code of ITU-T T.81 streams (baseline, extended sequential, progressive and lossless, with
//! Huffman coding) without decoding pixels. It detects what an encoder cannot have written: a code that is not in its
//! table, a coefficient past the 63rd or out of range, missing or surplus MCUs, missing or misordered restart markers,
//! invalid padding, a component or a bit of a coefficient that no scan codes, a missing end-of-image marker. Damage
//! that leaves a stream of valid codes with the right length cannot be detected.

mod bits;
mod deep;
mod frame;
mod huffman;
mod scan;
mod stream;
mod tables;

pub(in crate::input) use deep::decode_12;
use stream::Stream;

/// Refuses a stream for which a decoder would have to invent samples.
///
/// # Errors
/// One line with the problem, the scan and the MCU.
pub(in crate::input) fn check(bytes: &[u8]) -> Result<(), String> {
    Stream::read(bytes, false).map(|_| ())
}

/// Offsets of the consecutive pictures in a file: one, or several in a Multi-Picture file (CIPA DC-007). Data after the
/// last picture is ignored.
///
/// # Errors
/// Those of [`check`], for any of the pictures.
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

/// Bits per sample, and width and height, from the first frame header.
pub(super) fn header(bytes: &[u8]) -> Option<(u8, [u16; 2])> {
    stream::header(bytes)
}

/// The EXIF block, starting at its byte-order mark.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    stream::exif(bytes)
}
