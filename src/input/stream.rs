//! Streams of frames: YUV4MPEG2 (`ffmpeg -f yuv4mpegpipe`), raw frames (`-f rawvideo`, or from a frame grabber), and JPEG or
//! PNG files one after the other (`-f mjpeg`, `-f image2pipe`).

use std::io::{self, BufRead, BufReader, Read};
use std::str::FromStr;

use super::limits::MAX_PIXELS;
use super::scan::{Frames, Scan};
use super::scan_info::{ScanInfo, ScanKind};
use super::stream_colour::{Colour, Planes};
use super::stream_pictures::{Lost, Splitter};
use super::y4m::{Header, MAX_HEADER};
use super::{Image, InputError, Range, ReadOptions, say};

/// Bytes of the first frame for which memory is allocated on the header's word; beyond that, the buffer grows with the
/// data.
const TRUSTED_BYTES: usize = 1 << 20;

/// Width and height from which video counts as high definition, whose matrix is BT.709 and not BT.601.
const HIGH_DEFINITION: [usize; 2] = [1280, 720];

/// Format of a stream of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFormat {
    /// YUV4MPEG2 of 8 to 16 bits: grey, 4:2:0, 4:2:2, 4:4:4, 4:1:1, 4:4:0 or 4:1:0.
    Y4m,
    /// Consecutive frames without a header.
    Raw {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// The pixel format.
        pixel: RawPixel,
    },
    /// Consecutive JPEG or PNG files: Motion JPEG, and what `ffmpeg -f image2pipe` writes.
    Pictures,
}

/// Pixel format of a raw frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawPixel {
    /// One byte, unchanged (ffmpeg's `gray`).
    Grey8,
    /// Red, green and blue, one byte each (`rgb24`).
    Rgb8,
    /// A plane of luma, then Cb and Cr at half the width and height (`yuv420p`).
    Yuv420p,
}

impl FromStr for StreamFormat {
    type Err = String;

    /// Reads `y4m`, `mjpeg` or `png` (each picture tells which of the two it is), or one of ffmpeg's `gray`, `rgb24` and
    /// `yuv420p` with the frame's width and height: `gray:640x480`.
    fn from_str(text: &str) -> Result<StreamFormat, String> {
        let wrong = || {
            format!(
                "'{text}' is no stream: give y4m, mjpeg or png, or gray, rgb24 or yuv420p with width and height, as in \
                 gray:640x480"
            )
        };
        match text {
            "y4m" => return Ok(StreamFormat::Y4m),
            "mjpeg" | "png" => return Ok(StreamFormat::Pictures),
            _ => {}
        }
        let (pixel, size) = text.split_once(':').ok_or_else(wrong)?;
        let pixel = match pixel {
            "gray" => RawPixel::Grey8,
            "rgb24" => RawPixel::Rgb8,
            "yuv420p" => RawPixel::Yuv420p,
            _ => return Err(wrong()),
        };
        let (width, height) = size.split_once('x').ok_or_else(wrong)?;
        let side = |text: &str| text.parse::<usize>().ok().filter(|&side| side > 0).ok_or_else(wrong);
        Ok(StreamFormat::Raw { width: side(width)?, height: side(height)?, pixel })
    }
}

impl Scan {
    /// [`Scan::from_stream`] with default options.
    ///
    /// # Errors
    /// Those of [`Scan::from_stream`].
    pub fn from_reader(
        name: impl Into<String>,
        reader: impl Read + Send + 'static,
        format: StreamFormat,
    ) -> Result<Scan, InputError> {
        Scan::from_stream(name, reader, format, &ReadOptions::default())
    }

    /// Reads a clip from a stream, one frame at a time on demand, as [`FrameStream`] does; it ends with the first frame
    /// that cannot be read.
    ///
    /// # Errors
    /// Those of [`FrameStream::new`].
    pub fn from_stream(
        name: impl Into<String>,
        reader: impl Read + Send + 'static,
        format: StreamFormat,
        options: &ReadOptions,
    ) -> Result<Scan, InputError> {
        let stream = FrameStream::new(name, reader, format, options)?;
        let mut info = ScanInfo::plain(stream.name.clone(), ScanKind::Clip, vec![]);
        (info.size, info.frame_rate) = (stream.size, stream.rate);
        let frames: Frames = Box::new(stream);
        Scan::new(info, frames).limited(options.most_frames())
    }
}

/// Reads the header line.
fn y4m_header(name: &str, reader: &mut impl BufRead) -> Result<Header, InputError> {
    let stream = |problem| InputError::Stream { name: name.into(), problem };
    let mut line = Vec::new();
    let read = reader.take(MAX_HEADER).read_until(b'\n', &mut line);
    read.map_err(|e| stream(format!("cannot be read ({e}): check what writes it")))?;
    Header::of(&line).map_err(stream)
}

