//! JPEG 2000 (ISO/IEC 15444-1), with checks for the damage that can be detected before decoding.
//!
//! OpenJPEG and its translation `openjp2` decode whatever is present: missing tiles stay grey, and missing packets are
//! treated as empty. So the whole codestream is checked first: every tile has all its tile-parts and every tile-part
//! its full length (`stream.rs`), and the packets of a tile, whose headers state the lengths of their bodies, fill it
//! to the last byte (`packets.rs`). Wrong bits within a code-block cannot be detected, because it has no checksum.

mod damaged;
mod packets;
mod stream;
mod tag_tree;

use jpeg2k::{DecodeParameters, Image};

use super::layout::{Layout, Photometric};
use super::samples::{Samples, check_precision, same_size};
use damaged::damaged;
use stream::Stream;

/// Decodes a codestream, which may be in a JP2 file.
pub(super) fn decode(layout: &Layout, bytes: &[u8]) -> Result<Samples, String> {
    let codestream = stream::codestream(bytes)?;
    let stream = Stream::of(codestream)?;
    check(layout, &stream)?;
    packets::check(&stream)?;
    // The decoder gets only the bytes that were checked.
    let image = Image::from_bytes_with(codestream, DecodeParameters::new().strict(true))
        .map_err(|e| super::damaged::damaged("cannot be decoded", &e))?;
    let components = image.components();
    let size = layout.rows * layout.columns;
    if components.len() != layout.samples || components.iter().any(|component| component.data().len() != size)
    {
        return Err(damaged("decodes to another size"));
    }
    let wide = layout.allocated == 16;
    let mut out = Vec::with_capacity(layout.frame_bytes());
    for pixel in 0..size {
        for component in components {
            let sample = component.data()[pixel].to_le_bytes();
            out.extend_from_slice(&sample[..if wide { 2 } else { 1 }]);
        }
    }
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
