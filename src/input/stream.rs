//! Clips that come as one stream of frames: YUV4MPEG2 (`ffmpeg -f yuv4mpegpipe`) and raw frames (`-f rawvideo`, or what a
//! frame grabber gives).

use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use y4m::Colorspace;

use super::image::MAX_PIXELS;
use super::scan::{Frames, Scan};
use super::scan_info::{ScanInfo, ScanKind};
use super::{Image, InputError};

/// The first bytes of a YUV4MPEG2 stream.
pub(super) const Y4M_MAGIC: &[u8] = b"YUV4MPEG2 ";

/// Bytes within which a YUV4MPEG2 header must end; ffmpeg writes about 100.
const MAX_HEADER: u64 = 1024;

/// Pixels of a frame for which memory is taken on the header's word: at most 1.5 MB, and 512 x 512 is what a header of
/// 40 bytes may cost.
const TRUSTED_PIXELS: usize = 1 << 18;

/// What a stream of frames consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFormat {
    /// YUV4MPEG2 with 8 bits: grey, 4:2:0, 4:2:2 or 4:4:4.
    Y4m,
    /// One frame after the other, without any header.
    Raw {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// What a pixel is.
        pixel: RawPixel,
    },
}

/// A pixel of a raw frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawPixel {
    /// One byte, as it is (ffmpeg's `gray`).
    Grey8,
    /// Red, green and blue, a byte each (`rgb24`).
    Rgb8,
    /// A plane of luma, then Cb and Cr at half the size (`yuv420p`), limited range.
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
    /// Reads a clip from a stream, one frame at a time as they are asked for.
    ///
    /// # Errors
    /// [`InputError`] names the stream: a header that is none or not read, a frame below [`MIN_SIDE`](super::MIN_SIDE) or
    /// above [`MAX_PIXELS`]; while reading, a frame that is cut short, or no frame at all.
    pub fn from_reader(
        name: impl Into<String>,
        reader: impl Read + Send + 'static,
        format: StreamFormat,
    ) -> Result<Scan, InputError> {
        let name = name.into();
        let (size, frames): (_, Frames) = match format {
            StreamFormat::Y4m => {
                let frames = Y4mFrames::new(name.clone(), reader)?;
                ((frames.decoder.get_height(), frames.decoder.get_width()), Box::new(frames))
            }
            StreamFormat::Raw { width, height, pixel } => {
                let chroma = width.div_ceil(2).checked_mul(height.div_ceil(2));
                check_size(&name, width, height)?;
                let length = match pixel {
                    RawPixel::Grey8 => width * height,
                    RawPixel::Rgb8 => 3 * width * height,
                    RawPixel::Yuv420p => width * height + 2 * chroma.unwrap_or_default(),
                };
                let reader = Box::new(BufReader::new(reader));
                (
                    (height, width),
                    Box::new(RawFrames {
                        name: name.clone(),
                        reader,
                        size: (height, width),
                        pixel,
                        length,
                        count: 0,
                    }),
                )
            }
        };
        let mut info = ScanInfo::plain(name, ScanKind::Clip, vec![]);
        info.size = Some(size);
        Ok(Scan::new(info, frames))
    }
}

/// Refuses sizes that no frame has, before anything is allocated for them.
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

struct RawFrames {
    name: String,
    reader: Box<dyn BufRead + Send>,
    size: (usize, usize),
    pixel: RawPixel,
    length: usize,
    count: usize,
}

