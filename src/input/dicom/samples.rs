//! A decoded frame, and checks that its stream agrees with the DICOM header.

use super::layout::{Layout, Photometric};

/// A decoded frame.
pub(super) struct Samples {
    /// Little-endian, [`Layout::frame_bytes`] long; uncompressed YBR_FULL_422 is still packed.
    pub(super) bytes: Vec<u8>,
    /// Whether the samples are stored plane by plane.
    pub(super) planar: bool,
    /// Colour space of the samples after decoding; the decoder may have undone a colour transform.
    pub(super) photometric: Photometric,
}

/// Checks the precision of compressed samples, and their sign if the stream states it, against the DICOM header.
/// Streams of 16 bits that hold 12-bit samples are common, so the precision may exceed BitsStored if the extra bits are
/// unused (`check_stored` in `codec.rs`).
pub(super) fn check_precision(layout: &Layout, precision: u32, signed: Option<bool>) -> Result<(), String> {
    let fits = precision <= layout.allocated;
    // If the precision equals BitsStored, signed and unsigned samples have the same bit patterns.
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

/// Refuses a stream whose size differs from that in the DICOM header; only after this check may its decoder allocate
/// memory for it.
pub(super) fn same_size(layout: &Layout, [rows, columns, samples]: [usize; 3]) -> Result<(), String> {
    if [rows, columns, samples] == [layout.rows, layout.columns, layout.samples] {
        return Ok(());
    }
    Err(format!(
        "announces {}x{} px of {} samples but its compressed pixels are {columns}x{rows} of {samples}: the file is damaged",
        layout.columns, layout.rows, layout.samples
    ))
}
