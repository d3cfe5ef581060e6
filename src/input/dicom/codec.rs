//! From a frame's bytes in the file to its samples.

use std::borrow::Cow;

use dicom_core::smallvec::smallvec;
use dicom_dictionary_std::uids;
use dicom_encoding::adapters::{PixelDataObject, RawPixelData};
use dicom_encoding::transfer_syntax::TransferSyntax;
use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use super::file::damaged;
use super::guarded::guarded;
use super::layout::{Layout, Photometric};
use crate::input::image::jpeg_has_end;

/// A decoded frame.
pub(super) struct Samples {
    /// Little-endian, [`Layout::frame_bytes`] long; uncompressed YBR_FULL_422 is still packed.
    pub(super) bytes: Vec<u8>,
    /// Whether planes follow each other.
    pub(super) planar: bool,
    /// What the samples mean now: a decoder may have undone a colour transform.
    pub(super) photometric: Photometric,
}

/// Decodes `bytes`, one frame in the transfer syntax `syntax`.
pub(super) fn decode(layout: &Layout, syntax: &TransferSyntax, bytes: Vec<u8>) -> Result<Samples, String> {
    if !syntax.is_encapsulated_pixel_data() {
        return Ok(Samples { bytes, planar: layout.planar, photometric: layout.photometric });
    }
    let mut samples = match syntax.uid() {
        uids::JPEG_BASELINE8_BIT
        | uids::JPEG_EXTENDED12_BIT
        | uids::JPEG_LOSSLESS
        | uids::JPEG_LOSSLESS_SV1 => guarded(|| jpeg(layout, &bytes))?,
        uids::RLE_LOSSLESS => {
            check_rle(layout, &bytes)?;
            Samples { bytes: adapter(layout, syntax, bytes)?, planar: false, photometric: layout.photometric }
        }
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => {
            check_j2k(layout, &bytes)?;
            // Its own colour transform is undone by the decoder; one of DICOM is not.
            let photometric = match layout.photometric {
                Photometric::YbrJ2k => Photometric::Rgb,
                Photometric::YbrFull422 => Photometric::YbrFull,
                other => other,
            };
            Samples { bytes: adapter(layout, syntax, bytes)?, planar: false, photometric }
        }
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => {
            let planar = check_jpeg_ls(layout, &bytes)?;
            Samples { bytes: adapter(layout, syntax, bytes)?, planar, photometric: layout.photometric }
        }
        _ => return Err(unread(syntax)),
    };
    if samples.bytes.len() != layout.frame_bytes() {
        return Err(format!(
            "decodes to {} bytes a frame, not {}: the file is damaged",
            samples.bytes.len(),
            layout.frame_bytes()
        ));
    }
    // No codec leaves chroma out.
    if samples.photometric == Photometric::YbrFull422 {
        samples.photometric = Photometric::YbrFull;
    }
    Ok(samples)
}

fn unread(syntax: &TransferSyntax) -> String {
    format!(
        "is in the transfer syntax {}, which is not read: save it as Explicit VR Little Endian",
        syntax.name()
    )
}

/// Decodes by the library's codec.
fn adapter(layout: &Layout, syntax: &TransferSyntax, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let Some(reader) = syntax.pixel_data_reader() else {
        return Err(match syntax.uid() {
            uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => {
                format!(
                    "is in {}, which this build cannot read: use one with the feature jpeg-ls",
                    syntax.name()
                )
            }
            _ => unread(syntax),
        });
    };
    guarded(|| {
        let mut out = Vec::new();
        let frame = OneFrame { layout, syntax: syntax.uid(), bytes: &bytes };
        reader.decode_frame(&frame, 0, &mut out).map_err(|e| damaged("cannot be decoded", &e))?;
        Ok(out)
    })
}

/// A frame as an object of its own, so that a codec neither sees nor copies the others.
struct OneFrame<'a> {
    layout: &'a Layout,
    syntax: &'a str,
    bytes: &'a [u8],
}

impl PixelDataObject for OneFrame<'_> {
    fn transfer_syntax_uid(&self) -> &str {
        self.syntax
    }
    fn rows(&self) -> Option<u16> {
        self.layout.rows.try_into().ok()
    }
    fn cols(&self) -> Option<u16> {
        self.layout.columns.try_into().ok()
    }
    fn samples_per_pixel(&self) -> Option<u16> {
        self.layout.samples.try_into().ok()
    }
    fn bits_allocated(&self) -> Option<u16> {
        self.layout.allocated.try_into().ok()
    }
    fn bits_stored(&self) -> Option<u16> {
        self.layout.stored.try_into().ok()
    }
    fn photometric_interpretation(&self) -> Option<&str> {
        None
    }
    fn number_of_frames(&self) -> Option<u32> {
        Some(1)
    }
    fn number_of_fragments(&self) -> Option<u32> {
        Some(1)
    }
    fn fragment(&self, fragment: usize) -> Option<Cow<'_, [u8]>> {
        (fragment == 0).then_some(Cow::Borrowed(self.bytes))
    }
    fn offset_table(&self) -> Option<Cow<'_, [u32]>> {
        None
    }
    fn raw_pixel_data(&self) -> Option<RawPixelData> {
        Some(RawPixelData { fragments: smallvec![self.bytes.to_vec()], offset_table: smallvec![] })
    }
}

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

