//! Picture files: their format, the number of pictures, their integrity, and their pixels.
//!
//! The decoders used here are lenient: they fill in what a damaged file lacks, and read only the first of several
//! pictures. So each format has its own check, which runs before its decoder. docs/formats.md lists what each check can
//! detect.

mod bmp;
mod gif;
mod pages;
mod png;
mod pnm;
mod reason;
mod sample;
mod size;
mod tiff;
mod webp;

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{AnimationDecoder, DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{InputError, jpeg, say};
use crate::files;
use pages::{Pages, choose};
use reason::short;
pub(super) use sample::Stored;
use sample::deepen;
use size::{MAX_BYTES, check_size};

/// Maximum size of a picture file in any format but TIFF, which is read whole: the decoded pixels, plus room for the
/// rest of the file.
const MAX_FILE: u64 = MAX_BYTES + (64 << 20);

/// Maximum size of a JPEG file, in bytes: [`MAX_PIXELS`](crate::input::MAX_PIXELS) in the best quality take about 100
/// MiB.
const MAX_JPEG: u64 = 128 << 20;

/// A file that may be a picture.
enum Source {
    /// TIFF, which is read in parts, and its length.
    Tiff(BufReader<File>, u64),
    /// Any other format: its first bytes, the file positioned after them, and its length.
    Other(ImageFormat, Vec<u8>, File, u64),
}

impl Source {
    fn open(path: &Path) -> Result<Source, InputError> {
        let io_error = |e: std::io::Error| InputError::read(path, &e);
        let mut file = files::open(path).map_err(io_error)?;
        let length = file.metadata().map_err(io_error)?.len();
        let mut bytes = Vec::new();
        file.by_ref().take(16).read_to_end(&mut bytes).map_err(io_error)?;
        if tiff::is_tiff(&bytes) {
            return Ok(Source::Tiff(BufReader::new(file), length));
        }
        let Ok(format) = image::guess_format(&bytes) else {
            return Err(InputError::Format { path: path.into() });
        };
        Ok(Source::Other(format, bytes, file, length))
    }
}

/// The whole content of a file that begins with `bytes`.
fn whole(
    path: &Path,
    format: ImageFormat,
    mut bytes: Vec<u8>,
    file: File,
    length: u64,
) -> Result<Vec<u8>, InputError> {
    let io_error = |e: std::io::Error| InputError::read(path, &e);
    let most = if format == ImageFormat::Jpeg { MAX_JPEG } else { MAX_FILE };
    files::check_length(length, most).map_err(io_error)?;
    // Also limits a file that grows while it is read.
    file.take(most).read_to_end(&mut bytes).map_err(io_error)?;
    Ok(bytes)
}

/// Reads page `page` of a file, from 1; if none is given, the file must hold one picture.
pub(super) fn open(path: &Path, page: Option<usize>) -> Result<DynamicImage, InputError> {
    match Source::open(path)? {
        Source::Tiff(reader, length) => tiff::open(reader, path, length, page),
        Source::Other(format, start, file, length) => {
            let bytes = whole(path, format, start, file, length)?;
            Picture { path, bytes: &bytes, format }.read(page)
        }
    }
}

/// Reads a file other than TIFF that is in memory and holds one picture; `path` is what errors call it.
pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<DynamicImage, InputError> {
    match image::guess_format(bytes) {
        Ok(format) if !tiff::is_tiff(bytes) => Picture { path, bytes, format }.read(None),
        _ => Err(InputError::Format { path: path.into() }),
    }
}

/// The stored numbers of a TIFF or PNM file, for which [`open`] may return others; `None` for other formats and for
/// colours.
pub(super) fn stored(path: &Path) -> Result<Option<Stored>, InputError> {
    match Source::open(path)? {
        Source::Tiff(reader, length) => tiff::stored(reader, path, length),
        Source::Other(format @ ImageFormat::Pnm, start, file, length) => {
            let bytes = whole(path, format, start, file, length)?;
            // Refuses invalid sizes and lengths, and damaged files.
            Picture { path, bytes: &bytes, format }.read(None)?;
            Ok(pnm::greys(&bytes))
        }
        Source::Other(..) => Ok(None),
    }
}

/// A 12-bit JPEG, scaled to 16 bits.
fn deep_jpeg(bytes: &[u8]) -> Result<DynamicImage, String> {
    let deep = jpeg::decode_12(bytes)?;
    let (columns, rows, grey) = (deep.width as u32, deep.height as u32, deep.channels == 1);
    let mut samples = deep.into_rgb();
    samples.iter_mut().for_each(|sample| *sample = deepen(*sample, 4095));
    let pixels = if grey {
        ImageBuffer::from_raw(columns, rows, samples).map(DynamicImage::ImageLuma16)
    } else {
        ImageBuffer::from_raw(columns, rows, samples).map(DynamicImage::ImageRgb16)
    };
    pixels.ok_or_else(|| "its size changes".into())
}

/// A picture file in memory.
struct Picture<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    format: ImageFormat,
}

