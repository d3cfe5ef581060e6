//! Takes one JPEG or PNG file after the other from a stream of them: Motion JPEG, as cameras and `ffmpeg -f mjpeg` write it,
//! and `ffmpeg -f image2pipe -c:v png`.
//!
//! Only the framing is read here (ITU-T T.81 annex B; PNG, third edition, section 5), so that one damaged picture does
//! not end the stream: the next one begins at the next signature.

use std::io::{self, BufRead, Cursor, Read};

/// Maximum size of one picture, in bytes.
const MAX_BYTES: u64 = 128 << 20;

/// At most so much of a damaged picture is looked at again for the next one.
const MAX_AHEAD: usize = 4 << 20;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8";

/// Why there is no picture.
#[derive(Debug)]
pub(super) enum Lost {
    /// The stream cannot be read any more.
    Read(io::Error),
    /// The stream ends within a picture.
    Cut,
    /// What comes is not a picture, or breaks off before another one begins; the next call looks for that.
    Damaged(&'static str),
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Lost {
        if error.kind() == io::ErrorKind::UnexpectedEof { Lost::Cut } else { Lost::Read(error) }
    }
}

/// Takes pictures from a reader.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// What was read of a damaged picture, from where the next one may begin.
    ahead: Cursor<Vec<u8>>,
    /// Whether a signature is to be searched, since the last picture was damaged.
    astray: bool,
}

impl Splitter {
    /// The bytes of the next picture; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`Lost`]; after [`Lost::Damaged`] the next picture may be asked for.
    pub(super) fn next(&mut self, reader: &mut dyn BufRead) -> Result<Option<Vec<u8>>, Lost> {
        let mut reader = (&mut self.ahead).chain(reader);
        let mut picture = Picture { reader: &mut reader, bytes: Vec::new() };
        let whole = picture.begin(std::mem::take(&mut self.astray)).and_then(|kind| match kind {
            None => Ok(false),
            Some(Kind::Jpeg) => picture.jpeg().map(|()| true),
            Some(Kind::Png) => picture.png().map(|()| true),
        });
        let bytes = picture.bytes;
        match whole {
            Ok(true) => Ok(Some(bytes)),
            Ok(false) => Ok(None),
            Err(lost) => {
                if matches!(lost, Lost::Damaged(_)) {
                    self.go_on_after(&bytes);
                }
                Err(lost)
            }
        }
    }

    /// Looks for the start of the next picture in the bytes of a damaged one.
    fn go_on_after(&mut self, bytes: &[u8]) {
        let next = (1..bytes.len()).find(|&at| starts(&bytes[at..]));
        match next.map(|at| &bytes[at..]).filter(|rest| rest.len() <= MAX_AHEAD) {
            None => self.astray = true,
            Some(rest) => {
                let unread = &self.ahead.get_ref()[self.ahead.position() as usize..];
                self.ahead = Cursor::new([rest, unread].concat());
            }
        }
    }
}

/// Whether a picture may begin with `bytes`, which may be cut short.
fn starts(bytes: &[u8]) -> bool {
    let cut = |signature: &[u8]| signature.starts_with(&bytes[..bytes.len().min(signature.len())]);
    cut(PNG) || cut(&[0xFF, 0xD8, 0xFF])
}

/// Kinds of picture.
enum Kind {
    Jpeg,
    Png,
}

/// A picture that is being read.
struct Picture<'a> {
    reader: &'a mut dyn BufRead,
    bytes: Vec<u8>,
}