/// The pixels of a YUV4MPEG2 frame.
fn y4m_pixels(name: &str, header: Header, options: &ReadOptions) -> Pixels {
    let Header { width, height, bits, chroma, interlaced, range, ratio: [wide, high], .. } = header;
    let planes = Planes { width, height, bits, chroma, interlaced };
    let range = range.or(options.range);
    say::aspect(name, high.into(), wide.into());
    say_what_is_open(name, &planes, range, options);
    let matrix = options.matrix.unwrap_or_default();
    Pixels::Planes(planes, Colour { matrix, range: range.unwrap_or(Range::Limited) })
}

/// The pixels of a frame without a header.
fn raw_pixels(width: usize, height: usize, pixel: RawPixel, options: &ReadOptions) -> Pixels {
    // A raw grey byte is used unchanged.
    let (chroma, usual) = match pixel {
        RawPixel::Rgb8 => return Pixels::Rgb8(width, height),
        RawPixel::Grey8 => (None, Range::Full),
        RawPixel::Yuv420p => (Some([2, 2]), Range::Limited),
    };
    let planes = Planes { width, height, bits: 8, chroma, interlaced: false };
    let (matrix, range) = (options.matrix.unwrap_or_default(), options.range.unwrap_or(usual));
    Pixels::Planes(planes, Colour { matrix, range })
}

/// Warns about properties that the header does not specify and that change the pixels.
fn say_what_is_open(name: &str, planes: &Planes, range: Option<Range>, options: &ReadOptions) {
    if planes.chroma.is_some() && options.matrix.is_none() {
        say_matrix(name, "YUV4MPEG2", planes.width, planes.height);
    }
    if planes.chroma.is_none() && range.is_none() {
        say::once(format!(
            "{name}: does not say which grey is black and white; the limited range of video is taken (option `range`)"
        ));
    }
    if planes.interlaced {
        say::once(format!("{name}: is interlaced: a frame's odd and even rows show two instants"));
    }
}

/// Warns if frames of this size may have another matrix than the one that is taken; `who` does not say which.
pub(super) fn say_matrix(name: &str, who: &str, width: usize, height: usize) {
    let [wide, high] = HIGH_DEFINITION;
    if width >= wide || height >= high {
        say::once(format!(
            "{name}: {who} does not say by which matrix its colours were made, and frames of {width}x{height} px may well \
             be BT.709; BT.601 is taken (option `matrix`)",
        ));
    }
}

/// Refuses invalid frame sizes before anything is allocated.
pub(super) fn check_size(name: &str, width: usize, height: usize) -> Result<(), InputError> {
    Image::check_sides(name, width, height)?;
    let pixels = (width as u64).checked_mul(height as u64);
    if pixels.is_none_or(|pixels| pixels > MAX_PIXELS) {
        let problem = format!(
            "frames of {width}x{height} px are refused: give at most {} megapixels",
            MAX_PIXELS >> 20
        );
        return Err(InputError::Stream { name: name.into(), problem });
    }
    Ok(())
}

/// Format of a frame's bytes.
enum Pixels {
    /// Red, green and blue; columns and rows.
    Rgb8(usize, usize),
    Planes(Planes, Colour),
}

impl Pixels {
    fn bytes(&self) -> usize {
        match self {
            Pixels::Rgb8(width, height) => 3 * width * height,
            Pixels::Planes(planes, _) => planes.bytes(),
        }
    }
}

/// The frames of a stream, one at a time, however many they are and whatever their sizes.
pub struct FrameStream {
    name: String,
    reader: Box<dyn BufRead + Send>,
    content: Frame,
    /// Rows and columns, if the stream says so before its first frame.
    size: Option<(usize, usize)>,
    /// Frames a second, if it says so.
    rate: Option<f64>,
    /// Number of frames read or lost.
    count: usize,
    ended: bool,
}

/// What a frame is.
enum Frame {
    /// Pixels, with a header line before those of each frame (YUV4MPEG2) or without.
    Pixels { pixels: Pixels, framed: bool },
    /// A JPEG or PNG file.
    Picture(Splitter),
}

impl FrameStream {
    /// Reads the header of a stream. Of `options`, only the matrix and the range (if the stream does not specify it)
    /// are used. Properties that the stream does not specify and that change the pixels are reported on standard error.
    ///
    /// # Errors
    /// [`InputError`] names the stream: an invalid or unsupported header, a frame below 8 px a side
    /// or above `MAX_PIXELS`; while reading, a frame that is cut short, or no frame at all.
    pub fn new(
        name: impl Into<String>,
        reader: impl Read + Send + 'static,
        format: StreamFormat,
        options: &ReadOptions,
    ) -> Result<FrameStream, InputError> {
        let name = name.into();
        let mut reader = BufReader::new(reader);
        let mut rate = None;
        let (content, size) = match format {
            StreamFormat::Pictures => (Frame::Picture(Splitter::default()), None),
            StreamFormat::Y4m => {
                let header = y4m_header(&name, &mut reader)?;
                check_size(&name, header.width, header.height)?;
                let [frames, seconds] = header.rate.map(f64::from);
                rate = (frames > 0.0 && seconds > 0.0).then_some(frames / seconds);
                let pixels = y4m_pixels(&name, header, options);
                (Frame::Pixels { pixels, framed: true }, Some((header.height, header.width)))
            }
            StreamFormat::Raw { width, height, pixel } => {
                check_size(&name, width, height)?;
                let pixels = raw_pixels(width, height, pixel, options);
                (Frame::Pixels { pixels, framed: false }, Some((height, width)))
            }
        };
        Ok(FrameStream { name, reader: Box::new(reader), content, size, rate, count: 0, ended: false })
    }

