//! Parses the headers of JPEG and JPEG-LS streams, and decodes JPEG.

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use super::damaged::damaged;
use super::layout::{Layout, Photometric};
use super::samples::{Samples, check_precision, same_size};
use crate::input::jpeg::{decode_12, pictures};

/// What a JPEG or JPEG-LS header states about its frame and colours.
#[derive(Debug, Default, PartialEq)]
struct JpegHeader {
    lossless: bool,
    precision: u8,
    rows: usize,
    columns: usize,
    components: usize,
    jfif: bool,
    /// Colour transform of the Adobe marker: 0 for RGB, 1 for YCbCr.
    adobe: Option<u8>,
    /// Whether the components are named R, G and B.
    named_rgb: bool,
    /// Whether any component is subsampled relative to the first.
    subsampled: bool,
    /// Interleave mode of the first JPEG-LS scan: 0 for planes.
    interleave: u8,
}

impl JpegHeader {
    /// Parses the segments up to the first scan (ITU-T T.81 B.1, T.87 C.1).
    fn of(bytes: &[u8]) -> Option<JpegHeader> {
        let mut header = JpegHeader::default();
        let mut at = 2;
        if bytes.get(..2) != Some(&[0xFF, 0xD8]) {
            return None;
        }
        loop {
            let [marker_start, marker] = *bytes.get(at..at + 2)?.first_chunk()?;
            if marker_start != 0xFF {
                return None;
            }
            if marker == 0xFF {
                at += 1;
                continue;
            }
            let length = usize::from(u16::from_be_bytes(*bytes.get(at + 2..at + 4)?.first_chunk()?));
            let body = bytes.get(at + 4..at + 2 + length.max(2))?;
            match marker {
                // SOF0 to SOF15 without DHT, JPG and DAC, and SOF55 of JPEG-LS.
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF | 0xF7 => {
                    header.lossless = matches!(marker, 0xC3 | 0xC7 | 0xCB | 0xCF);
                    let [precision, r1, r0, c1, c0, components] = *body.first_chunk()?;
                    header.precision = precision;
                    header.rows = usize::from(u16::from_be_bytes([r1, r0]));
                    header.columns = usize::from(u16::from_be_bytes([c1, c0]));
                    header.components = usize::from(components);
                    // Name, sampling factors and quantisation table of each component.
                    let each = body.get(6..6 + 3 * header.components)?.as_chunks::<3>().0;
                    let names: Vec<u8> = each.iter().map(|component| component[0]).collect();
                    header.named_rgb = matches!(names.as_slice(), b"RGB" | b"rgb");
                    header.subsampled = each.iter().any(|component| component[1] != each[0][1]);
                }
                0xE0 if body.starts_with(b"JFIF\0") => header.jfif = true,
                0xEE if body.starts_with(b"Adobe") => header.adobe = body.get(11).copied(),
                0xDA => {
                    // After the components come the near-lossless bound and the interleave mode.
                    header.interleave = body.len().checked_sub(2).and_then(|n| body.get(n)).copied()?;
                    return Some(header);
                }
                _ => {}
            }
            at += 2 + length.max(2);
        }
    }

    /// Refuses a stream whose size differs from that in the DICOM header; only after this check may its decoder
    /// allocate memory for it.
    fn check(&self, layout: &Layout) -> Result<(), String> {
        same_size(layout, [self.rows, self.columns, self.components])
    }
}

fn no_header() -> String {
    "has compressed pixels without a header that can be read: the file is damaged".into()
}

/// Whether the components are YCbCr, according to everything the stream states about them; `None` if it states nothing.
fn ycc(header: &JpegHeader) -> Result<Option<bool>, String> {
    let adobe = match header.adobe {
        None => None,
        Some(transform @ (0 | 1)) => Some(transform == 1),
        Some(other) => {
            return Err(format!(
                "has the colour transform {other} in its JPEG stream, which is not read: save it as RGB"
            ));
        }
    };
    // JFIF has no RGB, and RGB is never subsampled. Components named R, G and B come from encoders that keep RGB.
    let said = [
        adobe,
        header.jfif.then_some(true),
        header.named_rgb.then_some(false),
        header.subsampled.then_some(true),
    ];
    let mut said = said.into_iter().flatten();
    let first = said.next();
    if said.any(|other| Some(other) != first) {
        return Err("has a JPEG stream that calls its colours both RGB and YCbCr: save it as RGB".into());
    }
    Ok(first)
}

