//! Checks that a GIF file codes every pixel of its frames and ends with its trailer (GIF89a).

use weezl::decode::{Configuration, Decoder};
use weezl::{BitOrder, LzwStatus};

use super::pages::Pages;

/// Refuses frames with missing or surplus pixels or outside the screen, and a file without a trailer.
pub(super) fn check(bytes: &[u8]) -> Result<Pages, String> {
    let mut reader = Reader { bytes, at: 6 };
    let &[w0, w1, h0, h1, flags, _, _] = reader.take(7)? else { return Err("no header".into()) };
    let screen = [u16::from_le_bytes([w0, w1]), u16::from_le_bytes([h0, h1])];
    let global = reader.palette(flags)?;
    let mut frames = 0;
    loop {
        match reader.take(1)? {
            [0x3B] => break,
            [0x21] => {
                reader.take(1)?;
                while !reader.block()?.is_empty() {}
            }
            [0x2C] => {
                frames += 1;
                reader.frame(screen, global).map_err(|e| format!("frame {frames}: {e}"))?;
            }
            _ => return Err(format!("no block begins at byte {}", reader.at - 1)),
        }
    }
    if frames == 0 {
        return Err("no frame".into());
    }
    Ok(Pages { count: frames, animated: Some(0), ..Pages::ONE })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let taken = self.bytes.get(self.at..self.at + length).ok_or("it ends before its trailer")?;
        self.at += length;
        Ok(taken)
    }

    /// A sub-block; an empty one ends the sequence.
    fn block(&mut self) -> Result<&'a [u8], String> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    /// Number of colours in the table that these flags announce, which is skipped; `None` if they announce none.
    fn palette(&mut self, flags: u8) -> Result<Option<usize>, String> {
        if flags & 0x80 == 0 {
            return Ok(None);
        }
        let colours = 2 << (flags & 7);
        self.take(3 * colours).map(|_| Some(colours))
    }

    fn frame(&mut self, screen: [u16; 2], global: Option<usize>) -> Result<(), String> {
        let &[x0, x1, y0, y1, w0, w1, h0, h1, flags] = self.take(9)? else { return Err("no header".into()) };
        let [left, top, width, height] = [[x0, x1], [y0, y1], [w0, w1], [h0, h1]].map(u16::from_le_bytes);
        let within =
            |from: u16, size: u16, all: u16| size > 0 && u32::from(from) + u32::from(size) <= all.into();
        if !within(left, width, screen[0]) || !within(top, height, screen[1]) {
            return Err("it lies outside of the picture".into());
        }
        let colours = self.palette(flags)?.or(global).ok_or("it has no colours")?;
        let size = self.take(1)?[0];
        if !(2..=8).contains(&size) {
            return Err(format!("a code size of {size}"));
        }
        let mut pixels = Pixels {
            decoder: Configuration::new(BitOrder::Lsb, size).build(),
            left: usize::from(width) * usize::from(height),
            colours,
            buffer: vec![0; 1 << 15],
        };
        loop {
            let block = self.block()?;
            if block.is_empty() {
                return if pixels.left == 0 {
                    Ok(())
                } else {
                    Err(format!("{} pixels are missing", pixels.left))
                };
            }
            pixels.add(block)?;
        }
    }
}

/// The pixels of a frame, counted as the LZW decoder produces them.
struct Pixels {
    decoder: Decoder,
    left: usize,
    colours: usize,
    buffer: Vec<u8>,
}

impl Pixels {
    fn add(&mut self, mut block: &[u8]) -> Result<(), String> {
        while !block.is_empty() {
            if self.decoder.has_ended() {
                return Err("data after its last pixel".into());
            }
            let result = self.decoder.decode_bytes(block, &mut self.buffer);
            let found = &self.buffer[..result.consumed_out];
            if let Some(&index) = found.iter().find(|&&index| usize::from(index) >= self.colours) {
                return Err(format!("a pixel of colour {index} in a palette of {}", self.colours));
            }
            self.left = self.left.checked_sub(found.len()).ok_or("more pixels than its size says")?;
            block = &block[result.consumed_in..];
            match result.status {
                Ok(LzwStatus::Ok | LzwStatus::Done) => {}
                Ok(LzwStatus::NoProgress) => return Ok(()),
                Err(e) => return Err(format!("its pixels cannot be decoded: {e}")),
            }
        }
        Ok(())
    }
}
