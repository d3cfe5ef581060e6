//! Takes one JPEG or PNG file after the other from a stream of them: Motion JPEG, as cameras and `ffmpeg -f mjpeg` write it,
//! and `ffmpeg -f image2pipe -c:v png`.
//!
//! Only the framing is read here (ITU-T T.81 annex B; PNG, third edition, section 5), so that one damaged picture does
//! not end the stream: the next one begins at the next signature.

use std::io::{self, BufRead, Cursor, Read};
use std::sync::OnceLock;

/// Maximum size of one picture, in bytes.
const MAX_BYTES: u64 = 128 << 20;

/// At most so much of a damaged picture is looked at again for the next one.
const MAX_AHEAD: usize = 4 << 20;

/// A chunk of PNG is read in pieces of so many bytes.
const PIECE: u64 = 64 << 10;

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
    /// The last byte that was read, where a signature is to be searched since what came was none.
    astray: Option<u8>,
}

impl Splitter {
    /// The bytes of the next picture; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`Lost`]; after [`Lost::Damaged`] the next picture may be asked for.
    pub(super) fn next(&mut self, reader: &mut dyn BufRead) -> Result<Option<Vec<u8>>, Lost> {
        let mut reader = (&mut self.ahead).chain(reader);
        let mut picture = Picture { reader: &mut reader, bytes: Vec::new(), sound: 0 };
        let whole = picture.begin(self.astray.take()).and_then(|kind| match kind {
            None => Ok(false),
            Some(Kind::Jpeg) => picture.jpeg().map(|()| true),
            Some(Kind::Png) => picture.png().map(|()| true),
        });
        let Picture { bytes, sound, .. } = picture;
        match whole {
            Ok(true) => Ok(Some(bytes)),
            Ok(false) => Ok(None),
            Err(lost) => {
                if matches!(lost, Lost::Damaged(_)) {
                    self.go_on_after(&bytes, sound);
                }
                Err(lost)
            }
        }
    }

