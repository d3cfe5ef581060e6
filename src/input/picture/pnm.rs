//! Checks that a PNM file holds its samples and nothing else (netpbm's formats pbm, pgm, ppm and pam).
//!
//! The decoder treats a sample above the header's maximum as white, and stops after the first picture.

use image::ImageBuffer;

use super::pages::Pages;
use super::sample::Stored;

/// The header of one picture.
struct Header {
    kind: u8,
    width: u64,
    samples: u64,
    height: u64,
    largest: u64,
}

/// Refuses missing or out-of-range samples, and data after the last picture.
pub(super) fn check(bytes: &[u8]) -> Result<Pages, String> {
    let mut reader = Reader { bytes, at: 0 };
    let mut starts = Vec::new();
    loop {
        starts.push(reader.at);
        let header = reader.header()?;
        reader.samples(&header)?;
        let rest = &bytes[reader.at..];
        let space = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        match &rest[space..] {
            [] => break,
            [b'P', b'1'..=b'7', ..] => reader.at += space,
            rest => return Err(format!("{} bytes remain after the last sample", rest.len())),
        }
    }
    Ok(Pages { count: starts.len(), starts, animated: None })
}

/// The stored greys of a file that passed [`check`]; `None` for a bitmap, in which 1 is black, and for colours.
pub(super) fn greys(bytes: &[u8]) -> Option<Stored> {
    let mut reader = Reader { bytes, at: 0 };
    let header = reader.header().ok()?;
    if !matches!(header.kind, b'2' | b'5' | b'7') || header.samples != 1 {
        return None;
    }
    let (width, height) = (u32::try_from(header.width).ok()?, u32::try_from(header.height).ok()?);
    let count = usize::try_from(header.width.checked_mul(header.height)?).ok()?;
    let values: Vec<u16> = match (header.kind, header.largest > 255) {
        (b'2', _) => (0..count).map(|_| u16::try_from(reader.word().ok()?).ok()).collect::<Option<_>>()?,
        (_, false) => bytes.get(reader.at..)?.get(..count)?.iter().copied().map(u16::from).collect(),
        (_, true) => {
            let raster = bytes.get(reader.at..)?.get(..count.checked_mul(2)?)?;
            raster.as_chunks().0.iter().map(|b| u16::from_be_bytes(*b)).collect()
        }
    };
    // A maximum below 255 is often the last class.
    let white = u16::try_from(header.largest).ok().filter(|&largest| largest >= 255);
    Some(Stored { values: ImageBuffer::from_raw(width, height, values)?, white, lossy: false })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn header(&mut self) -> Result<Header, String> {
        let kind = self.bytes.get(self.at + 1).copied().ok_or("no header")?;
        self.at += 2;
        if kind == b'7' {
            return self.pam();
        }
        let [width, height] = [self.word()?, self.word()?];
        let largest = if matches!(kind, b'1' | b'4') { 1 } else { self.word()? };
        // One blank ends the header; `word` has consumed it.
        let samples = if matches!(kind, b'3' | b'6') { 3 } else { 1 };
        Ok(Header { kind, width, samples, height, largest })
    }

    /// Parses lines of a name and a value, up to ENDHDR.
    fn pam(&mut self) -> Result<Header, String> {
        let mut header = Header { kind: b'7', width: 0, samples: 0, height: 0, largest: 0 };
        loop {
            let rest = &self.bytes[self.at.min(self.bytes.len())..];
            let length = rest.iter().position(|&b| b == b'\n').ok_or("the header has no end")?;
            let line = String::from_utf8_lossy(&rest[..length]).into_owned();
            self.at += length + 1;
            let (name, value) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
            let value = value.trim().parse().unwrap_or(0);
            match name {
                "ENDHDR" => return Ok(header),
                "WIDTH" => header.width = value,
                "HEIGHT" => header.height = value,
                "DEPTH" => header.samples = value,
                "MAXVAL" => header.largest = value,
                _ => {}
            }
        }
    }

    /// A number and the blank after it; blanks and comments before it are skipped.
    fn word(&mut self) -> Result<u64, String> {
        loop {
            match self.bytes.get(self.at).ok_or("it ends too early")? {
                b'#' => {
                    let rest = &self.bytes[self.at..];
                    self.at += rest.iter().position(|&b| b == b'\n' || b == b'\r').unwrap_or(rest.len());
                }
                byte if byte.is_ascii_whitespace() || *byte == 0x0B => self.at += 1,
                _ => break,
            }
        }
        let digits = self.bytes[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let text = &self.bytes[self.at..self.at + digits];
        self.at = (self.at + digits + 1).min(self.bytes.len());
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| format!("no number at byte {}", self.at - 1 - digits))
    }

    fn samples(&mut self, header: &Header) -> Result<(), String> {
        let Header { kind, width, samples, height, largest } = *header;
        let total =
            width.checked_mul(samples).and_then(|n| n.checked_mul(height)).ok_or("a size of no use")?;
        let above = |value: u64| {
            if value > largest { Err(format!("a sample {value} above {largest}")) } else { Ok(()) }
        };
        match kind {
            b'1' => self.bits(total),
            b'2' | b'3' => (0..total).try_for_each(|_| above(self.word()?)),
            _ => {
                let wide = largest > 255;
                let length = match kind {
                    b'4' => width.div_ceil(8).checked_mul(height),
                    _ => total.checked_mul(1 + u64::from(wide)),
                };
                let length = usize::try_from(length.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
                let raster = self.bytes.get(self.at..).and_then(|rest| rest.get(..length));
                let raster = raster.ok_or("samples are missing")?;
                self.at += length;
                match (kind, wide) {
                    (b'4', _) => Ok(()),
                    (_, false) => above(raster.iter().copied().max().unwrap_or(0).into()),
                    (_, true) => {
                        let values = raster.as_chunks().0.iter().map(|b| u16::from_be_bytes(*b));
                        above(values.max().unwrap_or(0).into())
                    }
                }
            }
        }
    }

    /// Checks digits 0 and 1, optionally separated by blanks.
    fn bits(&mut self, total: u64) -> Result<(), String> {
        let mut found = 0;
        while found < total {
            match self.bytes.get(self.at).ok_or("samples are missing")? {
                b'0' | b'1' => found += 1,
                byte if byte.is_ascii_whitespace() || *byte == 0x0B => {}
                _ => return Err(format!("no sample at byte {}", self.at)),
            }
            self.at += 1;
        }
        Ok(())
    }
}
