//! The markers of a stream, from its start to its end-of-image marker (ITU-T T.81, annex B).

use super::frame::{Frame, Process};
use super::scan::Scan;
use super::tables::Tables;

/// Maximum number of scans, as libjpeg-turbo advises: encoders write about ten, and a short file with thousands takes
/// minutes to decode.
const MAX_SCANS: usize = 500;

/// Maximum number of 8 x 8 blocks that all scans together may visit: 40 scans of 64 megapixels in three components.
/// Decoders take 10 to 20 ns per block.
const MAX_VISITS: u64 = 1 << 27;

/// A complete stream, read to its end-of-image marker.
pub(super) struct Stream {
    pub(super) frame: Frame,
    /// Index of the first byte after the end-of-image marker.
    pub(super) end: usize,
    /// Whether three components are luminance and chrominance.
    pub(super) ycc: bool,
}

/// A position between the segments of a stream.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// The next marker: FF, optional further FF fill bytes, and a code.
    fn marker(&mut self) -> Result<u8, String> {
        if self.bytes.get(self.at).is_some_and(|&byte| byte != 0xFF) {
            return Err(format!("no marker at byte {}, where one has to be", self.at));
        }
        let fill =
            self.bytes[self.at.min(self.bytes.len())..].iter().take_while(|&&byte| byte == 0xFF).count();
        self.at += fill;
        let code = self.bytes.get(self.at).filter(|_| fill > 0);
        self.at += 1;
        match code {
            None => Err("no end-of-image marker".into()),
            Some(0) => Err(format!("no marker at byte {}, where one has to be", self.at - 2)),
            Some(&code) => Ok(code),
        }
    }

    /// The content of a segment, after its length.
    fn segment(&mut self) -> Result<&'a [u8], String> {
        let length =
            self.bytes.get(self.at..self.at + 2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])));
        let segment = length.filter(|&n| n >= 2).and_then(|n| self.bytes.get(self.at + 2..self.at + n));
        let segment = segment.ok_or_else(|| format!("the segment at byte {} is cut short", self.at))?;
        self.at += 2 + segment.len();
        Ok(segment)
    }
}

impl Stream {
    /// Reads a whole stream; `keep` determines whether its coefficients are kept.
    ///
    /// # Errors
    /// One line with the problem.
    pub(super) fn read(bytes: &[u8], keep: bool) -> Result<Stream, String> {
        let mut walk = Walk { bytes, at: 0 };
        if walk.marker() != Ok(0xD8) {
            return Err("no start-of-image marker".into());
        }
        let mut tables = Tables::default();
        let mut frame: Option<Frame> = None;
        let (mut scans, mut visits) = (0, 0u64);
        let (mut jfif, mut adobe) = (false, None);
        loop {
            match walk.marker()? {
                0xC4 => tables.add_huffman(walk.segment()?)?,
                0xCC => return Err("a JPEG with arithmetic coding, which is not read".into()),
                marker @ 0xC0..=0xCF if marker != 0xC8 => {
                    if frame.is_some() {
                        return Err("a second frame header".into());
                    }
                    frame = Some(Frame { keep, ..Frame::new(marker, walk.segment()?)? });
                }
                0xDB => tables.add_quantisers(walk.segment()?)?,
                0xDD => {
                    let &[high, low] = walk.segment()? else {
                        return Err("a restart interval of no use".into());
                    };
                    tables.restart = u16::from_be_bytes([high, low]).into();
                }
                0xDA => {
                    let frame = frame.as_mut().ok_or("a scan before the frame header")?;
                    scans += 1;
                    let scan = Scan::new(frame, walk.segment()?).map_err(|e| format!("scan {scans}: {e}"))?;
                    visits += scan.units(frame) as u64;
                    if frame.process != Process::Lossless && (scans > MAX_SCANS || visits > MAX_VISITS) {
                        return Err(format!("more than {} scans, which no encoder writes", scans - 1));
                    }
                    walk.at = scan
                        .read(frame, &tables, bytes, walk.at)
                        .map_err(|e| format!("scan {scans}: {e}"))?;
                }
                0xD9 => {
                    let frame = frame.ok_or("no frame header")?;
                    frame.check_whole()?;
                    let ycc = frame.components.len() == 3 && is_ycc(&frame, jfif, adobe);
                    return Ok(Stream { frame, end: walk.at, ycc });
                }
                0xDC => {
                    let &[high, low] = walk.segment()? else {
                        return Err("a number of lines of no use".into());
                    };
                    let lines = usize::from(u16::from_be_bytes([high, low]));
                    if frame.as_ref().map(|frame| frame.height) != Some(lines) {
                        return Err(format!("{lines} rows coded, which is not what the frame header says"));
                    }
                }
                0xD8 => return Err("a second start-of-image marker".into()),
                0xD0..=0xD7 => return Err("a restart marker outside of a scan".into()),
                0x01 => {}
                0xE0 => jfif |= walk.segment()?.starts_with(b"JFIF\0"),
                0xEE => {
                    if let Some(&transform) =
                        walk.segment()?.strip_prefix(b"Adobe").and_then(|rest| rest.get(6))
                    {
                        adobe = Some(transform);
                    }
                }
                _ => {
                    walk.segment()?;
                }
            }
        }
    }
}

/// Precision, and width and height, from the first frame header.
pub(super) fn header(bytes: &[u8]) -> Option<(u8, [u16; 2])> {
    let is_frame = |marker, _: &[u8]| matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC);
    match find(bytes, is_frame)? {
        &[precision, y1, y0, x1, x0, ..] => Some((precision, [[x1, x0], [y1, y0]].map(u16::from_be_bytes))),
        _ => None,
    }
}

/// The EXIF block, starting at its byte-order mark.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"Exif\0\0";
    find(bytes, |marker, segment| marker == 0xE1 && segment.starts_with(NAME))?.strip_prefix(NAME)
}

/// The first `wanted` segment before the first scan.
fn find(bytes: &[u8], wanted: impl Fn(u8, &[u8]) -> bool) -> Option<&[u8]> {
    let mut walk = Walk { bytes, at: 0 };
    walk.marker().ok().filter(|&marker| marker == 0xD8)?;
    loop {
        match walk.marker().ok()? {
            0x01 => {}
            0xD0..=0xDA => return None,
            marker => {
                let segment = walk.segment().ok()?;
                if wanted(marker, segment) {
                    return Some(segment);
                }
            }
        }
    }
}

/// Decides as libjpeg does (`default_decompress_parms` in jdapimin.c).
fn is_ycc(frame: &Frame, jfif: bool, adobe: Option<u8>) -> bool {
    match (jfif, adobe) {
        (true, _) => true,
        (false, Some(transform)) => transform != 0,
        (false, None) => !frame.components.iter().map(|component| component.id).eq(*b"RGB"),
    }
}
