//! Frames in the caller's memory.

use std::ffi::c_void;

use super::memory::{self, Versioned, values};
use super::status::{Failure, Status};
use crate::input::{Image, Matrix, PixelFormat, Plane, Range, RawFrame};

/// How pixels lie in memory. 16-bit samples are in the machine's byte order.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum Format {
    /// One byte a pixel.
    Grey8 = 1,
    /// Two bytes a pixel.
    Grey16 = 2,
    /// Red, green, blue, a byte each.
    Rgb8 = 3,
    /// Blue, green, red.
    Bgr8 = 4,
    /// Red, green, blue and a byte that is ignored.
    Rgba8 = 5,
    /// Blue, green, red and a byte that is ignored.
    Bgra8 = 6,
    /// Red, green, blue, two bytes each.
    Rgb16 = 7,
    /// A plane of luma, then one of Cb and Cr in turn at half the width and height.
    Nv12 = 8,
    /// Luma, Cb, luma, Cr of two pixels, a byte each.
    Yuyv = 9,
}

/// The colours that luma and chroma stand for.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum ColourMatrix {
    /// BT.601: cameras and old video.
    Bt601 = 0,
    /// BT.709: HD video.
    Bt709 = 1,
    /// BT.2020.
    Bt2020 = 2,
}

/// The values that luma and chroma take.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum ColourRange {
    /// Luma from 16 to 235, chroma from 16 to 240: video.
    Limited = 0,
    /// All values: JPEG, most webcams.
    Full = 1,
}

/// A frame, which the caller keeps until the call returns: nobody changes the bytes from the first pixel to the last
/// meanwhile. They are copied once.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Frame {
    /// sizeof(mr_frame).
    pub size: usize,
    /// One of mr_format.
    pub format: u32,
    /// In pixels, at least 8; even for NV12 and YUYV.
    pub width: u32,
    /// In pixels, at least 8; even for NV12.
    pub height: u32,
    /// How many bits 16-bit samples use, from the lowest: 9 to 16, or 0 for 16.
    pub bits: u32,
    /// The pixels, or luma.
    pub pixels: *const c_void,
    /// Bytes from one row to the next; 0 if nothing is between them.
    pub stride: usize,
    /// The second plane of NV12, or NULL.
    pub chroma: *const c_void,
    /// Its stride; 0 if nothing is between its rows.
    pub chroma_stride: usize,
    /// One of mr_colour_matrix, for NV12 and YUYV.
    pub matrix: u32,
    /// One of mr_colour_range, for NV12 and YUYV.
    pub range: u32,
}

// SAFETY: integers and pointers; the size is first.
unsafe impl Versioned for Frame {
    const NAME: &str = "mr_frame";
}

/// The plane of `rows` rows of `row` bytes at `at`.
///
/// # Safety
/// `at` is NULL or points to so many rows, which nobody changes for as long as the result is used.
unsafe fn plane<'a>(
    at: *const c_void,
    rows: usize,
    row: usize,
    stride: usize,
    name: &str,
) -> Result<Plane<'a>, Failure> {
    let stride = if stride == 0 { row } else { stride };
    if stride < row {
        let text = format!("{name}: a row has {row} bytes, and the stride is {stride}");
        return Err(Failure::new(Status::Frame, text));
    }
    let count = Plane::bytes(rows, row, stride);
    let count =
        count.ok_or_else(|| Failure::new(Status::Frame, format!("{name} are more than memory holds")))?;
    // SAFETY: as the caller promises.
    Ok(Plane { bytes: unsafe { values(at.cast(), count, name)? }, stride })
}

/// Frames one after the other, as long as the caller's version of the structure is.
pub(super) struct Frames {
    first: *const u8,
    step: usize,
}

