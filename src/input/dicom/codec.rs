//! Decodes a frame's bytes to samples.

use std::borrow::Cow;

use dicom_core::smallvec::smallvec;
use dicom_dictionary_std::uids;
use dicom_encoding::adapters::{PixelDataObject, RawPixelData};
use dicom_encoding::transfer_syntax::TransferSyntax;

use super::damaged::damaged;
use super::guarded::guarded;
use super::layout::{Layout, Photometric};
use super::samples::Samples;
use super::{j2k, jpeg, rle};

/// Decodes `bytes`, which are one frame in the transfer syntax `syntax`.
pub(super) fn decode(layout: &Layout, syntax: &TransferSyntax, bytes: Vec<u8>) -> Result<Samples, String> {
    if !syntax.is_encapsulated_pixel_data() {
        return Ok(Samples { bytes, planar: layout.planar, photometric: layout.photometric });
    }
    let rle = syntax.uid() == uids::RLE_LOSSLESS;
    if !rle && layout.high + 1 != layout.stored {
        return Err(format!(
            "stores {} bits up to bit {}, where compressed samples are in the lowest bits: the file is damaged",
            layout.stored, layout.high
        ));
    }
    let mut samples = match syntax.uid() {
        uids::JPEG_BASELINE8_BIT
        | uids::JPEG_EXTENDED12_BIT
        | uids::JPEG_LOSSLESS
        | uids::JPEG_LOSSLESS_SV1 => guarded(|| jpeg::decode(layout, &bytes))?,
        uids::RLE_LOSSLESS => {
            Samples { bytes: rle::decode(layout, &bytes)?, planar: false, photometric: layout.photometric }
        }
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => guarded(|| j2k::decode(layout, &bytes))?,
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => {
            let planar = jpeg::check_jpeg_ls(layout, &bytes)?;
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
    if !rle {
        check_stored(layout, &samples.bytes)?;
    }
    // The codecs return chroma at full resolution.
    if samples.photometric == Photometric::YbrFull422 {
        samples.photometric = Photometric::YbrFull;
    }
    Ok(samples)
}

/// Refuses compressed samples that need more bits than BitsStored, because the extra bits would be cut off.
fn check_stored(layout: &Layout, bytes: &[u8]) -> Result<(), String> {
    if layout.allocated != 16 || layout.stored == 16 {
        return if layout.allocated == 8
            && layout.stored < 8
            && bytes.iter().any(|&v| !fits(layout, v.into(), 8))
        {
            Err(too_wide(layout))
        } else {
            Ok(())
        };
    }
    let words = bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b));
    if words.into_iter().all(|v| fits(layout, v, 16)) { Ok(()) } else { Err(too_wide(layout)) }
}

/// Whether the bits of `value`, `bits` wide, above the stored bits are all zero or all copies of the sign bit.
fn fits(layout: &Layout, value: u16, bits: u32) -> bool {
    let above = value >> layout.stored;
    let negative = layout.signed && value >> (layout.stored - 1) & 1 == 1;
    above == 0 || negative && u32::from(above) == (1 << (bits - layout.stored)) - 1
}

fn too_wide(layout: &Layout) -> String {
    format!(
        "has compressed samples of more than the {} bits that it announces (BitsStored): correct what it announces",
        layout.stored
    )
}

fn unread(syntax: &TransferSyntax) -> String {
    format!(
        "is in the transfer syntax {}, which is not read: save it as Explicit VR Little Endian",
        syntax.name()
    )
}

/// Decodes with the codec of the dicom-rs library.
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

/// A frame presented as a separate object, so that a codec neither sees nor copies the other frames.
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

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
