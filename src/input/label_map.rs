//! Which class each pixel or voxel belongs to.

use std::io::BufReader;
use std::path::Path;

use image::DynamicImage;
use serde::{Deserialize, Serialize};

use super::{Axis, Image, InputError, Region, nifti, scan};

/// Distance between neighbouring samples in millimetres, where the source tells it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spacing {
    /// Between the centres of neighbouring slices; none for a single image or where it is not known.
    pub slices: Option<f64>,
    /// Between the centres of neighbouring rows.
    pub rows: f64,
    /// Between the centres of neighbouring columns.
    pub columns: f64,
}

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
    /// palette picture. A picture of 0 and 255 alone is background and one class; otherwise its values are the classes.
    ///
    /// # Errors
    /// [`InputError`] names the file: unreadable, in colour, or values that are no whole numbers from 0 to 255.
    pub fn open(path: impl AsRef<Path>, axis: Option<Axis>) -> Result<LabelMap, InputError> {
        let path = path.as_ref();
        if scan::is_nifti(path)? { nifti::open_labels(path, axis) } else { picture(path) }
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

/// Class numbers from a picture, `depth` 1.
fn picture(path: &Path) -> Result<LabelMap, InputError> {
    if let Some(map) = palette_indices(path)? {
        return Ok(map);
    }
    let image = Image::open(path)?;
    let (width, height) = (image.width(), image.height());
    let colours =
        || InputError::unreadable(path, "is in colour: give a mask in grey, or with a palette of classes");
    let values: Vec<u16> = match image.pixels() {
        DynamicImage::ImageLuma8(p) => p.as_raw().iter().map(|&v| v.into()).collect(),
        DynamicImage::ImageLumaA8(p) => p.pixels().map(|p| p.0[0].into()).collect(),
        DynamicImage::ImageLuma16(p) => p.as_raw().clone(),
        // Many programs save grey as RGB.
        DynamicImage::ImageRgb8(p) if p.pixels().all(|p| p.0[0] == p.0[1] && p.0[1] == p.0[2]) => {
            p.pixels().map(|p| p.0[0].into()).collect()
        }
        DynamicImage::ImageRgba8(p) if p.pixels().all(|p| p.0[0] == p.0[1] && p.0[1] == p.0[2]) => {
            p.pixels().map(|p| p.0[0].into()).collect()
        }
        _ => return Err(colours()),
    };
    let two = values.iter().all(|&v| v == 0 || v == 255);
    let class = |v: u16| if two { Some(u8::from(v > 0)) } else { u8::try_from(v).ok() };
    let labels = values.iter().map(|&v| class(v)).collect::<Option<Vec<u8>>>();
    let labels =
        labels.ok_or_else(|| InputError::unreadable(path, "has classes above 255: number them from 0 on"))?;
    LabelMap::new(1, height, width, labels)
}

/// The indices of a PNG with a palette, which decoders of pictures replace by colours; none of anything else.
fn palette_indices(path: &Path) -> Result<Option<LabelMap>, InputError> {
    let file = crate::files::open(path).map_err(|e| InputError::read(path, &e))?;
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let Ok(header) = decoder.read_header_info() else { return Ok(None) };
    // Grey of less than 8 bits too: decoders of pictures scale it, which would change the classes.
    let is_scaled = header.color_type == png::ColorType::Grayscale && (header.bit_depth as usize) < 8;
    if header.color_type != png::ColorType::Indexed && !is_scaled {
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
        (row[at / 8] >> (8 - bits - at % 8)) & (0xFFu16 >> (8 - bits)) as u8
    };
    let rows = packed.chunks_exact(frame.line_size).take(height);
    let mut labels: Vec<u8> = rows.flat_map(|row| (0..width).map(move |column| index(row, column))).collect();
    let white = (0xFFu16 >> (8 - bits)) as u8;
    if is_scaled && labels.iter().all(|&label| label == 0 || label == white) {
        labels.iter_mut().for_each(|label| *label = u8::from(*label > 0));
    }
    LabelMap::new(1, height, width, labels).map(Some)
}

#[cfg(test)]
#[path = "label_map_tests.rs"]
mod tests;
