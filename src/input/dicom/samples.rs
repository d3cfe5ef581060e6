//! A decoded frame, and in what its stream must agree with the header.

use super::layout::{Layout, Photometric};

/// A decoded frame.
pub(super) struct Samples {
    /// Little-endian, [`Layout::frame_bytes`] long; uncompressed YBR_FULL_422 is still packed.
    pub(super) bytes: Vec<u8>,
    /// Whether planes follow each other.
    pub(super) planar: bool,
    /// What the samples mean now: a decoder may have undone a colour transform.
    pub(super) photometric: Photometric,
}

/// Compares the bits of a compressed sample, and whether it is signed where the stream says so, with what is announced.
/// Streams of 16 bits around samples of 12 are frequent, so more than are stored may be there, if they are not used
/// (`check_stored` in `codec.rs`).
pub(super) fn check_precision(layout: &Layout, precision: u32, signed: Option<bool>) -> Result<(), String> {
    let fits = precision <= layout.allocated;
    // Where both have the same bits, a number and its two's complement are one pattern.
    let same_sign = precision == layout.stored || signed.is_none_or(|signed| signed == layout.signed);
    if fits && same_sign {
        return Ok(());
    }
    let kind = |signed| if signed { "signed" } else { "unsigned" };
    Err(format!(
        "announces {} {} bits of {} a sample, but its compressed pixels have {precision}{}: correct what it announces",
        layout.stored,
        kind(layout.signed),
        layout.allocated,
        signed.map_or(String::new(), |signed| format!(" {}", kind(signed))),
    ))
}

/// Refuses a stream of another size than the file's header says; only then may its decoder allocate for it.
pub(super) fn same_size(layout: &Layout, [rows, columns, samples]: [usize; 3]) -> Result<(), String> {
    if [rows, columns, samples] == [layout.rows, layout.columns, layout.samples] {
        return Ok(());
    }
    Err(format!(
        "announces {}x{} px of {} samples but its compressed pixels are {columns}x{rows} of {samples}: the file is damaged",
        layout.columns, layout.rows, layout.samples
    ))
}
