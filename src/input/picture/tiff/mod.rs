//! TIFF and BigTIFF files. The tiff crate reads the directories; strips and tiles are decoded here, because the crate
//! ignores a chunk's length, surplus data in it, checksums after the last row, and FillOrder.

mod chunk;
mod fax;
mod layout;
mod pages;

use std::io::{BufRead, Read, Seek, SeekFrom};
use std::path::Path;

use half::f16;
use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer, Pixel};
use tiff::decoder::{Decoder, Limits};

use super::pages::choose;
use super::reason::short;
use super::sample::{Stored, deepen};
use super::size::check_size;
use crate::input::{InputError, say};
use layout::{Compression, Extra, Layout, Photometric};
use pages::Form;

/// Whether a file that begins with these bytes is TIFF or BigTIFF.
pub(super) fn is_tiff(start: &[u8]) -> bool {
    Form::of(start).is_some()
}

/// Reads page `page`, from 1; `length` is the file's length.
pub(super) fn open<R: BufRead + Seek>(
    reader: R,
    path: &Path,
    length: u64,
    page: Option<usize>,
) -> Result<DynamicImage, InputError> {
    let (mut decoder, layout) = find(reader, path, length, page)?;
    let mut pixels = layout.pixels(decoder.inner(), length).map_err(|reason| damaged(path, &reason))?;
    pixels.apply_orientation(layout.orientation());
    if let Some(profile) = &layout.profile {
        say::profile(path.display(), profile);
    }
    Ok(pixels)
}

/// The stored numbers of the only page, greys or palette indices; `None` for colours and floating point.
pub(super) fn stored<R: BufRead + Seek>(
    reader: R,
    path: &Path,
    length: u64,
) -> Result<Option<Stored>, InputError> {
    let (mut decoder, layout) = find(reader, path, length, None)?;
    if layout.float || layout.colours() != 1 || layout.samples != 1 {
        return Ok(None);
    }
    let values = match layout.bits {
        0..=8 => {
            layout.samples::<u8, R>(decoder.inner(), length).map(|v| v.into_iter().map(u16::from).collect())
        }
        _ => layout.samples::<u16, R>(decoder.inner(), length),
    };
    let mut values: Vec<u16> = values.map_err(|reason| damaged(path, &reason))?;
    let full = u16::full(layout.bits);
    if layout.photometric == Photometric::WhiteIsZero {
        if !values.iter().all(|&value| value == 0 || value == full) {
            let problem = "says that 0 is white, so that its numbers may count from either end: save the mask with 0 as \
                           black";
            return Err(InputError::unreadable(path, problem));
        }
        values.iter_mut().for_each(|value| *value = full - *value);
    }
    // A palette index has no brightness, except in a grey palette, where 255 is white.
    let white = if layout.photometric == Photometric::Palette { 255 } else { full };
    let values = ImageBuffer::from_raw(layout.width as u32, layout.height as u32, values)
        .ok_or_else(|| damaged(path, "its size changes"))?;
    let mut values = DynamicImage::ImageLuma16(values);
    values.apply_orientation(layout.orientation());
    let lossy = layout.compression == Compression::Jpeg;
    Ok(Some(Stored { values: values.into_luma16(), white: Some(white), lossy }))
}

/// The layout of page `page`, from 1, if its size is accepted.
fn find<R: BufRead + Seek>(
    mut reader: R,
    path: &Path,
    length: u64,
    page: Option<usize>,
) -> Result<(Decoder<R>, Layout), InputError> {
    let damaged = |reason: String| damaged(path, &reason);
    let mut start = [0; 4];
    let io_error = |e: std::io::Error| InputError::read(path, &e);
    reader.seek(SeekFrom::Start(0)).and_then(|_| reader.read_exact(&mut start)).map_err(io_error)?;
    let form = Form::of(&start).ok_or_else(|| damaged("no TIFF header".into()))?;
    let pages = pages::pages(&mut reader, form).map_err(damaged)?;
    if pages.is_empty() {
        return Err(damaged("no page in full size".into()));
    }
    let offset = pages[choose(path, page, pages.len())?];
    reader.seek(SeekFrom::Start(0)).map_err(io_error)?;
    let mut decoder = Decoder::new(reader).map_err(|e| damaged(e.to_string()))?.with_limits(limits(length));
    let layout = Layout::read(&mut decoder, offset, form).map_err(|reason| {
        InputError::unreadable(path, format!("is a TIFF that is not read: {}", short(&reason)))
    })?;
    let [width, height] = [layout.width, layout.height].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    check_size(path, [width, height], layout.decoded(), length)?;
    Ok((decoder, layout))
}

