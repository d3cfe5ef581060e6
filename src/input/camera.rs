//! Frames as a camera's driver gives them.

use std::io::Cursor;

use super::raw_frame::{PixelFormat, Plane, RawFrame};
use super::stream::{check_size, say_matrix};
use super::stream_pictures::{Lost, Splitter};
use super::{Image, InputError, Matrix, Range, ReadOptions, say};

/// How a camera stores a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraPixel {
    /// Pixels, as they are.
    Raw(PixelFormat),
    /// A JPEG picture, perhaps without Huffman tables (Motion JPEG).
    Jpeg,
}

/// Those that are read, by V4L2's codes (`Documentation/userspace-api/media/v4l/pixfmt.rst` of Linux), the best first:
/// exact before compressed.
const CODES: [([u8; 4], CameraPixel); 7] = [
    (*b"GREY", CameraPixel::Raw(PixelFormat::Grey8)),
    (*b"YUYV", CameraPixel::Raw(PixelFormat::Yuyv)),
    (*b"NV12", CameraPixel::Raw(PixelFormat::Nv12)),
    (*b"RGB3", CameraPixel::Raw(PixelFormat::Rgb8)),
    (*b"BGR3", CameraPixel::Raw(PixelFormat::Bgr8)),
    (*b"MJPG", CameraPixel::Jpeg),
    (*b"JPEG", CameraPixel::Jpeg),
];

impl CameraPixel {
    /// The codes of V4L2 that are read, the best first.
    pub fn codes() -> impl Iterator<Item = [u8; 4]> {
        CODES.into_iter().map(|(code, _)| code)
    }

    /// What V4L2's code stands for; `None` if it is not read.
    pub fn of_code(code: [u8; 4]) -> Option<CameraPixel> {
        CODES.into_iter().find(|(known, _)| *known == code).map(|(_, pixel)| pixel)
    }
}

/// What a driver says of the frames that it gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CameraFormat {
    /// How they are stored.
    pub pixel: CameraPixel,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from a row to the next; 0 if there is nothing between them. Not used for JPEG.
    pub stride: usize,
    /// Whether odd and even rows show two instants.
    pub interlaced: bool,
    /// The matrix of its colours, if it says so.
    pub matrix: Option<Matrix>,
    /// The codes of black and white, if it says so.
    pub range: Option<Range>,
}

impl CameraFormat {
    /// Refuses what cannot be honoured, and reports on standard error what is left open and changes the pixels. `name` is
    /// the device.
    ///
    /// # Errors
    /// [`InputError::Stream`]: a frame below 8 px a side or too large, interlaced rows that share their chroma, greys of
    /// limited range.
    pub fn check(&self, name: &str, options: &ReadOptions) -> Result<(), InputError> {
        check_size(name, self.width, self.height)?;
        let refuse = |problem: &str| Err(InputError::Stream { name: name.into(), problem: problem.into() });
        let CameraPixel::Raw(format) = self.pixel else { return Ok(()) };
        let subsampled = matches!(format, PixelFormat::Nv12 | PixelFormat::Yuyv);
        if format == PixelFormat::Nv12 && self.interlaced {
            return refuse("gives interlaced NV12, whose rows share chroma: set it to progressive or YUYV");
        }
        if format == PixelFormat::Grey8 && self.range.or(options.range) == Some(Range::Limited) {
            return refuse("gives greys of limited range, which are not read: set it to full range or YUYV");
        }
        if subsampled && self.matrix.or(options.matrix).is_none() {
            say_matrix(name, "the driver", self.width, self.height);
        }
        if self.interlaced {
            say::once(format!("{name}: is interlaced: a frame's odd and even rows show two instants"));
        }
        Ok(())
    }

    /// The picture of a frame. As for streams, chroma is not interpolated. What the driver says goes before `options`.
    ///
    /// # Errors
    /// [`InputError`] names the device: a frame that is cut short, a picture that cannot be decoded, or one of another
    /// size than the driver said.
    pub fn image(&self, name: &str, bytes: &[u8], options: &ReadOptions) -> Result<Image, InputError> {
        match self.pixel {
            CameraPixel::Raw(format) => self.raw(format, bytes, options).map_err(|error| match error {
                InputError::Frame { problem } => failed(name, format!("gave a frame {problem}")),
                error => error,
            }),
            CameraPixel::Jpeg => {
                let image = jpeg(name, bytes)?;
                let (width, height) = (image.width(), image.height());
                if (width, height) != (self.width, self.height) {
                    let said = format!("{}x{} px", self.width, self.height);
                    return Err(failed(
                        name,
                        format!("gave {width}x{height} px, and not the {said} it said"),
                    ));
                }
                Ok(image)
            }
        }
    }

    fn raw(&self, format: PixelFormat, bytes: &[u8], options: &ReadOptions) -> Result<Image, InputError> {
        let stride = if self.stride == 0 { format.row(self.width).unwrap_or(0) } else { self.stride };
        // V4L2 puts the second plane behind whole rows of the first.
        let luma = stride.saturating_mul(self.height).min(bytes.len());
        let (pixels, chroma) = match format {
            PixelFormat::Nv12 => (&bytes[..luma], Some(&bytes[luma..])),
            _ => (bytes, None),
        };
        let frame = RawFrame {
            format,
            width: self.width,
            height: self.height,
            pixels: Plane { bytes: pixels, stride },
            chroma: chroma.map(|bytes| Plane { bytes, stride }),
            bits: 8,
            matrix: self.matrix.or(options.matrix).unwrap_or_default(),
            range: self.range.or(options.range).unwrap_or(Range::Limited),
        };
        frame.image(None)
    }
}

