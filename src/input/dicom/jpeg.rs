//! JPEG and JPEG-LS streams: what their headers say, and JPEG by its decoder.

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use super::damaged::damaged;
use super::layout::{Layout, Photometric};
use super::samples::{Samples, check_precision, same_size};
use crate::input::jpeg::{decode_12, pictures};

/// What a JPEG or JPEG-LS stream says of its frame and colours.
#[derive(Debug, Default, PartialEq)]
struct JpegHeader {
    lossless: bool,
    precision: u8,
    rows: usize,
    columns: usize,
    components: usize,
    jfif: bool,
    /// Of the Adobe marker: 0 for RGB, 1 for YCbCr.
    adobe: Option<u8>,
    /// Whether the components are called R, G and B.
    named_rgb: bool,
    /// Whether components have fewer samples than others.
    subsampled: bool,
    /// Of the first scan of JPEG-LS: 0 for planes.
    interleave: u8,
}

impl JpegHeader {
    /// Reads the segments up to the first scan (ITU-T T.81 B.1, T.87 C.1).
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
                    // Name, sampling factors and quantisation table of each.
                    let each = body.get(6..6 + 3 * header.components)?.as_chunks::<3>().0;
                    let names: Vec<u8> = each.iter().map(|component| component[0]).collect();
                    header.named_rgb = matches!(names.as_slice(), b"RGB" | b"rgb");
                    header.subsampled = each.iter().any(|component| component[1] != each[0][1]);
                }
                0xE0 if body.starts_with(b"JFIF\0") => header.jfif = true,
                0xEE if body.starts_with(b"Adobe") => header.adobe = body.get(11).copied(),
                0xDA => {
                    // After the components: the near-lossless bound and the interleaving.
                    header.interleave = body.len().checked_sub(2).and_then(|n| body.get(n)).copied()?;
                    return Some(header);
                }
                _ => {}
            }
            at += 2 + length.max(2);
        }
    }

    /// Refuses a stream of another size than the file's header says; only then may its decoder allocate for it.
    fn check(&self, layout: &Layout) -> Result<(), String> {
        same_size(layout, [self.rows, self.columns, self.components])
    }
}

fn no_header() -> String {
    "has compressed pixels without a header that can be read: the file is damaged".into()
}

/// Whether the components are YCbCr, by all that the stream says of it; none if it says nothing.
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
    // JFIF has no RGB, and nobody leaves out samples of a colour. The names are a habit of encoders that keep RGB.
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

/// JPEG by its decoder itself: the library's adapter leaves it to guess the colours.
///
/// Where the stream says what they are, it is closer to the truth than the photometric interpretation, which transcoders
/// forget to change (pydicom 3 does the same); else that is what they are.
pub(super) fn decode(layout: &Layout, bytes: &[u8]) -> Result<Samples, String> {
    let header = JpegHeader::of(bytes).ok_or_else(no_header)?;
    header.check(layout)?;
    // The patterns of a JPEG have no sign; one of fewer bits would lose it.
    let sign_lost = layout.signed && u32::from(header.precision) < layout.stored;
    check_precision(layout, header.precision.into(), sign_lost.then_some(false))?;
    // Its decoder fills what is missing with grey.
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
            // Which transforms nothing: neither does its decoder.
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
        // The decoder gives 16 bits in the machine's order.
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

/// Grey of 12 bits (process 2 and 4), which jpeg-decoder does not read.
fn deep(layout: &Layout, bytes: &[u8]) -> Result<Samples, String> {
    let decoded = decode_12(bytes).map_err(|problem| {
        format!("has a JPEG stream that is not read ({problem}): save it as Explicit VR Little Endian")
    })?;
    same_size(layout, [decoded.height, decoded.width, decoded.channels])?;
    let bytes = decoded.samples.iter().flat_map(|v| v.to_le_bytes()).collect();
    Ok(Samples { bytes, planar: false, photometric: layout.photometric })
}

/// The header of a JPEG-LS stream; whether it has planes.
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