/// Memory limits for the directory of a file of `length` bytes: 32 bytes of memory per value, each of which takes at
/// least one byte in the file. The decoder alone would accept a count of millions.
fn limits(length: u64) -> Limits {
    const FEWEST: u64 = 1 << 16;
    let mut limits = Limits::default();
    let most = usize::try_from(length.saturating_mul(32).max(FEWEST)).unwrap_or(usize::MAX);
    limits.decoding_buffer_size = limits.decoding_buffer_size.min(most);
    limits
}

fn damaged(path: &Path, reason: &str) -> InputError {
    InputError::Decode { path: path.into(), reason: short(reason) }
}

/// A number format to which samples are decoded.
trait Sample: Copy + Default + PartialOrd {
    /// Sample number `place` of a row in native byte order.
    fn at(row: &[u8], place: usize, bits: usize) -> Self;

    /// The largest sample of this bit depth.
    fn full(bits: usize) -> Self;
}

impl Sample for u8 {
    fn at(row: &[u8], place: usize, bits: usize) -> u8 {
        let at = place * bits;
        match bits {
            8 => row[place],
            _ => take(row, at, bits) as u8,
        }
    }

    fn full(bits: usize) -> u8 {
        (0xFF_u16 >> (8 - bits)) as u8
    }
}

impl Sample for u16 {
    fn at(row: &[u8], place: usize, bits: usize) -> u16 {
        match bits {
            16 => u16::from_ne_bytes([row[2 * place], row[2 * place + 1]]),
            _ => take(row, place * bits, bits) as u16,
        }
    }

    fn full(bits: usize) -> u16 {
        0xFFFF >> (16 - bits)
    }
}

impl Sample for f32 {
    fn at(row: &[u8], place: usize, bits: usize) -> f32 {
        let bytes = |width: usize| &row[place * width..];
        match bits {
            16 => bytes(2).first_chunk().map(|b| f16::from_ne_bytes(*b).to_f32()),
            32 => bytes(4).first_chunk().map(|b| f32::from_ne_bytes(*b)),
            _ => bytes(8).first_chunk().map(|b| f64::from_ne_bytes(*b) as f32),
        }
        .unwrap_or(f32::NAN)
    }

    fn full(_bits: usize) -> f32 {
        1.0
    }
}

/// `bits` bits starting at bit `at`, most significant bit first.
fn take(row: &[u8], at: usize, bits: usize) -> u32 {
    let bytes = [0, 1, 2].map(|n| u32::from(row.get(at / 8 + n).copied().unwrap_or(0)));
    let window = bytes[0] << 16 | bytes[1] << 8 | bytes[2];
    (window >> (24 - at % 8 - bits)) & ((1 << bits) - 1)
}

impl Layout {
    fn orientation(&self) -> Orientation {
        Orientation::from_exif(self.orientation).unwrap_or(Orientation::NoTransforms)
    }

    /// Decodes every chunk and converts the samples to grey or RGB.
    fn pixels<R: Read + Seek>(&self, reader: &mut R, length: u64) -> Result<DynamicImage, String> {
        let grey = self.colours() == 1 && self.photometric != Photometric::Palette;
        match (self.float, self.bits) {
            (true, _) => {
                let mut samples = self.samples::<f32, R>(reader, length)?;
                if grey {
                    samples = samples.into_iter().flat_map(|v| [v; 3]).collect();
                }
                self.buffer(samples).map(DynamicImage::ImageRgb32F)
            }
            (false, 0..=8) => {
                let samples = self.samples::<u8, R>(reader, length)?;
                let samples = self.coloured(samples, 255, |value, largest| value * 255 / largest);
                if grey {
                    self.buffer(samples).map(DynamicImage::ImageLuma8)
                } else {
                    self.buffer(samples).map(DynamicImage::ImageRgb8)
                }
            }
            _ => {
                let samples = self.samples::<u16, R>(reader, length)?;
                let samples =
                    self.coloured(samples, 65535, |value, largest| deepen(value as u16, largest).into());
                if grey {
                    self.buffer(samples).map(DynamicImage::ImageLuma16)
                } else {
                    self.buffer(samples).map(DynamicImage::ImageRgb16)
                }
            }
        }
    }

    fn buffer<P: Pixel>(
        &self,
        samples: Vec<P::Subpixel>,
    ) -> Result<ImageBuffer<P, Vec<P::Subpixel>>, String> {
        ImageBuffer::from_raw(self.width as u32, self.height as u32, samples)
            .ok_or_else(|| "its size changes".into())
    }

