//! The header's description of the pixels (PS3.3 C.7.6.3), checked against the data.

use dicom_dictionary_std::{tags, uids};

use super::attributes::{frames, missing, string, whole};
use super::file::{DicomFile, Pixels};
use crate::input::limits::{MAX_PIXELS, MAX_RATIO, TRUSTED_BYTES};

/// Maximum number of frames: two and a half hours at 30 frames per second. A small amount of memory is kept per frame.
const MAX_FRAMES: usize = 1 << 18;

/// Photometric interpretation (0028,0004).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Photometric {
    /// The lowest value is white.
    Monochrome1,
    /// The lowest value is black.
    Monochrome2,
    Palette,
    Rgb,
    /// Luma and chroma at full resolution (PS3.3 C.7.6.3.1.2).
    YbrFull,
    /// Chroma for every second column only.
    YbrFull422,
    /// The reversible or irreversible colour transform of JPEG 2000, which its decoder undoes.
    YbrJ2k,
}

/// The Image Pixel module.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) frames: usize,
    /// 1 or 3.
    pub(super) samples: usize,
    /// 8 or 16.
    pub(super) allocated: u32,
    pub(super) stored: u32,
    pub(super) high: u32,
    pub(super) signed: bool,
    /// Whether samples are stored plane by plane rather than pixel by pixel.
    pub(super) planar: bool,
    pub(super) photometric: Photometric,
}

impl Layout {
    pub(super) fn of(file: &DicomFile) -> Result<Layout, String> {
        let object = &file.object;
        let [rows, columns] = [(tags::ROWS, "Rows"), (tags::COLUMNS, "Columns")]
            .map(|(tag, name)| whole(object, tag, name)?.ok_or_else(|| missing(name)));
        let [rows, columns] = [rows? as usize, columns? as usize];
        // The standard has unsigned 16-bit integers here, but the reader also accepts text, which can hold larger
        // numbers.
        if rows == 0 || columns == 0 || rows.max(columns) > usize::from(u16::MAX) {
            return Err(format!("has {rows} rows and {columns} columns: the file is damaged"));
        }
        let frames = frames(object)?.unwrap_or(1);
        let text = string(object, tags::PHOTOMETRIC_INTERPRETATION);
        let text = text.ok_or_else(|| missing("PhotometricInterpretation"))?;
        let photometric = match text.as_str() {
            "MONOCHROME1" => Photometric::Monochrome1,
            "MONOCHROME2" => Photometric::Monochrome2,
            "PALETTE COLOR" => Photometric::Palette,
            "RGB" => Photometric::Rgb,
            "YBR_FULL" => Photometric::YbrFull,
            "YBR_FULL_422" => Photometric::YbrFull422,
            "YBR_RCT" | "YBR_ICT" => Photometric::YbrJ2k,
            other => {
                return Err(format!(
                    "has the photometric interpretation '{other}', which is not read: save it as RGB"
                ));
            }
        };
        let colour = !matches!(
            photometric,
            Photometric::Monochrome1 | Photometric::Monochrome2 | Photometric::Palette
        );
        let expected = if colour { 3 } else { 1 };
        let samples = whole(object, tags::SAMPLES_PER_PIXEL, "SamplesPerPixel")?.unwrap_or(expected);
        if samples != expected {
            return Err(format!(
                "has {samples} samples a pixel, but {text} has {expected}: the file is damaged"
            ));
        }
        let allocated =
            whole(object, tags::BITS_ALLOCATED, "BitsAllocated")?.ok_or_else(|| missing("BitsAllocated"))?;
        if !(allocated == 8 || allocated == 16 && !colour) {
            let kind = if colour { "colour" } else { "grey" };
            return Err(format!(
                "has {allocated} bits a {kind} sample, which is not read: save it with 8{}",
                if colour { "" } else { " or 16" }
            ));
        }
        let stored = whole(object, tags::BITS_STORED, "BitsStored")?.unwrap_or(allocated);
        let high = whole(object, tags::HIGH_BIT, "HighBit")?.unwrap_or(stored.saturating_sub(1));
        if stored == 0 || high >= allocated || high + 1 < stored {
            return Err(format!("stores {stored} bits up to bit {high} of {allocated}: the file is damaged"));
        }
        if colour && stored != 8 {
            return Err(format!("has {stored} of 8 bits a colour sample, which is not read: save it with 8"));
        }
        let [signed, planar] = [
            (tags::PIXEL_REPRESENTATION, "PixelRepresentation"),
            (tags::PLANAR_CONFIGURATION, "PlanarConfiguration"),
        ]
        .map(|(tag, name)| match whole(object, tag, name)? {
            None | Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(other) => Err(format!("has {other} as {name}, which is 0 or 1: the file is damaged")),
        });
        let [signed, planar] = [signed?, planar?];
        let mut layout = Layout {
            rows,
            columns,
            frames,
            samples: samples as usize,
            allocated,
            stored,
            high,
            signed,
            planar: planar && colour,
            photometric,
        };
        layout.see_chroma(file);
        layout.check(file)?;
        Ok(layout)
    }