    /// Looks for the start of the next picture in the bytes of a damaged one, of which the first `sound` are its own: a
    /// thumbnail in them is no picture of the stream.
    fn go_on_after(&mut self, bytes: &[u8], sound: usize) {
        let from = sound.max(1).max(bytes.len().saturating_sub(MAX_AHEAD));
        match (from..bytes.len()).find(|&at| starts(&bytes[at..])) {
            None => self.astray = bytes.last().copied(),
            Some(at) => {
                let unread = &self.ahead.get_ref()[self.ahead.position() as usize..];
                self.ahead = Cursor::new([&bytes[at..], unread].concat());
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
    /// The start of the last segment or chunk: its length may be what is wrong, and those before it are whole.
    sound: usize,
}

impl Picture<'_> {
    /// Reads a signature; `None` at the end of the stream. After the byte `astray` it is searched.
    fn begin(&mut self, astray: Option<u8>) -> Result<Option<Kind>, Lost> {
        if let Some(before) = astray
            && !self.search(before)?
        {
            return Ok(None);
        }
        // Some cameras fill up with zeros between two pictures, and FF may be repeated before a marker.
        while self.bytes.is_empty() {
            match self.reader.fill_buf()?.first() {
                None => return Ok(None),
                Some(0) => self.reader.consume(1),
                Some(_) => self.read(2)?,
            }
        }
        while self.bytes == [0xFF, 0xFF] {
            self.bytes.pop();
            self.read(1)?;
        }
        if self.bytes == JPEG && matches!(self.reader.fill_buf()?.first(), None | Some(0xFF)) {
            return Ok(Some(Kind::Jpeg));
        }
        if self.bytes == PNG[..2] {
            self.read(PNG.len() as u64 - 2)?;
            if self.bytes == PNG {
                return Ok(Some(Kind::Png));
            }
        }
        self.sound = self.bytes.len();
        Err(Lost::Damaged("is no JPEG or PNG picture"))
    }

    /// Reads up to the next signature, of which it keeps the first two bytes; false at the end of the stream.
    fn search(&mut self, mut before: u8) -> Result<bool, Lost> {
        loop {
            let byte = match self.reader.fill_buf()? {
                [] => return Ok(false),
                buffer => buffer[0],
            };
            self.reader.consume(1);
            let third = match [before, byte] {
                [0xFF, 0xD8] => Some(0xFF),
                [0x89, b'P'] => Some(b'N'),
                _ => None,
            };
            if third.is_some() && self.reader.fill_buf()?.first() == third.as_ref() {
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

    /// Reads the segments of a JPEG after its start, to its end-of-image marker. If it brings no Huffman tables, as that of
    /// many cameras, it gets the usual ones.
    fn jpeg(&mut self) -> Result<(), Lost> {
        let mut tables = false;
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
            if marker == 0xDA && !tables {
                let at = self.bytes.len() - 2;
                self.bytes.splice(at..at, usual_tables().iter().copied());
            }
            tables |= matches!(marker, 0xC4 | 0xDA);
            // Entropy-coded data follows a start of scan, up to a marker that is neither a stuffed zero nor a restart.
            while marker == 0xDA {
                self.segment()?;
                marker = self.scan()?;
                tables |= marker == 0xC4;
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
        self.sound = self.bytes.len();
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
            let start = self.bytes.len();
            self.read(8)?;
            let (length, kind) = (self.last(8) >> 32, self.last(4));
            if length > MAX_BYTES || kind.to_be_bytes()[4..].iter().any(|byte| !byte.is_ascii_alphabetic()) {
                return Err(Lost::Damaged("has no chunk where one has to be"));
            }
            self.sound = start;
            self.chunk(length + 4)?;
            if kind == u64::from(u32::from_be_bytes(*b"IEND")) {
                return Ok(());
            }
        }
    }

    /// Reads a chunk of `length` bytes in pieces: one whose length is wrong must not take the pictures after it along.
    fn chunk(&mut self, mut length: u64) -> Result<(), Lost> {
        while length > 0 {
            let piece = length.min(PIECE);
            let from = self.bytes.len().saturating_sub(PNG.len() - 1).max(self.sound);
            let read = self.read(piece);
            if self.bytes[from..].windows(PNG.len()).any(|window| window == PNG) {
                return Err(Lost::Damaged("breaks off before the next picture"));
            }
            read?;
            length -= piece;
        }
        Ok(())
    }
}

/// The Huffman tables of ITU-T T.81, annex K.3, as segments, which Motion JPEG leaves out: those that an encoder writes.
fn usual_tables() -> &'static [u8] {
    static TABLES: OnceLock<Vec<u8>> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut file = Vec::new();
        let colour = image::RgbImage::new(8, 8);
        // Writing to memory does not fail; without tables the picture is refused as it is.
        let _ = image::codecs::jpeg::JpegEncoder::new(&mut file).encode_image(&colour);
        let mut tables = Vec::new();
        let mut at = 2;
        while let Some(&[0xFF, marker, high, low]) = file.get(at..at + 4) {
            let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
            match marker {
                0xC4 => tables.extend_from_slice(file.get(at..end).unwrap_or_default()),
                0xDA => break,
                _ => {}
            }
            at = end;
        }
        tables
    })
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

    /// A thumbnail within a damaged picture is not taken for one; neither are bytes between pictures for many.
    #[test]
    fn what_lies_within_or_between_pictures_is_no_picture() {
        let (first, second) = (file(1, ImageFormat::Jpeg), file(2, ImageFormat::Jpeg));
        let thumbnail = [&[0xFF, 0xE1][..], &((second.len() + 2) as u16).to_be_bytes(), &second].concat();
        let with = [&first[..2], &thumbnail, &first[2..]].concat();
        assert_eq!(split(&with), [Ok(with.clone())]);
        let found = split(&[&with[..with.len() - 20], &first].concat());
        assert_eq!((found.len(), found[0].is_err(), &found[1]), (2, true, &Ok(first.clone())));
        let found = split(
            &[&first[..], &[0xFF; 20], &second, &b"\xff\xd8\x89P noise \xff".repeat(50), &first].concat(),
        );
        assert_eq!(found.iter().filter(|picture| picture.is_err()).count(), 1, "{found:?}");
        assert_eq!((&found[0], &found[1], &found[3]), (&Ok(first.clone()), &Ok(second), &Ok(first)));
    }

    /// The length of a chunk is wrong by millions.
    #[test]
    fn a_wrong_length_does_not_take_others_along() {
        let png = file(1, ImageFormat::Png);
        let mut wrong = png.clone();
        let data = wrong.windows(4).position(|window| window == b"IDAT").unwrap();
        wrong[data - 3] = 0x70;
        let found = split(&[&wrong[..], &png, &png].concat());
        assert_eq!(
            (found.len(), found[0].is_err(), &found[1], &found[2]),
            (3, true, &Ok(png.clone()), &Ok(png))
        );
    }

    /// Cameras leave the usual tables out.
    #[test]
    fn tables_that_are_missing_are_the_usual_ones() {
        let whole = file(1, ImageFormat::Jpeg);
        let (mut bare, mut at) = (whole[..2].to_vec(), 2);
        loop {
            let end = at + 2 + usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
            if whole[at + 1] == 0xDA {
                break;
            }
            if whole[at + 1] != 0xC4 {
                bare.extend(&whole[at..end]);
            }
            at = end;
        }
        bare.extend(&whole[at..]);
        assert!(bare.len() + 100 < whole.len() && image::load_from_memory(&bare).is_err());
        let found = split(&[&bare[..], &bare].concat());
        assert_eq!(found.len(), 2);
        let pixels = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().into_luma8();
        assert_eq!(pixels(found[0].as_ref().unwrap()), pixels(&whole));
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
