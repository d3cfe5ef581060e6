//! The decoder of code-blocks and wavelets: openjp2, in this process or behind the fence that a program set.
//!
//! openjp2 is a translation of C and works with raw pointers. What it gets was checked (`stream.rs`, `packets.rs`), but
//! a fault in it could still crash this process or corrupt its memory. So a program that reads files of strangers sets
//! a [`Decoder`] that runs [`decode_codestream`] in a process of its own.

use std::sync::OnceLock;

use jpeg2k::{DecodeParameters, Image};

use super::super::{damaged::damaged, guarded::guarded};

/// A checked codestream, and what it must decode to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codestream<'a> {
    /// ISO/IEC 15444-1 annex A, from the marker SOC to EOC.
    pub bytes: &'a [u8],
    /// Height in pixels.
    pub rows: usize,
    /// Width in pixels.
    pub columns: usize,
    /// Components, 1 or 3.
    pub components: usize,
    /// Bytes per sample, 1 or 2.
    pub width: usize,
}

impl Codestream<'_> {
    /// Length of the decoded samples in bytes; `None` if it does not fit a `usize`.
    pub fn decoded_bytes(&self) -> Option<usize> {
        self.rows.checked_mul(self.columns)?.checked_mul(self.components)?.checked_mul(self.width)
    }
}

/// Decodes a codestream to [`Codestream::decoded_bytes`] bytes: little-endian samples, pixel by pixel, row by row. The
/// error continues "the file", as in "cannot be decoded".
pub type Decoder = fn(codestream: &Codestream<'_>) -> Result<Vec<u8>, String>;

/// The environment variable that, set to `refuse`, refuses JPEG 2000 where no decoder is set.
pub const JPEG2000_VARIABLE: &str = "MICRORAPTOR_JPEG2000";

static DECODER: OnceLock<Decoder> = OnceLock::new();

/// Sets the `decoder` of every JPEG 2000 codestream in DICOM. Only the first call has an effect. Without one,
/// [`decode_codestream`] runs in this process, unless the environment variable [`JPEG2000_VARIABLE`] is `refuse`.
pub fn set_jpeg2000_decoder(decoder: Decoder) {
    let _ = DECODER.set(decoder);
}

/// A [`Decoder`] that refuses everything.
///
/// # Errors
/// Always.
pub fn refuse_codestream(_: &Codestream<'_>) -> Result<Vec<u8>, String> {
    Err(format!(
        "is in JPEG 2000, which is refused here ({JPEG2000_VARIABLE} or the option jpeg2000): save it uncompressed"
    ))
}

/// Decodes with the decoder that is set.
pub(super) fn decode(codestream: &Codestream<'_>) -> Result<Vec<u8>, String> {
    let refused = || std::env::var_os(JPEG2000_VARIABLE).is_some_and(|value| value == "refuse");
    let usual = || -> Decoder { if refused() { refuse_codestream } else { decode_codestream } };
    DECODER.get_or_init(usual)(codestream)
}

/// The [`Decoder`] itself: openjp2, in this process.
///
/// # Errors
/// If the stream cannot be decoded, or to another size.
pub fn decode_codestream(codestream: &Codestream<'_>) -> Result<Vec<u8>, String> {
    guarded(|| decoded(codestream))
}

fn decoded(codestream: &Codestream<'_>) -> Result<Vec<u8>, String> {
    let image = Image::from_bytes_with(codestream.bytes, DecodeParameters::new().strict(true))
        .map_err(|e| damaged("cannot be decoded", &e))?;
    let components = image.components();
    let size = codestream.rows.checked_mul(codestream.columns);
    let fits = |n: usize| Some(n) == size;
    if components.len() != codestream.components || !components.iter().all(|c| fits(c.data().len())) {
        return Err(super::damaged::damaged("decodes to another size"));
    }
    let width = codestream.width.clamp(1, 4);
    let mut out = Vec::with_capacity(codestream.decoded_bytes().unwrap_or(0));
    for pixel in 0..size.unwrap_or(0) {
        for component in components {
            out.extend_from_slice(&component.data()[pixel].to_le_bytes()[..width]);
        }
    }
    Ok(out)
}