    /// Number of samples of a decoded frame.
    pub(super) fn frame_samples(&self) -> usize {
        self.rows * self.columns * self.samples
    }

    /// Size of a decoded frame in bytes.
    pub(super) fn frame_bytes(&self) -> usize {
        self.frame_samples() * (self.allocated as usize / 8)
    }

    /// Size of a frame in an uncompressed file, in bytes. 4:2:2 stores half of the chroma.
    pub(super) fn native_bytes(&self) -> usize {
        if self.photometric == Photometric::YbrFull422 {
            self.frame_bytes() / 3 * 2
        } else {
            self.frame_bytes()
        }
    }

    /// Refuses dimensions that the file cannot hold, before anything is allocated for them.
    fn check(&self, file: &DicomFile) -> Result<(), String> {
        let Layout { rows, columns, frames, .. } = *self;
        if rows as u64 * columns as u64 > MAX_PIXELS {
            return Err(format!(
                "has frames of {columns}x{rows} px, which are refused: give at most {} megapixels",
                MAX_PIXELS >> 20
            ));
        }
        if frames > MAX_FRAMES {
            return Err(format!("has {frames} frames, which are refused: give at most {MAX_FRAMES}"));
        }
        let short = |held: String| {
            format!(
                "announces {frames} frames of {columns}x{rows} px but holds {held}: the file is damaged or cut short"
            )
        };
        if file.syntax.is_encapsulated_pixel_data() != matches!(file.pixels, Pixels::Encapsulated(_)) {
            let not = if file.syntax.is_encapsulated_pixel_data() { " not" } else { "" };
            return Err(format!(
                "says that it is {} but its pixels are{not} compressed: the file is damaged",
                file.syntax.name()
            ));
        }
        let j2k = [uids::JPEG2000_LOSSLESS, uids::JPEG2000].contains(&file.syntax.uid());
        if self.photometric == Photometric::YbrJ2k && !j2k {
            return Err(format!(
                "says that its colours are transformed as in JPEG 2000 but is {}: save it as RGB",
                file.syntax.name()
            ));
        }
        match &file.pixels {
            Pixels::Native { length, .. } => {
                let needed = (self.native_bytes() as u64).checked_mul(frames as u64);
                let Some(needed) = needed.filter(|&needed| frames > 0 && needed <= *length) else {
                    return Err(short(format!("{length} bytes of pixels")));
                };
                // An excess of less than a row, such as the byte that makes the length even, is not image data.
                if length - needed >= (self.native_bytes() / rows) as u64 {
                    return Err(format!(
                        "announces {frames} frames of {columns}x{rows} px (NumberOfFrames, Rows, Columns), which are {needed} bytes, but holds {length}: correct what it announces"
                    ));
                }
                if self.photometric == Photometric::YbrFull422 && columns % 2 == 1 {
                    return Err("has an odd number of columns in YBR_FULL_422: the file is damaged".into());
                }
            }
            Pixels::Encapsulated(fragments) => {
                let held = fragments.bytes();
                let frame = self.frame_bytes() as u64;
                if frame > TRUSTED_BYTES && frame / MAX_RATIO > held {
                    return Err(short(format!("{held} compressed bytes")));
                }
            }
        }
        Ok(())
    }

    /// Detects uncompressed YBR_FULL_422 whose length shows that chroma is stored at full resolution, a known fault of
    /// devices. If the number of columns is even, no length fits both formats.
    fn see_chroma(&mut self, file: &DicomFile) {
        let all = (self.frame_bytes() as u64).checked_mul(self.frames as u64);
        if let (Photometric::YbrFull422, Pixels::Native { length, .. }, Some(all)) =
            (self.photometric, &file.pixels, all)
            && (all..=all + 1).contains(length)
        {
            self.photometric = Photometric::YbrFull;
        }
    }
}

#[cfg(test)]
impl Layout {
    /// One grey frame of 8 x 16 px, for tests.
    pub(super) fn grey() -> Layout {
        Layout {
            rows: 16,
            columns: 8,
            frames: 1,
            samples: 1,
            allocated: 8,
            stored: 8,
            high: 7,
            signed: false,
            planar: false,
            photometric: Photometric::Monochrome2,
        }
    }
}
