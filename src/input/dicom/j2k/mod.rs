//! JPEG 2000 (ISO/IEC 15444-1), as far as damage can be seen before it is decoded.
//!
//! OpenJPEG, and its translation `openjp2`, decode what is there: tiles that are missing stay grey, and packets that are missing
//! are taken for empty ones. So the codestream is checked whole: every tile has its tile-parts and every tile-part its length
//! (`stream.rs`), and the packets of a tile, whose headers say how long the bodies are, fill it to the last byte
//! (`packets.rs`). Bits that are wrong within a code-block cannot be seen: it has no checksum.

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
    // Only what was checked is given to the decoder.
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
    // Its own colour transform is undone by the decoder; one of DICOM is not.
    let photometric = match layout.photometric {
        Photometric::YbrJ2k => Photometric::Rgb,
        // No codec leaves chroma out.
        Photometric::YbrFull422 => Photometric::YbrFull,
        other => other,
    };
    Ok(Samples { bytes: out, planar: false, photometric })
}

/// Compares what the codestream says with what the DICOM header says.
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
