//! Decoded pixels.

use std::fmt;

use image::{DynamicImage, ImageBuffer, Luma, Pixel, Rgb};

use super::limits::MIN_SIDE;
use super::{InputError, Region};

/// A decoded picture: grey or RGB, with values of 8 bits, 16 bits or f32; at least 8 px per side. It may
/// have an alpha channel, which is ignored.
#[derive(Clone, PartialEq)]
pub struct Image {
    pixels: DynamicImage,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({}x{} {:?})", self.width(), self.height(), self.pixels.color())
    }
}

impl Image {
    /// The image of decoded pixels.
    pub(super) fn decoded(pixels: DynamicImage) -> Image {
        Image { pixels }
    }

    /// An 8-bit grey image: `pixels` is `[height, width]`.
    ///
    /// # Errors
    /// [`InputError::Buffer`] if the length of `pixels` does not match, [`InputError::TooSmall`] if a side is below
    /// `MIN_SIDE` (8 px).
    pub fn from_grey8(width: usize, height: usize, pixels: Vec<u8>) -> Result<Image, InputError> {
        buffer::<Luma<u8>>(width, height, pixels).map(|pixels| Image { pixels: pixels.into() })
    }

    /// A 16-bit grey image: `pixels` is `[height, width]`.
    ///
    /// # Errors
    /// Those of [`Image::from_grey8`].
    pub fn from_grey16(width: usize, height: usize, pixels: Vec<u16>) -> Result<Image, InputError> {
        buffer::<Luma<u16>>(width, height, pixels).map(|pixels| Image { pixels: pixels.into() })
    }

    /// An 8-bit colour image: `pixels` is `[height, width, 3]`.
    ///
    /// # Errors
    /// Those of [`Image::from_grey8`].
    pub fn from_rgb8(width: usize, height: usize, pixels: Vec<u8>) -> Result<Image, InputError> {
        buffer::<Rgb<u8>>(width, height, pixels).map(|pixels| Image { pixels: pixels.into() })
    }

    /// A 16-bit colour image: `pixels` is `[height, width, 3]`.
    ///
    /// # Errors
    /// Those of [`Image::from_grey8`].
    pub fn from_rgb16(width: usize, height: usize, pixels: Vec<u16>) -> Result<Image, InputError> {
        buffer::<Rgb<u16>>(width, height, pixels).map(|pixels| Image { pixels: pixels.into() })
    }

    /// Refuses sides below `MIN_SIDE` (8 px); `name` is the image's name in the error message.
    pub(crate) fn check_sides(name: &str, width: usize, height: usize) -> Result<(), InputError> {
        if width < MIN_SIDE || height < MIN_SIDE {
            return Err(InputError::TooSmall { name: name.into(), width, height });
        }
        Ok(())
    }

    /// The part within `region`, which must lie inside the image.
    pub(crate) fn crop(&self, region: Region) -> Image {
        let [left, top, width, height] =
            [region.left, region.top, region.width, region.height].map(|v| v as u32);
        Image { pixels: self.pixels.crop_imm(left, top, width, height) }
    }

    /// The image, turned clockwise by so many quarters.
    pub(crate) fn turned(self, quarters: u8) -> Image {
        let pixels = match quarters % 4 {
            0 => self.pixels,
            1 => self.pixels.rotate90(),
            2 => self.pixels.rotate180(),
            _ => self.pixels.rotate270(),
        };
        Image { pixels }
    }

    /// The same image, black outside `region`.
    pub fn only(&self, region: Region) -> Image {
        let mut pixels = DynamicImage::new(self.pixels.width(), self.pixels.height(), self.pixels.color());
        let [left, top, width, height] = [region.left, region.top, region.width, region.height]
            .map(|v| u32::try_from(v).unwrap_or(u32::MAX));
        let part = self.pixels.crop_imm(left, top, width, height);
        image::imageops::replace(&mut pixels, &part, left.into(), top.into());
        Image { pixels }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.pixels.width() as usize
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.pixels.height() as usize
    }

    /// The decoded pixels.
    pub fn pixels(&self) -> &DynamicImage {
        &self.pixels
    }

    /// The decoded pixels, for their memory.
    pub(super) fn into_pixels(self) -> DynamicImage {
        self.pixels
    }

    /// Number of colour channels, without alpha: 1 or 3.
    pub(crate) fn channels(&self) -> usize {
        if self.pixels.color().has_color() { 3 } else { 1 }
    }

    /// One row of pixels as values in 0..1: `out` is `[width, channels]`, without alpha.
    pub(crate) fn read_row(&self, row: usize, out: &mut [f32]) {
        let stride = usize::from(self.pixels.color().channel_count());
        let span = row * self.width() * stride..(row + 1) * self.width() * stride;
        match &self.pixels {
            DynamicImage::ImageLuma8(p) => scale(&p.as_raw()[span], stride, 255.0, out),
            DynamicImage::ImageLumaA8(p) => scale(&p.as_raw()[span], stride, 255.0, out),
            DynamicImage::ImageRgb8(p) => scale(&p.as_raw()[span], stride, 255.0, out),
            DynamicImage::ImageRgba8(p) => scale(&p.as_raw()[span], stride, 255.0, out),
            DynamicImage::ImageLuma16(p) => scale(&p.as_raw()[span], stride, 65535.0, out),
            DynamicImage::ImageLumaA16(p) => scale(&p.as_raw()[span], stride, 65535.0, out),
            DynamicImage::ImageRgb16(p) => scale(&p.as_raw()[span], stride, 65535.0, out),
            DynamicImage::ImageRgba16(p) => scale(&p.as_raw()[span], stride, 65535.0, out),
            DynamicImage::ImageRgb32F(p) => scale(&p.as_raw()[span], stride, 1.0, out),
            DynamicImage::ImageRgba32F(p) => scale(&p.as_raw()[span], stride, 1.0, out),
            _ => unreachable!("`decode` and the constructors make no other kind"),
        }
    }
}

/// An `image` buffer of `values`, `[height, width, channels]`.
fn buffer<P: Pixel>(
    width: usize,
    height: usize,
    values: Vec<P::Subpixel>,
) -> Result<ImageBuffer<P, Vec<P::Subpixel>>, InputError> {
    let found = values.len();
    let wrong = InputError::Buffer { width, height, found };
    let channels = usize::from(P::CHANNEL_COUNT);
    if width.checked_mul(height).and_then(|n| n.checked_mul(channels)) != Some(found) {
        return Err(wrong);
    }
    Image::check_sides("the pixel buffer", width, height)?;
    let (Ok(columns), Ok(rows)) = (width.try_into(), height.try_into()) else { return Err(wrong) };
    ImageBuffer::from_raw(columns, rows, values).ok_or(wrong)
}

/// Divides by `max`: `pixels` is `[width, stride]`, `out` is `[width, channels]` with at most `stride` channels.
fn scale<T: Copy + Into<f32>>(pixels: &[T], stride: usize, max: f32, out: &mut [f32]) {
    let channels = out.len() * stride / pixels.len();
    for (pixel, out) in pixels.chunks_exact(stride).zip(out.chunks_exact_mut(channels)) {
        for (value, out) in pixel.iter().zip(out) {
            *out = (*value).into() / max;
        }
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