impl Frames {
    /// # Safety
    /// `first` is NULL or points to `count` frames that say their size.
    pub(super) unsafe fn of(first: *const Frame, count: usize) -> Result<Frames, Failure> {
        if count == 0 {
            return Ok(Frames { first: first.cast(), step: 0 });
        }
        // SAFETY: as the caller promises.
        let step = unsafe { memory::size(first)? };
        if count > isize::MAX as usize / step {
            return Err(Failure::argument(format!("{count} frames are more than memory holds")));
        }
        Ok(Frames { first: first.cast(), step })
    }

    /// # Safety
    /// As [`Frames::of`], and `number` is below its count.
    pub(super) unsafe fn read(&self, number: usize) -> Result<Frame, Failure> {
        // SAFETY: as the caller promises.
        let at: *const Frame = unsafe { self.first.add(number * self.step) }.cast();
        // SAFETY: as the caller promises.
        if unsafe { memory::size(at)? } != self.step {
            return Err(Failure::argument(format!("frame {number} has another size than frame 0")));
        }
        // SAFETY: as the caller promises.
        unsafe { memory::read(at) }
    }
}

impl Frame {
    /// The picture; it takes the memory of `used` where that fits.
    ///
    /// # Safety
    /// `pixels` and `chroma` are NULL or point to as many rows as the other fields say, which nobody changes during the
    /// call.
    pub(super) unsafe fn image(&self, used: Option<Image>) -> Result<Image, Failure> {
        let refuse = |text: String| Failure::new(Status::Frame, text);
        let known = [
            (Format::Grey8, PixelFormat::Grey8),
            (Format::Grey16, PixelFormat::Grey16),
            (Format::Rgb8, PixelFormat::Rgb8),
            (Format::Bgr8, PixelFormat::Bgr8),
            (Format::Rgba8, PixelFormat::Rgba8),
            (Format::Bgra8, PixelFormat::Bgra8),
            (Format::Rgb16, PixelFormat::Rgb16),
            (Format::Nv12, PixelFormat::Nv12),
            (Format::Yuyv, PixelFormat::Yuyv),
        ];
        let format =
            known.iter().find(|(number, _)| *number as u32 == self.format).map(|(_, format)| *format);
        let format = format
            .ok_or_else(|| refuse(format!("a frame of format {}: give one of mr_format", self.format)))?;
        let matrices = [
            (ColourMatrix::Bt601, Matrix::Bt601),
            (ColourMatrix::Bt709, Matrix::Bt709),
            (ColourMatrix::Bt2020, Matrix::Bt2020),
        ];
        let matrix =
            matrices.iter().find(|(number, _)| *number as u32 == self.matrix).map(|(_, matrix)| *matrix);
        let matrix = matrix.ok_or_else(|| {
            refuse(format!("a frame of matrix {}: give one of mr_colour_matrix", self.matrix))
        })?;
        let ranges = [(ColourRange::Limited, Range::Limited), (ColourRange::Full, Range::Full)];
        let range = ranges.iter().find(|(number, _)| *number as u32 == self.range).map(|(_, range)| *range);
        let range = range
            .ok_or_else(|| refuse(format!("a frame of range {}: give one of mr_colour_range", self.range)))?;
        let (width, height) = (self.width as usize, self.height as usize);
        let row = format.row(width).ok_or_else(|| refuse(format!("a frame of {width} pixels a row")))?;
        // SAFETY: as the caller promises.
        let pixels = unsafe { plane(self.pixels, height, row, self.stride, "the pixels")? };
        let chroma = if format == PixelFormat::Nv12 {
            // SAFETY: as the caller promises.
            Some(unsafe { plane(self.chroma, height / 2, width, self.chroma_stride, "the chroma")? })
        } else if self.chroma.is_null() {
            None
        } else {
            return Err(refuse(format!("a frame of {format:?} has one plane")));
        };
        let bits = if self.bits == 0 { 16 } else { self.bits };
        let frame = RawFrame { format, width, height, pixels, chroma, bits, matrix, range };
        frame.image(used).map_err(|error| refuse(error.to_string()))
    }
}