    /// Whether another frame may follow an error: pictures are found again, pixels without a frame around them are not.
    pub fn goes_on(&self) -> bool {
        !self.ended
    }

    fn failed(&self, problem: String) -> InputError {
        InputError::Stream { name: self.name.clone(), problem }
    }

    fn unreadable(&self, error: &io::Error) -> InputError {
        self.failed(format!("cannot be read ({error}): check what writes it"))
    }

    fn cut(&self) -> InputError {
        self.failed(format!("ends within frame {}: check what writes it", self.count + 1))
    }

    /// The bytes of the next frame of `length` bytes of pixels.
    fn bytes(&mut self, length: usize, framed: bool) -> Result<Option<Vec<u8>>, InputError> {
        let number = self.count + 1;
        if framed {
            let mut line = Vec::new();
            let read = self.reader.by_ref().take(MAX_HEADER).read_until(b'\n', &mut line);
            read.map_err(|error| self.unreadable(&error))?;
            match line.strip_prefix(b"FRAME") {
                _ if line.is_empty() && self.count > 0 => return Ok(None),
                Some([b'\n']) => {}
                Some([b' ', .., b'\n']) => {}
                _ if !line.ends_with(b"\n") && line.len() < MAX_HEADER as usize => return Err(self.cut()),
                _ => return Err(self.failed(format!("frame {number} has no header: the stream is damaged"))),
            }
        }
        let mut bytes = Vec::with_capacity(if self.count > 0 { length } else { length.min(TRUSTED_BYTES) });
        let read = self.reader.by_ref().take(length as u64).read_to_end(&mut bytes);
        read.map_err(|error| self.unreadable(&error))?;
        if bytes.is_empty() && self.count > 0 && !framed {
            return Ok(None);
        }
        if bytes.len() == length {
            return Ok(Some(bytes));
        }
        Err(if framed {
            self.cut()
        } else {
            self.failed(format!(
                "ends {} bytes into frame {number}, which has {length}: check the size, the pixel format and what writes it",
                bytes.len()
            ))
        })
    }

    fn frame(&mut self) -> Result<Option<Image>, InputError> {
        let picture = match &mut self.content {
            Frame::Picture(splitter) => splitter.next(&mut self.reader),
            Frame::Pixels { pixels, framed } => {
                let (length, framed) = (pixels.bytes(), *framed);
                let Some(bytes) = self.bytes(length, framed)? else { return Ok(None) };
                return self.image_of(bytes).map(Some);
            }
        };
        match picture {
            Ok(Some(bytes)) => self.decoded(&bytes).map(Some),
            Ok(None) if self.count == 0 => Err(self.failed("holds no picture: check what writes it".into())),
            Ok(None) => Ok(None),
            Err(Lost::Read(error)) => Err(self.unreadable(&error)),
            Err(Lost::Cut) => Err(self.cut()),
            Err(Lost::Damaged(why)) => {
                self.ended = false;
                Err(self.failed(format!("frame {} {why}: check what writes it", self.count + 1)))
            }
        }
    }

    /// The image of a frame's pixels.
    fn image_of(&self, bytes: Vec<u8>) -> Result<Image, InputError> {
        let Frame::Pixels { pixels, .. } = &self.content else { unreachable!("pixels were read") };
        let image = match pixels {
            Pixels::Rgb8(width, height) => Image::from_rgb8(*width, *height, bytes),
            Pixels::Planes(planes, colour) => planes.image(&bytes, *colour),
        };
        image.map_err(|error| match error {
            InputError::Stream { problem, .. } => {
                self.failed(format!("frame {} {problem}: check what writes it", self.count + 1))
            }
            error => error,
        })
    }

    /// The image of a picture file; what is wrong with one does not concern the next.
    fn decoded(&mut self, bytes: &[u8]) -> Result<Image, InputError> {
        self.ended = false;
        Image::decode(format!("{} frame {}", self.name, self.count + 1), bytes)
    }
}

impl Iterator for FrameStream {
    type Item = Result<Image, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.ended = true;
        let frame = self.frame().transpose()?;
        self.count += 1;
        self.ended &= frame.is_err();
        Some(frame)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
