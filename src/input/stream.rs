//! Clips read from a stream of frames: YUV4MPEG2 (`ffmpeg -f yuv4mpegpipe`) and raw frames (`-f rawvideo`, or from a
//! frame grabber).

use std::io::{BufRead, BufReader, Read};
use std::str::FromStr;

use super::limits::MAX_PIXELS;
use super::scan::{Frames, Scan};
use super::scan_info::{ScanInfo, ScanKind};
use super::stream_colour::{Colour, Planes};
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

    /// Reads `y4m`, or one of ffmpeg's `gray`, `rgb24` and `yuv420p` with the frame's width and height: `gray:640x480`.
    fn from_str(text: &str) -> Result<StreamFormat, String> {
        let wrong = || {
            format!(
                "'{text}' is no stream: give y4m, or gray, rgb24 or yuv420p with width and height, as in gray:640x480"
            )
        };
        if text == "y4m" {
            return Ok(StreamFormat::Y4m);
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

    /// Reads a clip from a stream, one frame at a time on demand. Of `options`, only the matrix, the range (if the
    /// stream does not specify it) and the maximum number of frames are used. Properties that the stream does not
    /// specify and that change the pixels are reported on standard error.
    ///
    /// # Errors
    /// [`InputError`] names the stream: an invalid or unsupported header, a frame below 8 px a side
    /// or above `MAX_PIXELS`; while reading, a frame that is cut short, or no frame at all.
    pub fn from_stream(
        name: impl Into<String>,
        reader: impl Read + Send + 'static,
        format: StreamFormat,
        options: &ReadOptions,
    ) -> Result<Scan, InputError> {
        let name = name.into();
        let mut reader = BufReader::new(reader);
        let header = match format {
            StreamFormat::Y4m => Some(y4m_header(&name, &mut reader)?),
            StreamFormat::Raw { .. } => None,
        };
        let (width, height, bits, chroma) = match (header, format) {
            (Some(header), _) => (header.width, header.height, header.bits, header.chroma),
            (None, StreamFormat::Raw { width, height, pixel: RawPixel::Yuv420p }) => {
                (width, height, 8, Some([2, 2]))
            }
            (None, StreamFormat::Raw { width, height, .. }) => (width, height, 8, None),
            (None, StreamFormat::Y4m) => unreachable!("its header was read"),
        };
        check_size(&name, width, height)?;
        let interlaced = header.is_some_and(|header| header.interlaced);
        let planes = Planes { width, height, bits, chroma, interlaced };
        let raw_grey = matches!(format, StreamFormat::Raw { pixel: RawPixel::Grey8, .. });
        let range = header.and_then(|header| header.range).or(options.range);
        let colour = Colour {
            matrix: options.matrix.unwrap_or_default(),
            // A raw grey byte is used unchanged.
            range: range.unwrap_or(if raw_grey { Range::Full } else { Range::Limited }),
        };
        if let Some(Header { ratio: [wide, high], .. }) = header {
            say::aspect(&name, high.into(), wide.into());
            say_what_is_open(&name, &planes, range, options);
        }
        let rgb = matches!(format, StreamFormat::Raw { pixel: RawPixel::Rgb8, .. });
        let pixels = if rgb { Pixels::Rgb8(width, height) } else { Pixels::Planes(planes, colour) };
        let framed = header.is_some();
        let frames: Frames =
            Box::new(StreamFrames { name: name.clone(), reader: Box::new(reader), pixels, framed, count: 0 });
        let mut info = ScanInfo::plain(name, ScanKind::Clip, vec![]);
        info.size = Some((height, width));
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

/// Warns about properties that the header does not specify and that change the pixels.
fn say_what_is_open(name: &str, planes: &Planes, range: Option<Range>, options: &ReadOptions) {
    let [wide, high] = HIGH_DEFINITION;
    if planes.chroma.is_some() && options.matrix.is_none() && (planes.width >= wide || planes.height >= high)
    {
        say::once(format!(
            "{name}: YUV4MPEG2 does not say by which matrix its colours were made, and frames of {}x{} px may well be \
             BT.709; BT.601 is taken (option `matrix`)",
            planes.width, planes.height
        ));
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

/// Refuses invalid frame sizes before anything is allocated.
fn check_size(name: &str, width: usize, height: usize) -> Result<(), InputError> {
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

struct StreamFrames {
    name: String,
    reader: Box<dyn BufRead + Send>,
    pixels: Pixels,
    /// Whether each frame is preceded by a header line, as in YUV4MPEG2.
    framed: bool,
    /// Number of frames read.
    count: usize,
}

impl StreamFrames {
    fn frame(&mut self) -> Result<Option<Image>, InputError> {
        let (name, number, length) = (self.name.clone(), self.count + 1, self.pixels.bytes());
        let stream = |problem| InputError::Stream { name: name.clone(), problem };
        let failed = |e: std::io::Error| stream(format!("cannot be read ({e}): check what writes it"));
        if self.framed {
            let mut line = Vec::new();
            self.reader.by_ref().take(MAX_HEADER).read_until(b'\n', &mut line).map_err(failed)?;
            match line.strip_prefix(b"FRAME") {
                _ if line.is_empty() && self.count > 0 => return Ok(None),
                Some([b'\n']) => {}
                Some([b' ', .., b'\n']) => {}
                _ if !line.ends_with(b"\n") && line.len() < MAX_HEADER as usize => {
                    return Err(stream(format!("ends within frame {number}: check what writes it")));
                }
                _ => return Err(stream(format!("frame {number} has no header: the stream is damaged"))),
            }
        }
        let mut bytes = Vec::with_capacity(if self.count > 0 { length } else { length.min(TRUSTED_BYTES) });
        self.reader.by_ref().take(length as u64).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.is_empty() && self.count > 0 && !self.framed {
            return Ok(None);
        }
        if bytes.len() < length {
            return Err(stream(if self.framed {
                format!("ends within frame {number}: check what writes it")
            } else {
                format!(
                    "ends {} bytes into frame {number}, which has {length}: check the size, the pixel format and what writes it",
                    bytes.len()
                )
            }));
        }
        self.count += 1;
        let image = match &self.pixels {
            Pixels::Rgb8(width, height) => Image::from_rgb8(*width, *height, bytes),
            Pixels::Planes(planes, colour) => planes.image(&bytes, *colour),
        };
        image.map(Some).map_err(|error| match error {
            InputError::Stream { problem, .. } => {
                stream(format!("frame {number} {problem}: check what writes it"))
            }
            error => error,
        })
    }
}

impl Iterator for StreamFrames {
    type Item = Result<Image, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.frame().transpose()
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