impl RawFrames {
    fn frame(&mut self) -> Result<Option<Image>, InputError> {
        let stream = |problem| InputError::Stream { name: self.name.clone(), problem };
        let failed = |e: std::io::Error| stream(format!("cannot be read ({e}): check what writes it"));
        let mut bytes = Vec::with_capacity(self.length);
        self.reader.by_ref().take(self.length as u64).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.is_empty() && self.count > 0 {
            return Ok(None);
        }
        if bytes.len() < self.length {
            return Err(stream(format!(
                "ends {} bytes into frame {}, which has {}: check the size, the pixel format and what writes it",
                bytes.len(),
                self.count + 1,
                self.length
            )));
        }
        self.count += 1;
        let (height, width) = self.size;
        match self.pixel {
            RawPixel::Grey8 => Image::from_grey8(width, height, bytes),
            RawPixel::Rgb8 => Image::from_rgb8(width, height, bytes),
            RawPixel::Yuv420p => {
                let (luma, chroma) = bytes.split_at(width * height);
                let (blue, red) = chroma.split_at(chroma.len() / 2);
                Image::from_rgb8(width, height, rgb(width, height, [luma, blue, red], [2, 2], Range::Limited))
            }
        }
        .map(Some)
    }
}

impl Iterator for RawFrames {
    type Item = Result<Image, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.frame().transpose()
    }
}

/// Counts the bytes that pass, for the decoder reports the end of the stream and a frame that is cut short alike.
struct Counted {
    reader: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

struct Y4mFrames {
    name: String,
    decoder: y4m::Decoder<Counted>,
    bytes: Arc<AtomicU64>,
    /// Divisors of the chroma planes, across and down; none for grey.
    chroma: Option<[usize; 2]>,
    range: Range,
    count: usize,
}

impl Y4mFrames {
    fn new(name: String, reader: impl Read + Send + 'static) -> Result<Y4mFrames, InputError> {
        let stream = |problem| InputError::Stream { name: name.clone(), problem };
        let damaged = || stream("is no YUV4MPEG2 stream: write one by ffmpeg -f yuv4mpegpipe".into());
        let mut reader = BufReader::new(reader);
        let mut header = Vec::new();
        let failed = |e: std::io::Error| stream(format!("cannot be read ({e}): check what writes it"));
        reader.by_ref().take(MAX_HEADER).read_until(b'\n', &mut header).map_err(failed)?;
        if !header.starts_with(Y4M_MAGIC) || !header.ends_with(b"\n") {
            return Err(damaged());
        }
        // The decoder multiplies the sides before it looks at its limit (y4m 0.8), which overflows: look here first, at the
        // fields as it parts them.
        let side = |letter: u8| {
            let mut fields = header[..header.len() - 1].split(|&b| b == b' ');
            let field = fields.rfind(|field| field.first() == Some(&letter))?;
            std::str::from_utf8(&field[1..]).ok()?.parse::<usize>().ok()
        };
        let (Some(width), Some(height)) = (side(b'W'), side(b'H')) else { return Err(damaged()) };
        check_size(&name, width, height)?;
        // The decoder takes a frame's memory at once: only where at least the luma of one has come.
        let mut ahead = Vec::new();
        if width * height > TRUSTED_PIXELS {
            let luma = width * height;
            reader.by_ref().take(luma as u64).read_to_end(&mut ahead).map_err(failed)?;
            if ahead.len() < luma {
                return Err(stream("ends within frame 1: check what writes it".into()));
            }
        }
        let range = if contains(&header, b"XCOLORRANGE=FULL") { Range::Full } else { Range::Limited };
        let bytes = Arc::new(AtomicU64::new(0));
        let whole = Cursor::new(header).chain(Cursor::new(ahead)).chain(reader);
        let reader = Counted { reader: Box::new(whole), bytes: Arc::clone(&bytes) };
        let unread = "has a colour space that is not read: convert it to 8 bits of mono, 420, 422 or 444 (ffmpeg -pix_fmt yuv420p)";
        let decoder = y4m::decode(reader).map_err(|error| match error {
            y4m::Error::UnknownColorspace => stream(unread.into()),
            _ => damaged(),
        })?;
        let chroma = match decoder.get_colorspace() {
            Colorspace::Cmono => None,
            Colorspace::C420 | Colorspace::C420jpeg | Colorspace::C420paldv | Colorspace::C420mpeg2 => {
                Some([2, 2])
            }
            Colorspace::C422 => Some([2, 1]),
            Colorspace::C444 => Some([1, 1]),
            _ => return Err(stream(unread.into())),
        };
        Ok(Y4mFrames { name, decoder, bytes, chroma, range, count: 0 })
    }