    /// The colour samples, `[height, width, colours]`.
    fn samples<S: Sample, R: Read + Seek>(&self, reader: &mut R, length: u64) -> Result<Vec<S>, String> {
        let across = self.width.div_ceil(self.chunk[0]);
        let planes = if self.planar { self.samples } else { 1 };
        let each = across * self.height.div_ceil(self.chunk[1]);
        if self.chunks.len() != each * planes {
            return Err(format!("{} strips or tiles where {} have to be", self.chunks.len(), each * planes));
        }
        let mut samples = vec![S::default(); self.width * self.height * self.colours()];
        let mut is_opaque = true;
        for (index, &(offset, size)) in self.chunks.iter().enumerate() {
            let (left, top) = (index % each % across * self.chunk[0], index % each / across * self.chunk[1]);
            let failed =
                |e: String| format!("{} {}: {e}", if self.tiled { "tile" } else { "strip" }, index + 1);
            let rows = if self.tiled { self.chunk[1] } else { self.chunk[1].min(self.height - top) };
            let bytes = read(reader, offset, size, length).map_err(failed)?;
            let mut decoded = self.decompress(&bytes, rows).map_err(failed)?;
            self.undo_differences(&mut decoded);
            is_opaque &= self.place(&decoded, [left, top], index / each, &mut samples);
        }
        if self.extra == Extra::Premultiplied && !is_opaque {
            return Err(
                "colours multiplied by an opacity that is not full: save it without transparency".into()
            );
        }
        Ok(samples)
    }

    /// Copies a chunk's samples into the picture; returns whether the first sample beyond the colours has its maximum
    /// in every pixel.
    fn place<S: Sample>(
        &self,
        decoded: &[u8],
        [left, top]: [usize; 2],
        plane: usize,
        samples: &mut [S],
    ) -> bool {
        let (stride, each) = self.chunk_row();
        let columns = self.chunk[0].min(self.width - left);
        let colours = self.colours();
        let mut is_opaque = true;
        for (row, y) in decoded.chunks_exact(stride).zip(top..self.height) {
            for column in 0..columns {
                let pixel = (y * self.width + left + column) * colours;
                for sample in 0..each {
                    let value = S::at(row, column * each + sample, self.bits);
                    match plane + sample {
                        channel if channel < colours => samples[pixel + channel] = value,
                        channel => is_opaque &= channel > colours || value >= S::full(self.bits),
                    }
                }
            }
        }
        is_opaque
    }

    /// Converts to grey or RGB of 8 or 16 bits; `scale(value, full)` maps 0 to `full` onto 0 to `largest`.
    fn coloured<S: Sample + Into<u32> + TryFrom<u32>>(
        &self,
        mut samples: Vec<S>,
        largest: u32,
        scale: impl Fn(u32, u32) -> u32,
    ) -> Vec<S> {
        let of = |value: u32| S::try_from(value).unwrap_or_default();
        match self.photometric {
            Photometric::Palette => {
                // The upper 8 of the palette's 16 bits: some encoders repeat the byte, others leave the lower 8 bits
                // zero.
                let colours = 1 << self.bits;
                let colour =
                    |index: usize| [0, 1, 2].map(|n| of(u32::from(self.palette[n * colours + index] >> 8)));
                samples.into_iter().flat_map(|index| colour(index.into() as usize)).collect()
            }
            Photometric::Cmyk => {
                let ink = |value: S, black: u64| {
                    (u64::from(largest - value.into()) * black / u64::from(largest)) as u32
                };
                let rgb = |cmyk: &[S; 4]| {
                    let black = u64::from(largest - cmyk[3].into());
                    [cmyk[0], cmyk[1], cmyk[2]].map(|value| of(ink(value, black)))
                };
                samples.as_chunks::<4>().0.iter().flat_map(rgb).collect()
            }
            _ => {
                let full = (1 << self.bits) - 1;
                let inverted = self.photometric == Photometric::WhiteIsZero;
                if inverted || full != largest {
                    samples.iter_mut().for_each(|sample| {
                        let value = (*sample).into();
                        *sample = of(scale(if inverted { full - value } else { value }, full));
                    });
                }
                samples
            }
        }
    }
}

/// The bytes of a chunk, which must lie within the file.
fn read<R: Read + Seek>(reader: &mut R, offset: u64, size: u64, length: u64) -> Result<Vec<u8>, String> {
    if offset.checked_add(size).is_none_or(|end| end > length) || size == 0 {
        return Err(format!("{size} bytes at byte {offset} of {length}"));
    }
    let mut bytes = vec![0; size as usize];
    reader
        .seek(SeekFrom::Start(offset))
        .and_then(|_| reader.read_exact(&mut bytes))
        .map_err(|e| e.to_string())?;
    Ok(bytes)
}