/// Decodes JPEG with jpeg-decoder directly, because the dicom-rs adapter leaves the colour space to the decoder's
/// guess.
///
/// If the stream states its colour space, that is more reliable than the photometric interpretation, which transcoders
/// forget to update (pydicom 3 does the same). Otherwise the photometric interpretation applies.
pub(super) fn decode(layout: &Layout, bytes: &[u8]) -> Result<Samples, String> {
    let header = JpegHeader::of(bytes).ok_or_else(no_header)?;
    header.check(layout)?;
    // JPEG samples are unsigned bit patterns. A signed sample loses its sign if the stream has fewer bits than
    // BitsStored.
    let sign_lost = layout.signed && u32::from(header.precision) < layout.stored;
    check_precision(layout, header.precision.into(), sign_lost.then_some(false))?;
    // The decoder fills missing data with grey, so the stream is checked for completeness first.
    let whole = |problem| format!("has a damaged JPEG stream ({problem}): the file is damaged or cut short");
    if pictures(bytes).map_err(whole)?.len() > 1 {
        return Err("has several JPEG streams in one frame: the file is damaged".into());
    }
    if header.precision == 12 && !header.lossless {
        return deep(layout, bytes);
    }
    let mut decoder = Decoder::new(bytes);
    let mut photometric = layout.photometric;
    if layout.samples == 3 {
        let said = ycc(&header)?;
        if header.lossless {
            // Lossless JPEG has no colour transform, so the decoder must not undo one.
            decoder.set_color_transform(ColorTransform::RGB);
            photometric = match said {
                Some(true) => Photometric::YbrFull,
                Some(false) => Photometric::Rgb,
                None => photometric,
            };
        } else {
            let ycc = said.unwrap_or(photometric != Photometric::Rgb);
            decoder.set_color_transform(if ycc { ColorTransform::YCbCr } else { ColorTransform::RGB });
            photometric = Photometric::Rgb;
        }
    }
    let decoded = decoder.decode().map_err(|e| damaged("cannot be decoded", &e))?;
    let format = decoder.info().ok_or_else(no_header)?.pixel_format;
    let bytes = match (format, layout.allocated) {
        (PixelFormat::L8 | PixelFormat::RGB24, 8) => decoded,
        // The decoder returns 16-bit samples in native byte order.
        (PixelFormat::L16, 16) if cfg!(target_endian = "big") => {
            decoded.chunks_exact(2).flat_map(|b| [b[1], b[0]]).collect()
        }
        (PixelFormat::L16, 16) => decoded,
        (PixelFormat::L8, 16) => decoded.into_iter().flat_map(|v| [v, 0]).collect(),
        _ => {
            return Err(format!(
                "has JPEG samples of {} bits in {}: the file is damaged",
                header.precision, layout.allocated
            ));
        }
    };
    Ok(Samples { bytes, planar: false, photometric })
}

/// Decodes 12-bit grey (processes 2 and 4), which jpeg-decoder does not support.
fn deep(layout: &Layout, bytes: &[u8]) -> Result<Samples, String> {
    let decoded = decode_12(bytes).map_err(|problem| {
        format!("has a JPEG stream that is not read ({problem}): save it as Explicit VR Little Endian")
    })?;
    same_size(layout, [decoded.height, decoded.width, decoded.channels])?;
    let bytes = decoded.samples.iter().flat_map(|v| v.to_le_bytes()).collect();
    Ok(Samples { bytes, planar: false, photometric: layout.photometric })
}

/// Checks the header of a JPEG-LS stream and returns whether it is stored in planes.
pub(super) fn check_jpeg_ls(layout: &Layout, bytes: &[u8]) -> Result<bool, String> {
    let header = JpegHeader::of(bytes).ok_or_else(no_header)?;
    header.check(layout)?;
    if (header.precision > 8) != (layout.allocated == 16) {
        return Err(format!(
            "has JPEG-LS samples of {} bits in {}, which is not read: save it uncompressed",
            header.precision, layout.allocated
        ));
    }
    Ok(header.components > 1 && header.interleave == 0)
}

#[cfg(test)]
#[path = "jpeg_tests.rs"]
mod tests;
