//! Reads an image from a picture file.

use std::path::Path;

use image::DynamicImage;

use super::{Image, InputError, picture};
use crate::guarded::guarded;

impl Image {
    /// Reads a PNG, JPEG, TIFF, BMP, GIF, WebP or PNM file. The content decides the format, not the extension. The EXIF
    /// orientation is applied, as in transformers' `load_image`. docs/formats.md lists the variants that are read, and
    /// which damage can be detected in each format.
    ///
    /// # Errors
    /// [`InputError`] names the file: unreadable, of unknown format, damaged or cut short, several pictures in one file
    /// ([`Image::open_page`] reads one of them), a side below 8 px, more than `MAX_PIXELS`, or floating-point values
    /// outside 0..1. The pixels are allocated only after the header has been checked against these limits and the file's
    /// length.
    pub fn open(path: impl AsRef<Path>) -> Result<Image, InputError> {
        Image::open_page(path, None)
    }

    /// Reads picture `page`, from 1, of a file that holds several: pages of a TIFF file, frames of an animated PNG,
    /// WebP or GIF file, or consecutive pictures in a JPEG or PNM file. If no page is given, the file must hold one
    /// picture.
    ///
    /// # Errors
    /// Those of [`Image::open`]; [`InputError::Unreadable`] if the file has no such page, or has several and none is
    /// given.
    pub fn open_page(path: impl AsRef<Path>, page: Option<usize>) -> Result<Image, InputError> {
        let path = path.as_ref();
        let pixels = guarded(
            || picture::open(path, page),
            |reason| InputError::Decode { path: path.into(), reason: reason.into() },
        )?;
        let image = Image::decoded(pixels);
        check_values(&image, path)?;
        Ok(image)
    }
}

impl Image {
    /// Reads a JPEG or PNG file that is in memory; `name` is what errors call it.
    ///
    /// # Errors
    /// Those of [`Image::open`].
    pub(super) fn decode(name: impl AsRef<Path>, bytes: &[u8]) -> Result<Image, InputError> {
        let path = name.as_ref();
        let pixels = guarded(
            || picture::decode(path, bytes),
            |reason| InputError::Decode { path: path.into(), reason: reason.into() },
        )?;
        Ok(Image::decoded(pixels))
    }
}

/// Refuses a floating-point picture with values outside 0..1: their meaning is unknown.
fn check_values(image: &Image, path: &Path) -> Result<(), InputError> {
    let (DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_)) = image.pixels() else {
        return Ok(());
    };
    let mut row_values = vec![0.0; image.width() * 3];
    for row in 0..image.height() {
        image.read_row(row, &mut row_values);
        if let Some(value) = row_values.iter().find(|v| !(0.0..=1.0).contains(*v)) {
            return Err(InputError::Value { path: path.into(), value: value.to_string() });
        }
    }
    Ok(())
}