fn same_size(layout: &Layout, [rows, columns, samples]: [usize; 3]) -> Result<(), String> {
    if [rows, columns, samples] == [layout.rows, layout.columns, layout.samples] {
        return Ok(());
    }
    Err(format!(
        "announces {}x{} px of {} samples but its compressed pixels are {columns}x{rows} of {samples}: the file is damaged",
        layout.columns, layout.rows, layout.samples
    ))
}

fn no_header() -> String {
    "has compressed pixels without a header that can be read: the file is damaged".into()
}

/// JPEG by its decoder itself: the library's adapter leaves it to guess the colours, where the photometric interpretation
/// says them.
fn jpeg(layout: &Layout, bytes: &[u8]) -> Result<Samples, String> {
    let header = JpegHeader::of(bytes).ok_or_else(no_header)?;
    header.check(layout)?;
    if !jpeg_has_end(bytes) {
        return Err("has a JPEG stream without an end: the file is damaged or cut short".into());
    }
    let mut decoder = Decoder::new(bytes);
    let mut photometric = layout.photometric;
    if layout.samples == 3 {
        // Lossless coding does not transform colours. Else a marker within the stream is closer to the truth than the
        // DICOM header, which transcoders forget to change.
        let ycc = match (header.lossless, header.adobe, header.jfif) {
            (true, _, _) => false,
            (_, Some(transform), _) => transform == 1,
            (_, None, true) => true,
            _ => photometric != Photometric::Rgb,
        };
        decoder.set_color_transform(if ycc { ColorTransform::YCbCr } else { ColorTransform::RGB });
        if !header.lossless {
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

/// The header of an RLE frame (PS3.5 G.5): as many segments as bytes a pixel, each within the fragment.
fn check_rle(layout: &Layout, bytes: &[u8]) -> Result<(), String> {
    let header: Vec<usize> = bytes
        .get(..64)
        .ok_or_else(no_header)?
        .as_chunks()
        .0
        .iter()
        .map(|b| u32::from_le_bytes(*b) as usize)
        .collect();
    let count = layout.samples * layout.allocated as usize / 8;
    let segments = &header[1..=count];
    if header[0] != count || segments.iter().any(|&at| at < 64 || at > bytes.len()) || !segments.is_sorted() {
        return Err(no_header());
    }
    Ok(())
}

/// The size marker of a JPEG 2000 codestream (ISO/IEC 15444-1, A.5.1), which may lie in a JP2 box.
fn check_j2k(layout: &Layout, bytes: &[u8]) -> Result<(), String> {
    const START: &[u8] = &[0xFF, 0x4F, 0xFF, 0x51];
    let at = bytes.windows(START.len()).position(|window| window == START).ok_or_else(no_header)?;
    // After the markers: Lsiz and Rsiz, then X, Y, XO, YO and four numbers of tiles with 4 bytes each, then components.
    let body = bytes.get(at + 8..).ok_or_else(no_header)?;
    let number = |n: usize| {
        body.get(4 * n..4 * n + 4).and_then(|b| b.first_chunk()).map(|b| u32::from_be_bytes(*b) as usize)
    };
    let (Some(right), Some(bottom), Some(left), Some(top)) = (number(0), number(1), number(2), number(3))
    else {
        return Err(no_header());
    };
    let components = usize::from(u16::from_be_bytes(
        *body.get(32..34).and_then(|b| b.first_chunk()).ok_or_else(no_header)?,
    ));
    same_size(layout, [bottom.saturating_sub(top), right.saturating_sub(left), components])?;
    let details = body.get(34..34 + 3 * components).ok_or_else(no_header)?;
    if details.as_chunks::<3>().0.iter().any(|&[_, across, down]| (across, down) != (1, 1)) {
        return Err(
            "has JPEG 2000 components of different sizes, which are not read: save it uncompressed".into()
        );
    }
    // A tile of no size would be divided by.
    match (number(4), number(5)) {
        (Some(1..), Some(1..)) => Ok(()),
        _ => Err(no_header()),
    }
}

/// The header of a JPEG-LS stream; whether it has planes.
fn check_jpeg_ls(layout: &Layout, bytes: &[u8]) -> Result<bool, String> {
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
#[path = "codec_tests.rs"]
mod tests;
