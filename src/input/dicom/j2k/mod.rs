//! JPEG 2000 (ISO/IEC 15444-1), with checks for the damage that can be detected before decoding.
//!
//! OpenJPEG and its translation `openjp2` decode whatever is present: missing tiles stay grey, and missing packets are
//! treated as empty. So the whole codestream is checked first: every tile has all its tile-parts and every tile-part
//! its full length (`stream.rs`), and the packets of a tile, whose headers state the lengths of their bodies, fill it
//! to the last byte (`packets.rs`). Wrong bits within a code-block cannot be detected, because it has no checksum.
//! `decoder.rs` then decodes it, in this process or, in the program, in another.

mod damaged;
mod decoder;
mod packets;
mod stream;
mod tag_tree;

use super::layout::{Layout, Photometric};
use super::samples::{Samples, check_precision, same_size};
pub use decoder::{
    Codestream, Decoder, JPEG2000_VARIABLE, decode_codestream, refuse_codestream, set_jpeg2000_decoder,
};
use stream::Stream;

/// Decodes a codestream, which may be in a JP2 file.
pub(super) fn decode(layout: &Layout, bytes: &[u8]) -> Result<Samples, String> {
    let codestream = stream::codestream(bytes)?;
    let stream = Stream::of(codestream)?;
    check(layout, &stream)?;
    packets::check(&stream)?;
    // The decoder gets only the bytes that were checked.
    let out = decoder::decode(&Codestream {
        bytes: codestream,
        rows: layout.rows,
        columns: layout.columns,
        components: layout.samples,
        width: if layout.allocated == 16 { 2 } else { 1 },
    })?;
    // The decoder undoes JPEG 2000's own colour transform, but not one that the DICOM header declares.
    let photometric = match layout.photometric {
        Photometric::YbrJ2k => Photometric::Rgb,
        // The codec returns chroma at full resolution.
        Photometric::YbrFull422 => Photometric::YbrFull,
        other => other,
    };
    Ok(Samples { bytes: out, planar: false, photometric })
}

/// Checks the codestream's header against the DICOM header.
fn check(layout: &Layout, stream: &Stream) -> Result<(), String> {
    let [rows, columns] = [stream.area.height(), stream.area.width()].map(|side| side as usize);
    same_size(layout, [rows, columns, stream.components.len()])?;
    for component in &stream.components {
        if component.steps != [1, 1] {
            return Err(
                "has JPEG 2000 components of different sizes, which are not read: save it uncompressed"
                    .into(),
            );
        }
        check_precision(layout, component.precision, Some(component.signed))?;
    }
    if layout.photometric == Photometric::YbrJ2k && !stream.transforms_colours() {
        return Err(
            "says that JPEG 2000 transforms its colours (PhotometricInterpretation), but its stream does not: correct one of them".into(),
        );
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