impl Picture<'_> {
    fn read(&self, page: Option<usize>) -> Result<DynamicImage, InputError> {
        if self.format == ImageFormat::Jpeg {
            return self.jpeg(page);
        }
        // The first picture's header is checked before the check processes what it announces.
        let header = self.decoder(Cursor::new(self.bytes))?;
        let ([width, height], decoded) = (header.dimensions().into(), header.total_bytes());
        check_size(self.path, [width, height], decoded, self.bytes.len() as u64)?;
        drop(header);
        let pages = self.check().map_err(|reason| self.damaged(reason))?;
        let chosen = choose(self.path, page, pages.count)?;
        match pages.animated {
            Some(before) if chosen >= before && pages.count > 1 => self.frame(chosen - before),
            _ => self.still(&self.bytes[pages.starts.get(chosen).copied().unwrap_or(0)..]),
        }
    }

    /// Checks that the file is complete, and lists its pictures.
    fn check(&self) -> Result<Pages, String> {
        match self.format {
            ImageFormat::Png => png::check(self.bytes),
            ImageFormat::Gif => gif::check(self.bytes),
            ImageFormat::WebP => webp::check(self.bytes),
            ImageFormat::Bmp => bmp::check(self.bytes).map(|()| Pages::ONE),
            ImageFormat::Pnm => pnm::check(self.bytes),
            _ => Ok(Pages::ONE),
        }
    }

    fn limits() -> Limits {
        let mut limits = Limits::default();
        limits.max_alloc = Some(MAX_BYTES);
        limits
    }

    fn decoder<'a, R: BufRead + Seek + 'a>(&self, bytes: R) -> Result<impl ImageDecoder + 'a, InputError> {
        let mut reader = ImageReader::with_format(bytes, self.format);
        reader.limits(Picture::limits());
        reader.into_decoder().map_err(|e| self.failed(e))
    }

    /// The only picture in `bytes`, or the first.
    fn still(&self, bytes: &[u8]) -> Result<DynamicImage, InputError> {
        let mut cursor = Cursor::new(bytes);
        let mut decoder = self.decoder(&mut cursor)?;
        let ([width, height], decoded) = (decoder.dimensions().into(), decoder.total_bytes());
        check_size(self.path, [width, height], decoded, self.bytes.len() as u64)?;
        let orientation = decoder.orientation().map_err(|e| self.failed(e))?;
        self.say_profile(&mut decoder);
        let mut pixels = DynamicImage::from_decoder(decoder).map_err(|e| self.failed(e))?;
        pixels.apply_orientation(orientation);
        if self.format == ImageFormat::WebP {
            webp::check_used(bytes, cursor.position() as usize).map_err(|reason| self.damaged(reason))?;
        }
        Ok(pixels)
    }

    /// A JPEG, or one of several consecutive ones.
    fn jpeg(&self, page: Option<usize>) -> Result<DynamicImage, InputError> {
        let failed = |reason: String| self.damaged(reason);
        let check = |bytes: &[u8]| {
            let header = jpeg::header(bytes).ok_or_else(|| self.damaged("no frame header"))?;
            let [width, height] = header.1.map(u32::from);
            // For 12 bits, six bytes per pixel for the samples of three components, and as many for the coefficients.
            let decoded = if header.0 == 12 { 12 } else { 3 } * u64::from(width) * u64::from(height);
            check_size(self.path, [width, height], decoded, self.bytes.len() as u64)?;
            Ok(header.0)
        };
        check(self.bytes)?;
        let starts = jpeg::pictures(self.bytes).map_err(failed)?;
        let bytes = &self.bytes[starts[choose(self.path, page, starts.len())?]..];
        if check(bytes)? != 12 {
            return self.still(bytes);
        }
        let mut pixels = deep_jpeg(bytes).map_err(failed)?;
        let orientation = jpeg::exif(bytes).and_then(Orientation::from_exif_chunk);
        pixels.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
        Ok(pixels)
    }

    /// A frame of an animation, drawn over the preceding ones.
    fn frame(&self, frame: usize) -> Result<DynamicImage, InputError> {
        let cursor = Cursor::new(self.bytes);
        let limited = |decoder: &mut dyn ImageDecoder| decoder.set_limits(Picture::limits());
        let failed = |e| self.failed(e);
        let (mut frames, orientation) = match self.format {
            ImageFormat::Png => {
                let mut decoder = PngDecoder::with_limits(cursor, Picture::limits()).map_err(failed)?;
                let orientation = decoder.orientation().map_err(failed)?;
                self.say_profile(&mut decoder);
                (decoder.apng().map_err(failed)?.into_frames(), orientation)
            }
            ImageFormat::WebP => {
                let mut decoder = WebPDecoder::new(cursor).map_err(failed)?;
                let orientation = decoder.orientation().map_err(failed)?;
                self.say_profile(&mut decoder);
                limited(&mut decoder).map_err(failed)?;
                (decoder.into_frames(), orientation)
            }
            _ => {
                let mut decoder = GifDecoder::new(cursor).map_err(failed)?;
                limited(&mut decoder).map_err(failed)?;
                (decoder.into_frames(), Orientation::NoTransforms)
            }
        };
        let missing = || self.damaged(format!("frame {} is missing", frame + 1));
        // One by one, because each frame is drawn over the preceding ones.
        for _ in 0..frame {
            frames.next().ok_or_else(missing)?.map_err(failed)?;
        }
        let mut pixels =
            DynamicImage::from(frames.next().ok_or_else(missing)?.map_err(failed)?.into_buffer());
        pixels.apply_orientation(orientation);
        Ok(pixels)
    }

    /// Warns about the colour profile; an unreadable profile is ignored.
    fn say_profile(&self, decoder: &mut impl ImageDecoder) {
        if let Ok(Some(profile)) = decoder.icc_profile() {
            say::profile(self.path.display(), &profile);
        }
    }

    fn failed(&self, error: image::ImageError) -> InputError {
        self.damaged(error.to_string())
    }

    fn damaged(&self, reason: impl AsRef<str>) -> InputError {
        InputError::Decode { path: self.path.into(), reason: short(reason.as_ref()) }
    }
}