fn failed(name: &str, problem: String) -> InputError {
    InputError::Stream { name: name.into(), problem }
}

/// The picture in a buffer, with anything after it.
fn jpeg(name: &str, bytes: &[u8]) -> Result<Image, InputError> {
    match Splitter::default().next(&mut Cursor::new(bytes)) {
        Ok(Some(picture)) => Image::decode(name, &picture),
        Ok(None) | Err(Lost::Cut | Lost::Read(_)) => {
            Err(failed(name, "gave a picture that is cut short".into()))
        }
        Err(Lost::Damaged(why)) => Err(failed(name, format!("gave a picture that {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use image::ImageFormat;

    use super::*;

    const SIZE: (usize, usize) = (16, 8);

    fn format(code: &[u8; 4], stride: usize) -> CameraFormat {
        let pixel = CameraPixel::of_code(*code).unwrap();
        let (width, height) = SIZE;
        CameraFormat { pixel, width, height, stride, interlaced: false, matrix: None, range: None }
    }

    fn read(format: CameraFormat, bytes: &[u8]) -> Result<Image, InputError> {
        format.check("/dev/video0", &ReadOptions::default())?;
        format.image("/dev/video0", bytes, &ReadOptions::default())
    }

    /// Rows may be longer than their pixels, and the chroma of NV12 begins behind whole rows.
    #[test]
    fn every_layout_gives_its_pixels() {
        let (width, height) = SIZE;
        let (stride, grey) = (20, vec![128; 3 * width * height]);
        for (code, bytes) in [
            (b"YUYV", [[126, 128]; 200].concat()),
            (b"NV12", [vec![126; stride * height], vec![128; stride * height / 2]].concat()),
        ] {
            let stride = if code == b"YUYV" { 2 * stride } else { stride };
            let image = read(format(code, stride), &bytes).unwrap();
            // (126 - 16) * 255 / 219 = 128.08
            assert_eq!(image.pixels().as_bytes(), grey, "{code:?}");
        }
        let rows: Vec<u8> =
            (0..height).flat_map(|row| [vec![row as u8; width], vec![99; 4]].concat()).collect();
        let image = read(format(b"GREY", stride), &rows).unwrap();
        assert_eq!(image.pixels().as_bytes()[width * (height - 1)..], [7; 16]);
        let image = read(format(b"BGR3", 0), &[1, 2, 3].repeat(width * height)).unwrap();
        assert_eq!(image.pixels().as_bytes()[..3], [3, 2, 1]);
    }

    #[test]
    fn what_the_driver_says_goes_before_the_options() {
        let bytes = [[200, 90, 200, 160]; 64].concat();
        let plain = format(b"YUYV", 32);
        let told = CameraFormat { matrix: Some(Matrix::Bt709), range: Some(Range::Full), ..plain };
        let options =
            ReadOptions { matrix: Some(Matrix::Bt709), range: Some(Range::Full), ..Default::default() };
        let other =
            ReadOptions { matrix: Some(Matrix::Bt2020), range: Some(Range::Limited), ..options.clone() };
        let by_options = plain.image("camera", &bytes, &options).unwrap();
        let by_driver = told.image("camera", &bytes, &other).unwrap();
        assert_eq!(by_driver.pixels(), by_options.pixels());
        assert_ne!(by_driver.pixels(), plain.image("camera", &bytes, &other).unwrap().pixels());
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let cut = |code, stride, bytes: &[u8]| read(format(code, stride), bytes).unwrap_err().to_string();
        for message in [
            cut(b"YUYV", 32, &[0; 255]),
            cut(b"YUYV", 31, &[0; 999]),
            cut(b"NV12", 16, &[0; 191]),
            cut(b"NV12", usize::MAX, &[0; 999]),
            cut(b"MJPG", 0, b""),
            cut(b"MJPG", 0, b"\xff\xd8\xff\xe0"),
        ] {
            assert!(message.starts_with("/dev/video0: gave a"), "{message}");
        }
        let mut file = Cursor::new(Vec::new());
        image::GrayImage::new(16, 16).write_to(&mut file, ImageFormat::Jpeg).unwrap();
        let message = cut(b"MJPG", 0, &file.into_inner());
        assert!(message.contains("gave 16x16 px, and not the 16x8 px"), "{message}");
        let fields = CameraFormat { interlaced: true, ..format(b"NV12", 16) };
        assert!(read(fields, &[0; 192]).unwrap_err().to_string().contains("progressive"));
        let limited = CameraFormat { range: Some(Range::Limited), ..format(b"GREY", 16) };
        assert!(read(limited, &[0; 128]).unwrap_err().to_string().contains("full range"));
        assert_eq!(CameraPixel::of_code(*b"H264"), None);
    }
}
