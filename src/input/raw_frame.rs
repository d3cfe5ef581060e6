//! Frames in the memory of others, in the layouts that cameras and frame grabbers write.

use image::DynamicImage;

use super::stream_colour::{Colour, Table};
use super::{Image, InputError, Matrix, Range};

/// How a frame's pixels lie in memory. 16-bit samples are in the machine's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    /// One byte a pixel.
    Grey8,
    /// Two bytes a pixel.
    Grey16,
    /// Red, green, blue, a byte each.
    Rgb8,
    /// Blue, green, red.
    Bgr8,
    /// Red, green, blue and a fourth byte, which is ignored.
    Rgba8,
    /// Blue, green, red and a fourth byte, which is ignored.
    Bgra8,
    /// Red, green, blue, two bytes each.
    Rgb16,
    /// A plane of luma, then one of Cb and Cr in turn at half the width and height (V4L2's `NV12`).
    Nv12,
    /// Luma, Cb, luma, Cr of two pixels, a byte each (V4L2's `YUYV`).
    Yuyv,
}

/// Rows of samples.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    /// From the first sample of the first row to the last sample of the last.
    pub bytes: &'a [u8],
    /// Distance between the beginnings of two rows, in bytes.
    pub stride: usize,
}

/// A frame in borrowed memory.
#[derive(Clone, Copy, Debug)]
pub struct RawFrame<'a> {
    /// Layout of the pixels.
    pub format: PixelFormat,
    /// Width in pixels; even for NV12 and YUYV.
    pub width: usize,
    /// Height in pixels; even for NV12.
    pub height: usize,
    /// The pixels, or the plane of luma.
    pub pixels: Plane<'a>,
    /// The plane of chroma of NV12.
    pub chroma: Option<Plane<'a>>,
    /// Number of bits that 16-bit samples use, from the lowest: 9 to 16.
    pub bits: u32,
    /// Which colours luma and chroma stand for.
    pub matrix: Matrix,
    /// Which values luma and chroma take.
    pub range: Range,
}

impl PixelFormat {
    /// Number of bytes in a row of `width` pixels of the first plane.
    pub fn row(self, width: usize) -> Option<usize> {
        let bytes = match self {
            PixelFormat::Grey8 | PixelFormat::Nv12 => 1,
            PixelFormat::Grey16 | PixelFormat::Yuyv => 2,
            PixelFormat::Rgb8 | PixelFormat::Bgr8 => 3,
            PixelFormat::Rgba8 | PixelFormat::Bgra8 => 4,
            PixelFormat::Rgb16 => 6,
        };
        width.checked_mul(bytes)
    }
}

impl Plane<'_> {
    /// Number of bytes that `rows` rows of `row` bytes take; `None` if no address space holds them.
    pub fn bytes(rows: usize, row: usize, stride: usize) -> Option<usize> {
        rows.checked_sub(1).map_or(Some(0), |last| last.checked_mul(stride)?.checked_add(row))
    }

    fn rows(&self, count: usize, row: usize) -> impl Iterator<Item = &[u8]> {
        (0..count).map(move |i| &self.bytes[i * self.stride..][..row])
    }
}