    fn frame(&mut self) -> Result<Option<Image>, InputError> {
        let (width, height) = (self.decoder.get_width(), self.decoder.get_height());
        let stream = |problem| InputError::Stream { name: self.name.clone(), problem };
        self.bytes.store(0, Ordering::Relaxed);
        let frame = match self.decoder.read_frame() {
            Ok(frame) => frame,
            Err(y4m::Error::EOF) if self.bytes.load(Ordering::Relaxed) == 0 && self.count > 0 => {
                return Ok(None);
            }
            Err(y4m::Error::EOF) => {
                return Err(stream(format!("ends within frame {}: check what writes it", self.count + 1)));
            }
            Err(y4m::Error::IoError(e)) if e.kind() != ErrorKind::InvalidData => {
                return Err(stream(format!("cannot be read ({e}): check what writes it")));
            }
            Err(_) => {
                return Err(stream(format!("frame {} has no header: the stream is damaged", self.count + 1)));
            }
        };
        self.count += 1;
        let luma = frame.get_y_plane();
        match self.chroma {
            None => Image::from_grey8(width, height, luma.iter().map(|&y| self.range.grey(y)).collect()),
            Some(divisors) => {
                let planes = [luma, frame.get_u_plane(), frame.get_v_plane()];
                Image::from_rgb8(width, height, rgb(width, height, planes, divisors, self.range))
            }
        }
        .map(Some)
    }
}

impl Iterator for Y4mFrames {
    type Item = Result<Image, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.frame().transpose()
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// Which codes mean black and white.
#[derive(Clone, Copy, PartialEq)]
enum Range {
    /// 16 and 235 (ITU-R BT.601-7, 2.5.3): what video has unless it says otherwise.
    Limited,
    /// 0 and 255: `XCOLORRANGE=FULL`.
    Full,
}

impl Range {
    /// A byte of luma as a grey value.
    fn grey(self, luma: u8) -> u8 {
        match self {
            Range::Limited => byte((f32::from(luma) - 16.0) * (255.0 / 219.0)),
            Range::Full => luma,
        }
    }
}

/// Rounds half away from zero into a byte.
fn byte(value: f32) -> u8 {
    value.round() as u8
}

/// Planes of Y, Cb and Cr to pixels (ITU-R BT.601-7: Kr = 0.299, Kb = 0.114). Chroma is taken from the nearest sample,
/// not interpolated: what is looked at is a 16 px patch.
fn rgb(width: usize, height: usize, planes: [&[u8]; 3], divisors: [usize; 2], range: Range) -> Vec<u8> {
    let [across, down] = divisors;
    let stride = width.div_ceil(across);
    let (black, luma_scale, chroma_scale) = match range {
        Range::Limited => (16.0, 255.0 / 219.0, 255.0 / 224.0),
        Range::Full => (0.0, 1.0, 1.0),
    };
    let mut out = Vec::with_capacity(3 * width * height);
    for row in 0..height {
        for column in 0..width {
            let y = (f32::from(planes[0][row * width + column]) - black) * luma_scale;
            let at = row / down * stride + column / across;
            let blue = (f32::from(planes[1][at]) - 128.0) * chroma_scale;
            let red = (f32::from(planes[2][at]) - 128.0) * chroma_scale;
            out.push(byte(y + 1.402 * red));
            out.push(byte(y - (0.114 * 1.772 / 0.587) * blue - (0.299 * 1.402 / 0.587) * red));
            out.push(byte(y + 1.772 * blue));
        }
    }
    out
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
