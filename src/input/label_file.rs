//! Reads class numbers from pictures and NIfTI volumes.

use std::io::{BufReader, Read};
use std::path::Path;

use image::DynamicImage;

use super::content;
use super::label_map::classes_of;
use super::{Axis, Image, InputError, LabelMap, MAX_FRAMES, ReadOptions, nifti, picture};
use crate::guarded::guarded;

impl LabelMap {
    /// Reads class numbers: from a NIfTI volume, sliced along `axis` as in [`Scan::open`](super::Scan::open), or from a
    /// grey or palette picture, whose stored numbers are used unchanged. A mask that holds only 0 and white is
    /// background and one class; otherwise the values are the class numbers.
    ///
    /// # Errors
    /// [`InputError`] names the file: unreadable, in colour, partly transparent, lossily coded, with values other than
    /// whole numbers from 0 to 254, or with 255 among other values.
    pub fn open(path: impl AsRef<Path>, axis: Option<Axis>) -> Result<LabelMap, InputError> {
        let path = path.as_ref();
        let volume = || nifti::open_labels(path, axis, MAX_FRAMES);
        let read = || if content::is_nifti(path)? { volume() } else { of_picture(path) };
        guarded(read, |reason| InputError::unreadable(path, reason))
    }

    /// [`LabelMap::open`] for the mask of `image`. If both files give a position in the patient, the positions must
    /// agree: two volumes of the same size may have the patient's left on different sides. If the image is DICOM, the
    /// volume is sliced in the same way.
    ///
    /// # Errors
    /// Those of [`LabelMap::open`], and [`InputError::Unreadable`] if the mask lies elsewhere than the image.
    pub fn open_for(
        path: impl AsRef<Path>,
        image: &Path,
        options: &ReadOptions,
    ) -> Result<LabelMap, InputError> {
        let path = path.as_ref();
        if !content::is_nifti(path)? {
            return LabelMap::open(path, options.axis);
        }
        let read = || nifti::open_labels_for(path, image, options);
        guarded(read, |reason| InputError::unreadable(path, reason))
    }
}

/// Class numbers from a picture; `depth` is 1.
fn of_picture(path: &Path) -> Result<LabelMap, InputError> {
    if let Some(map) = stored_indices(path)? {
        return Ok(map);
    }
    if let Some(picture::Stored { values, white, lossy }) = picture::stored(path)? {
        let (width, height) = (values.width() as usize, values.height() as usize);
        return numbered(path, (width, height), &values, white, lossy);
    }
    let image = Image::open(path)?;
    let (width, height) = (image.width(), image.height());
    let grey = |p: &[u8]| p[0] == p[1] && p[1] == p[2];
    let opaque = |alpha: u8| alpha == 255;
    let (values, opaque): (Option<Vec<u16>>, bool) = match image.pixels() {
        DynamicImage::ImageLuma8(p) => (Some(p.as_raw().iter().map(|&v| v.into()).collect()), true),
        DynamicImage::ImageLumaA8(p) => {
            (Some(p.pixels().map(|p| p.0[0].into()).collect()), p.pixels().all(|p| opaque(p.0[1])))
        }
        DynamicImage::ImageLuma16(p) => (Some(p.as_raw().clone()), true),
        // Many programs save grey as RGB.
        DynamicImage::ImageRgb8(p) if p.pixels().all(|p| grey(&p.0)) => {
            (Some(p.pixels().map(|p| p.0[0].into()).collect()), true)
        }
        DynamicImage::ImageRgba8(p) if p.pixels().all(|p| grey(&p.0)) => {
            (Some(p.pixels().map(|p| p.0[0].into()).collect()), p.pixels().all(|p| opaque(p.0[3])))
        }
        _ => (None, true),
    };
    let wrong = |problem: &str| InputError::unreadable(path, problem);
    let values =
        values.ok_or_else(|| wrong("is in colour: give a mask in grey, or with a palette of classes"))?;
    if !opaque {
        return Err(wrong("is see-through in places, which means no class: give a mask without alpha"));
    }
    let white = if matches!(image.pixels(), DynamicImage::ImageLuma16(_)) { u16::MAX } else { 255 };
    numbered(path, (width, height), &values, Some(white), is_lossy(path)?)
}

/// The map of one picture of this width and height.
fn numbered(
    path: &Path,
    (width, height): (usize, usize),
    values: &[u16],
    white: Option<u16>,
    lossy: bool,
) -> Result<LabelMap, InputError> {
    if lossy && values.iter().any(|&v| v != 0 && Some(v) != white) {
        let problem = "was stored by a coder that changes values a little: give the mask as PNG, TIFF or BMP";
        return Err(InputError::unreadable(path, problem));
    }
    LabelMap::new(1, height, width, classes_of(path, values, white)?)
}

/// Whether the file's format is lossy.
fn is_lossy(path: &Path) -> Result<bool, InputError> {
    let mut start = Vec::new();
    let failed = |e: std::io::Error| InputError::read(path, &e);
    crate::files::open(path).map_err(failed)?.take(16).read_to_end(&mut start).map_err(failed)?;
    // VP8 is the lossy one of WebP's two codecs, and a VP8X container may hold it.
    let webp = start.starts_with(b"RIFF") && start.get(12..16).is_some_and(|kind| kind != b"VP8L");
    Ok(start.starts_with(&[0xFF, 0xD8]) || webp)
}

/// The numbers stored in a PNG whose decoders return others: palette indices (decoded to colours), and greys below 8
/// bits (scaled up). `None` for any other file.
fn stored_indices(path: &Path) -> Result<Option<LabelMap>, InputError> {
    let file = crate::files::open(path).map_err(|e| InputError::read(path, &e))?;
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let Ok(header) = decoder.read_header_info() else { return Ok(None) };
    let few = header.color_type == png::ColorType::Grayscale && (header.bit_depth as usize) < 8;
    if header.color_type != png::ColorType::Indexed && !few {
        return Ok(None);
    }
    // Refuses invalid sizes and lengths, and damaged files.
    Image::open(path)?;
    let failed = |e: png::DecodingError| InputError::Decode { path: path.into(), reason: e.to_string() };
    let mut reader = decoder.read_info().map_err(failed)?;
    let mut packed = vec![0; reader.output_buffer_size().unwrap_or_default()];
    let frame = reader.next_frame(&mut packed).map_err(failed)?;
    let bits = frame.bit_depth as usize;
    let (width, height) = (frame.width as usize, frame.height as usize);
    let index = |row: &[u8], column: usize| {
        let at = column * bits;
        u16::from((row[at / 8] >> (8 - bits - at % 8)) & (0xFFu16 >> (8 - bits)) as u8)
    };
    let rows = packed.chunks_exact(frame.line_size).take(height);
    let values: Vec<u16> = rows.flat_map(|row| (0..width).map(move |column| index(row, column))).collect();
    // White is the largest grey. A palette index has no brightness, except in a grey palette, where 255 is white.
    let white = if few { (1 << bits) - 1 } else { 255 };
    LabelMap::new(1, height, width, classes_of(path, &values, Some(white))?).map(Some)
}

#[cfg(test)]
#[path = "label_file_tests.rs"]
mod tests;