impl RawFrame<'_> {
    /// The picture: grey or RGB, of 8 or 16 bits. What luma and chroma stand for is computed as for a stream of the same
    /// samples. The memory of `used`, an image that is not needed any more, is taken again where it fits.
    ///
    /// # Errors
    /// [`InputError::Frame`] if a plane is too short, its rows overlap, a side is odd where it must not be, or a sample
    /// has more than `bits` bits; [`InputError::TooSmall`].
    pub fn image(&self, used: Option<Image>) -> Result<Image, InputError> {
        Image::check_sides("the frame", self.width, self.height)?;
        self.check()?;
        let (bytes, words) = match used.map(Image::into_pixels) {
            Some(DynamicImage::ImageLuma8(used)) => (used.into_raw(), Vec::new()),
            Some(DynamicImage::ImageRgb8(used)) => (used.into_raw(), Vec::new()),
            Some(DynamicImage::ImageLuma16(used)) => (Vec::new(), used.into_raw()),
            Some(DynamicImage::ImageRgb16(used)) => (Vec::new(), used.into_raw()),
            _ => (Vec::new(), Vec::new()),
        };
        let (width, height) = (self.width, self.height);
        match self.format {
            PixelFormat::Grey8 => Image::from_grey8(width, height, self.bytes(bytes)),
            PixelFormat::Grey16 => Image::from_grey16(width, height, self.words(words)?),
            PixelFormat::Rgb16 => Image::from_rgb16(width, height, self.words(words)?),
            PixelFormat::Nv12 | PixelFormat::Yuyv => Image::from_rgb8(width, height, self.colours(bytes)),
            _ => Image::from_rgb8(width, height, self.bytes(bytes)),
        }
    }

    fn row(&self) -> usize {
        self.format.row(self.width).unwrap_or(usize::MAX)
    }

    fn check(&self) -> Result<(), InputError> {
        let refuse = |problem: String| Err(InputError::Frame { problem });
        let (even_width, even_height) = (self.width.is_multiple_of(2), self.height.is_multiple_of(2));
        match self.format {
            PixelFormat::Nv12 if !even_width || !even_height => {
                return refuse(format!("of NV12 has even sides, not {} x {}", self.width, self.height));
            }
            PixelFormat::Yuyv if !even_width => {
                return refuse(format!("of YUYV has an even width, not {}", self.width));
            }
            PixelFormat::Grey16 | PixelFormat::Rgb16 if !(9..=16).contains(&self.bits) => {
                return refuse(format!("of 16-bit samples has 9 to 16 bits of them, not {}", self.bits));
            }
            _ => {}
        }
        let second = match (self.format, self.chroma) {
            (PixelFormat::Nv12, Some(chroma)) => Some(("chroma", chroma, self.height / 2, self.width)),
            (PixelFormat::Nv12, None) => return refuse("of NV12 has a second plane, of chroma".to_owned()),
            (_, Some(_)) => return refuse(format!("of {:?} has one plane", self.format)),
            (_, None) => None,
        };
        let first = ("pixels", self.pixels, self.height, self.row());
        for (name, Plane { bytes, stride }, rows, row) in [first].into_iter().chain(second) {
            if stride < row {
                return refuse(format!(
                    "whose rows of {name} have {row} bytes cannot have a stride of {stride}"
                ));
            }
            if Plane::bytes(rows, row, stride).is_none_or(|needed| needed > bytes.len()) {
                let given = bytes.len();
                return refuse(format!(
                    "of {rows} rows of {name}, {stride} bytes apart, is longer than the {given} bytes given"
                ));
            }
        }
        Ok(())
    }

    fn bytes(&self, mut out: Vec<u8>) -> Vec<u8> {
        out.clear();
        let rows = self.pixels.rows(self.height, self.row());
        match self.format {
            PixelFormat::Bgr8 => rows.for_each(|row| {
                out.extend(row.as_chunks::<3>().0.iter().flat_map(|&[blue, green, red]| [red, green, blue]));
            }),
            PixelFormat::Rgba8 => rows.for_each(|row| {
                out.extend(
                    row.as_chunks::<4>().0.iter().flat_map(|&[red, green, blue, _]| [red, green, blue]),
                );
            }),
            PixelFormat::Bgra8 => rows.for_each(|row| {
                out.extend(
                    row.as_chunks::<4>().0.iter().flat_map(|&[blue, green, red, _]| [red, green, blue]),
                );
            }),
            _ => rows.for_each(|row| out.extend_from_slice(row)),
        }
        out
    }

    /// 16-bit samples, of which the largest that `bits` allow becomes 65535.
    fn words(&self, mut out: Vec<u16>) -> Result<Vec<u16>, InputError> {
        out.clear();
        let largest = u32::MAX >> (32 - self.bits);
        for row in self.pixels.rows(self.height, self.row()) {
            out.extend(row.as_chunks::<2>().0.iter().map(|&pair| u16::from_ne_bytes(pair)));
        }
        if self.bits < 16 {
            if let Some(sample) = out.iter().find(|&&sample| u32::from(sample) > largest) {
                let problem = format!("holds the sample {sample}, which is beyond {} bits", self.bits);
                return Err(InputError::Frame { problem });
            }
            for sample in &mut out {
                *sample = ((u32::from(*sample) * 65535 + largest / 2) / largest) as u16;
            }
        }
        Ok(out)
    }

    fn colours(&self, mut out: Vec<u8>) -> Vec<u8> {
        out.clear();
        let table = Table::new(Colour { matrix: self.matrix, range: self.range });
        let rows = self.pixels.rows(self.height, self.row());
        match &self.chroma {
            Some(chroma) => {
                // Two rows of luma have one of chroma.
                let chroma = chroma.rows(self.height / 2, self.width).flat_map(|row| [row, row]);
                for (luma, chroma) in rows.zip(chroma) {
                    let pairs = luma.as_chunks::<2>().0.iter().zip(chroma.as_chunks::<2>().0);
                    for (&[first, second], &[cb, cr]) in pairs {
                        let chroma = table.chroma(cb, cr);
                        out.extend(table.rgb(first, chroma));
                        out.extend(table.rgb(second, chroma));
                    }
                }
            }
            None => {
                for row in rows {
                    for &[first, cb, second, cr] in row.as_chunks::<4>().0 {
                        let chroma = table.chroma(cb, cr);
                        out.extend(table.rgb(first, chroma));
                        out.extend(table.rgb(second, chroma));
                    }
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream_colour::Planes;
    use super::*;

    fn noise(count: usize, seed: usize) -> Vec<u8> {
        (0..count).map(|i| (((i + seed) * 2654435761 % 4294967296) >> 13) as u8).collect()
    }

    fn frame(format: PixelFormat, bytes: &[u8], stride: usize) -> RawFrame<'_> {
        let pixels = Plane { bytes, stride };
        let (width, height, chroma, bits) = (12, 10, None, 16);
        RawFrame { format, width, height, pixels, chroma, bits, matrix: Matrix::Bt601, range: Range::Limited }
    }

    #[test]
    fn layouts_of_one_picture_give_one_picture() {
        let rgb = noise(12 * 10 * 3, 1);
        let expected = Image::from_rgb8(12, 10, rgb.clone()).unwrap();
        for (format, order) in [
            (PixelFormat::Rgb8, &[0, 1, 2][..]),
            (PixelFormat::Bgr8, &[2, 1, 0]),
            (PixelFormat::Rgba8, &[0, 1, 2, 0]),
            (PixelFormat::Bgra8, &[2, 1, 0, 0]),
        ] {
            // Rows are followed by bytes that are not pixels, but for the last.
            let (row, stride) = (12 * order.len(), 12 * order.len() + 5);
            let mut bytes = vec![77; stride * 9 + row];
            for (i, pixel) in rgb.chunks(3).enumerate() {
                let at = i / 12 * stride + i % 12 * order.len();
                order.iter().enumerate().for_each(|(k, &c)| bytes[at + k] = pixel[c]);
            }
            assert!(frame(format, &bytes, stride).image(None).unwrap() == expected, "{format:?}");
            assert!(frame(format, &bytes[1..], stride).image(None).is_err());
            assert!(frame(format, &bytes, row - 1).image(None).is_err());
        }
        let grey = noise(12 * 10, 2);
        assert!(
            frame(PixelFormat::Grey8, &grey, 12).image(None).unwrap()
                == Image::from_grey8(12, 10, grey.clone()).unwrap()
        );
    }

    #[test]
    fn luma_and_chroma_are_those_of_a_stream() {
        for (matrix, range) in
            [(Matrix::Bt601, Range::Limited), (Matrix::Bt709, Range::Full), (Matrix::Bt2020, Range::Limited)]
        {
            let colour = Colour { matrix, range };
            let (luma, cb, cr) = (noise(120, 3), noise(30, 4), noise(30, 5));
            let planes = Planes { width: 12, height: 10, bits: 8, chroma: Some([2, 2]), interlaced: false };
            let expected = planes.image(&[&luma[..], &cb, &cr].concat(), colour).unwrap();
            let both: Vec<u8> = cb.iter().zip(&cr).flat_map(|(&cb, &cr)| [cb, cr]).collect();
            let chroma = Some(Plane { bytes: &both, stride: 12 });
            let nv12 = RawFrame { chroma, matrix, range, ..frame(PixelFormat::Nv12, &luma, 12) };
            assert!(nv12.image(None).unwrap() == expected);

            let (cb, cr) = (noise(60, 6), noise(60, 7));
            let planes = Planes { chroma: Some([2, 1]), ..planes };
            let expected = planes.image(&[&luma[..], &cb, &cr].concat(), colour).unwrap();
            let yuyv: Vec<u8> = (0..60).flat_map(|i| [luma[2 * i], cb[i], luma[2 * i + 1], cr[i]]).collect();
            let yuyv = RawFrame { matrix, range, ..frame(PixelFormat::Yuyv, &yuyv, 24) };
            assert!(yuyv.image(None).unwrap() == expected);
        }
    }

    #[test]
    fn bits_are_stretched_and_samples_beyond_refused() {
        let words: Vec<u16> = (0..120).map(|i| i * 34).collect();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let of = |bits| RawFrame { bits, ..frame(PixelFormat::Grey16, &bytes, 24) }.image(None);
        let DynamicImage::ImageLuma16(found) = of(12).unwrap().into_pixels() else { panic!("not 16 bits") };
        for (&word, &found) in words.iter().zip(found.as_raw()) {
            assert_eq!(found, (f64::from(word) * 65535.0 / 4095.0).round() as u16);
        }
        assert!(of(16).is_ok() && of(11).is_err() && of(8).is_err());
    }

    #[test]
    fn an_images_memory_is_used_again() {
        let (first, second) = (noise(360, 1), noise(360, 2));
        let image = frame(PixelFormat::Rgb8, &first, 36).image(None).unwrap();
        let before = image.pixels().as_bytes().as_ptr();
        let image = frame(PixelFormat::Bgr8, &second, 36).image(Some(image)).unwrap();
        assert_eq!(image.pixels().as_bytes().as_ptr(), before);
    }
}
