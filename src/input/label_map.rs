//! Which class each pixel or voxel belongs to.

use std::io::{BufReader, Read};
use std::path::Path;

use image::DynamicImage;

use super::{Axis, Image, InputError, MAX_FRAMES, ReadOptions, Region, nifti, picture, scan};
use crate::guarded::guarded;

/// A class number for each pixel of an image (`depth` 1) or voxel of a volume; 0 is the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMap {
    /// Slices or frames.
    pub depth: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[depth, height, width]`
    pub labels: Vec<u8>,
}

impl LabelMap {
    /// A map from its labels, `[depth, height, width]`.
    ///
    /// # Errors
    /// [`InputError::Buffer`] when there are more or fewer labels than that.
    pub fn new(depth: usize, height: usize, width: usize, labels: Vec<u8>) -> Result<LabelMap, InputError> {
        let expected = depth.checked_mul(height).and_then(|n| n.checked_mul(width));
        if expected != Some(labels.len()) {
            return Err(InputError::Buffer {
                width,
                height: depth.saturating_mul(height),
                found: labels.len(),
            });
        }
        Ok(LabelMap { depth, height, width, labels })
    }

    /// Reads class numbers: a NIfTI volume, sliced along `axis` as [`Scan::open`](super::Scan::open) slices, or a grey or
    /// palette picture, whose numbers are taken as they are stored. A mask of 0 and its white alone is background and one
    /// class; otherwise its values are the classes.
    ///
    /// # Errors
    /// [`InputError`] names the file: unreadable, in colour, see-through, from a coder that changes values, values that are
    /// no whole numbers from 0 to 254, or 255 among others.
    pub fn open(path: impl AsRef<Path>, axis: Option<Axis>) -> Result<LabelMap, InputError> {
        let path = path.as_ref();
        let volume = || nifti::open_labels(path, axis, MAX_FRAMES);
        let read = || if scan::is_nifti(path)? { volume() } else { of_picture(path) };
        guarded(read, |reason| InputError::unreadable(path, reason))
    }

    /// [`LabelMap::open`] of the mask of `image`. Where both say where in the patient they lie, they must lie in one place: of
    /// two volumes of one size the patient's left may be on different sides. A volume is sliced as a DICOM image is.
    ///
    /// # Errors
    /// Those of [`LabelMap::open`], and [`InputError::Unreadable`] where the mask lies elsewhere than the image.
    pub fn open_for(
        path: impl AsRef<Path>,
        image: &Path,
        options: &ReadOptions,
    ) -> Result<LabelMap, InputError> {
        let path = path.as_ref();
        if !scan::is_nifti(path)? {
            return LabelMap::open(path, options.axis);
        }
        let read = || nifti::open_labels_for(path, image, options);
        guarded(read, |reason| InputError::unreadable(path, reason))
    }

    /// Whether it has one label for each pixel or voxel of `image`.
    ///
    /// # Errors
    /// [`InputError::MapSize`] names both sizes when it has not.
    pub fn check_size(
        &self,
        image: &str,
        depth: usize,
        height: usize,
        width: usize,
    ) -> Result<(), InputError> {
        let (expected, found) = ([depth, height, width], [self.depth, self.height, self.width]);
        if expected == found {
            return Ok(());
        }
        Err(InputError::MapSize { image: image.into(), expected, found })
    }

    /// The labels of slice `z`, `[height, width]`.
    ///
    /// # Panics
    /// When `z` is not below `depth`.
    pub fn slice(&self, z: usize) -> &[u8] {
        let area = self.height * self.width;
        &self.labels[z * area..(z + 1) * area]
    }

    /// The part of each slice that `region` covers; what of it lies outside is left out.
    pub fn cropped(&self, region: Region) -> LabelMap {
        let rows = region.top.min(self.height)..(region.top + region.height).min(self.height);
        let columns = region.left.min(self.width)..(region.left + region.width).min(self.width);
        let row = |z: usize, y: usize| &self.slice(z)[y * self.width..][columns.clone()];
        let labels =
            (0..self.depth).flat_map(|z| rows.clone().flat_map(move |y| row(z, y))).copied().collect();
        LabelMap { depth: self.depth, height: rows.len(), width: columns.len(), labels }
    }

    /// The same map as a part of larger slices of `(height, width)`, from `(top, left)` on; the rest is background, and what
    /// does not fit is cut off.
    pub fn placed(&self, (top, left): (usize, usize), (height, width): (usize, usize)) -> LabelMap {
        let mut labels = vec![0; self.depth * height * width];
        let columns = self.width.min(width.saturating_sub(left));
        for z in 0..self.depth {
            for row in 0..self.height.min(height.saturating_sub(top)) {
                let to = (z * height + top + row) * width + left;
                labels[to..to + columns].copy_from_slice(&self.slice(z)[row * self.width..][..columns]);
            }
        }
        LabelMap { depth: self.depth, height, width, labels }
    }
}

/// Class numbers from values, of which `white` beside 0 alone is a class's.
pub(super) fn classes_of(path: &Path, values: &[u16], white: Option<u16>) -> Result<Vec<u8>, InputError> {
    if values.iter().all(|&v| v == 0 || Some(v) == white) {
        return Ok(values.iter().map(|&v| u8::from(v > 0)).collect());
    }
    // The edges of a mask that was drawn or scaled smoothly, and the mark of some data sets for what has no class.
    if values.contains(&u16::from(u8::MAX)) {
        let problem = "holds 255 among other values, as smoothed edges or a mark for 'ignore' do: number the classes \
                       from 0 on, or use 0 and 255 alone";
        return Err(InputError::unreadable(path, problem));
    }
    let labels = values.iter().map(|&v| u8::try_from(v).ok()).collect::<Option<Vec<u8>>>();
    labels.ok_or_else(|| InputError::unreadable(path, "has classes above 255: number them from 0 on"))
}

/// Class numbers from a picture, `depth` 1.
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

/// The map of one picture of `width` and `height`.
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

/// Whether the file is of a format that does not keep values as they were.
fn is_lossy(path: &Path) -> Result<bool, InputError> {
    let mut start = Vec::new();
    let failed = |e: std::io::Error| InputError::read(path, &e);
    crate::files::open(path).map_err(failed)?.take(16).read_to_end(&mut start).map_err(failed)?;
    // VP8 is the lossy one of WebP's two coders, and VP8X may hold it.
    let webp = start.starts_with(b"RIFF") && start.get(12..16).is_some_and(|kind| kind != b"VP8L");
    Ok(start.starts_with(&[0xFF, 0xD8]) || webp)
}

/// The numbers that a PNG stores where decoders give others: indices of a palette, which become colours, and greys below 8
/// bits, which become brighter ones. None of anything else.
fn stored_indices(path: &Path) -> Result<Option<LabelMap>, InputError> {
    let file = crate::files::open(path).map_err(|e| InputError::read(path, &e))?;
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let Ok(header) = decoder.read_header_info() else { return Ok(None) };
    let few = header.color_type == png::ColorType::Grayscale && (header.bit_depth as usize) < 8;
    if header.color_type != png::ColorType::Indexed && !few {
        return Ok(None);
    }
    // Refuses what cannot be: sizes, length, damage.
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
    // An index is white in no palette but of greys, of which 255 is.
    let white = if few { (1 << bits) - 1 } else { 255 };
    LabelMap::new(1, height, width, classes_of(path, &values, Some(white))?).map(Some)
}

#[cfg(test)]
#[path = "label_map_tests.rs"]
mod tests;