impl Picture<'_> {
    /// Reads a signature; `None` at the end of the stream. If `astray`, it is searched.
    fn begin(&mut self, astray: bool) -> Result<Option<Kind>, Lost> {
        if astray && !self.search()? {
            return Ok(None);
        }
        // Some cameras fill up with zeros between two pictures.
        while self.bytes.is_empty() {
            match self.reader.fill_buf()?.first() {
                None => return Ok(None),
                Some(0) => self.reader.consume(1),
                Some(_) => self.read(2)?,
            }
        }
        if self.bytes == JPEG {
            return Ok(Some(Kind::Jpeg));
        }
        if self.bytes == PNG[..2] {
            self.read(PNG.len() as u64 - 2)?;
            if self.bytes == PNG {
                return Ok(Some(Kind::Png));
            }
        }
        Err(Lost::Damaged("is no JPEG or PNG picture"))
    }

    /// Reads up to the next signature, of which it keeps the first two bytes; false at the end of the stream.
    fn search(&mut self) -> Result<bool, Lost> {
        let mut before = 0;
        loop {
            let byte = match self.reader.fill_buf()? {
                [] => return Ok(false),
                buffer => buffer[0],
            };
            self.reader.consume(1);
            if [JPEG, &PNG[..2]].contains(&[before, byte].as_slice()) {
                self.bytes = vec![before, byte];
                return Ok(true);
            }
            before = byte;
        }
    }

    /// Reads `count` more bytes.
    fn read(&mut self, count: u64) -> Result<(), Lost> {
        if self.bytes.len() as u64 + count > MAX_BYTES {
            return Err(Lost::Damaged("is larger than 128 MiB"));
        }
        let read = (&mut *self.reader).take(count).read_to_end(&mut self.bytes)?;
        if (read as u64) < count { Err(Lost::Cut) } else { Ok(()) }
    }

    /// The last `count` bytes as a number, the most significant first.
    fn last(&self, count: usize) -> u64 {
        self.bytes[self.bytes.len() - count..].iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    /// Reads the segments of a JPEG after its start, to its end-of-image marker.
    fn jpeg(&mut self) -> Result<(), Lost> {
        loop {
            self.read(2)?;
            // FF may be repeated before a marker.
            while self.bytes.ends_with(&[0xFF, 0xFF]) {
                self.read(1)?;
            }
            if self.bytes[self.bytes.len() - 2] != 0xFF {
                return Err(Lost::Damaged("has no marker where one has to be"));
            }
            let mut marker = self.bytes[self.bytes.len() - 1];
            // Entropy-coded data follows a start of scan, up to a marker that is neither a stuffed zero nor a restart.
            while marker == 0xDA {
                self.segment()?;
                marker = self.scan()?;
            }
            match marker {
                0xD9 => return Ok(()),
                0xD8 => return Err(Lost::Damaged("breaks off before the next picture")),
                0x01 | 0xD0..=0xD7 => {}
                _ => self.segment()?,
            }
        }
    }

    /// Reads a segment: its length, which counts itself, and its content.
    fn segment(&mut self) -> Result<(), Lost> {
        self.read(2)?;
        let length = self.last(2).checked_sub(2).ok_or(Lost::Damaged("has a segment without a length"))?;
        self.read(length)
    }

    /// Reads the data of a scan, and the marker after it, which is returned.
    fn scan(&mut self) -> Result<u8, Lost> {
        loop {
            let room = MAX_BYTES.saturating_sub(self.bytes.len() as u64);
            (&mut *self.reader).take(room).read_until(0xFF, &mut self.bytes)?;
            if self.bytes.last() != Some(&0xFF) {
                return Err(if self.bytes.len() as u64 >= MAX_BYTES {
                    Lost::Damaged("is larger than 128 MiB")
                } else {
                    Lost::Cut
                });
            }
            self.read(1)?;
            while self.bytes.ends_with(&[0xFF, 0xFF]) {
                self.read(1)?;
            }
            match self.bytes[self.bytes.len() - 1] {
                0x00 | 0xD0..=0xD7 => {}
                marker => return Ok(marker),
            }
        }
    }

    /// Reads the chunks of a PNG after its signature, to IEND.
    fn png(&mut self) -> Result<(), Lost> {
        loop {
            self.read(8)?;
            let (length, kind) = (self.last(8) >> 32, self.last(4));
            if length > MAX_BYTES || kind.to_be_bytes()[4..].iter().any(|byte| !byte.is_ascii_alphabetic()) {
                return Err(Lost::Damaged("has no chunk where one has to be"));
            }
            self.read(length + 4)?;
            if kind == u64::from(u32::from_be_bytes(*b"IEND")) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat};

    use super::*;

    fn file(seed: u8, format: ImageFormat) -> Vec<u8> {
        let grey =
            image::GrayImage::from_fn(24, 16, |x, y| image::Luma([(x as u8 * 7) ^ (y as u8 * 3) ^ seed]));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::ImageLuma8(grey).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// What a splitter finds in `bytes`: pictures, and why there is none.
    fn split(bytes: &[u8]) -> Vec<Result<Vec<u8>, String>> {
        let (mut splitter, mut reader) = (Splitter::default(), bytes);
        let mut found = Vec::new();
        loop {
            match splitter.next(&mut reader) {
                Ok(None) => return found,
                Ok(Some(picture)) => found.push(Ok(picture)),
                Err(Lost::Damaged(why)) => found.push(Err(why.to_owned())),
                Err(lost) => {
                    found.push(Err(format!("{lost:?}")));
                    return found;
                }
            }
        }
    }

    #[test]
    fn pictures_are_taken_one_by_one() {
        let files = [
            file(1, ImageFormat::Jpeg),
            file(2, ImageFormat::Png),
            file(3, ImageFormat::Jpeg),
            file(4, ImageFormat::Jpeg),
        ];
        // Zeros may lie between two of them.
        let stream = [&files[0][..], &[0, 0, 0], &files[1], &files[2], &files[3]].concat();
        let found: Vec<Vec<u8>> = split(&stream).into_iter().map(Result::unwrap).collect();
        assert_eq!(found, files);
        assert_eq!(split(&[]), []);
    }

    #[test]
    fn a_damaged_picture_does_not_take_the_next_along() {
        let files = [file(1, ImageFormat::Jpeg), file(2, ImageFormat::Jpeg)];
        let png = file(3, ImageFormat::Png);
        // Half a picture, noise instead of one, a chunk that is none.
        let half = &files[0][..files[0].len() / 2];
        let broken = [&png[..20], &[0; 40], &files[1][..]].concat();
        // The chunk that breaks off reaches into the pictures after it.
        let half_png = &png[..png.len() - 30];
        for stream in [
            [half, &files[1]].concat(),
            [b"noise and noise".as_slice(), &files[1]].concat(),
            broken,
            [half_png, &png, &files[1]].concat(),
        ] {
            let found = split(&stream);
            assert_eq!(found.iter().filter(|picture| picture.is_err()).count(), 1, "{found:?}");
            assert_eq!(found.last().unwrap().as_ref().ok(), Some(&files[1]));
        }
        assert_eq!(split(&[half_png, &png, &files[1]].concat())[1], Ok(png));
        let cut = split(&[&files[0][..], &files[1][..50]].concat());
        assert_eq!((cut[0].is_ok(), cut[1].as_ref().unwrap_err().as_str()), (true, "Cut"));
    }

    /// Any bytes end, and give no picture that was not there.
    #[test]
    fn every_cut_is_noticed() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let whole = file(5, format);
            for length in 1..whole.len() {
                assert!(split(&whole[..length]).iter().all(Result::is_err), "{format:?} {length}");
            }
        }
    }
}
