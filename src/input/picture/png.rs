//! Checks that a PNG file is complete: every checksum, every chunk, every row (ISO/IEC 15948).
//!
//! The decoder skips an ancillary chunk with a wrong checksum (the EXIF orientation is in one), and treats pixels
//! beyond the palette as black.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::pages::Pages;

const SIGNATURE: usize = 8;

/// Samples per pixel, indexed by colour type (11.2.2).
const SAMPLES: [Option<u64>; 7] = [Some(1), None, Some(3), Some(1), Some(2), None, Some(4)];

/// Adam7 (8.2): first column and row of each pass, and the steps between them.
const PASSES: [[u64; 4]; 7] =
    [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

/// The header's fields that determine the rows.
struct Header {
    width: u64,
    height: u64,
    bits: u64,
    indexed: bool,
    depth: u64,
    interlaced: bool,
}

/// Refuses a file with missing or changed data.
pub(super) fn check(bytes: &[u8]) -> Result<Pages, String> {
    let mut at = SIGNATURE;
    let mut header: Option<Header> = None;
    let (mut palette, mut announced, mut controls, mut before) = (None, None, 0, 0);
    let mut pixels: Option<Rows> = None;
    let mut last = [0; 4];
    loop {
        let (kind, content) = chunk(bytes, &mut at)?;
        if header.is_none() != (kind == *b"IHDR") {
            return Err("the header is not first".into());
        }
        match &kind {
            b"IHDR" => header = Some(Header::new(content)?),
            b"PLTE" => palette = Some(content.len() / 3),
            b"acTL" => announced = content.first_chunk().map(|n| u32::from_be_bytes(*n) as usize),
            b"fcTL" => controls += 1,
            b"IDAT" => {
                if pixels.is_none() {
                    before = usize::from(controls == 0);
                    pixels = header.as_ref().map(Rows::new);
                } else if last != *b"IDAT" {
                    return Err("the pixels are in two parts".into());
                }
                pixels.as_mut().map_or(Ok(()), |rows| rows.add(content))?;
            }
            b"IEND" => break,
            _ if kind[0].is_ascii_uppercase() => {
                return Err(format!("a chunk {} that is not known", kind.escape_ascii()));
            }
            _ => {}
        }
        last = kind;
    }
    let rows = pixels.ok_or("no pixels")?;
    rows.end()?;
    if let (Some(header), Some(entries)) = (&header, palette)
        && header.indexed
        && entries < 1 << header.depth
    {
        indices_below(bytes, header, entries)?;
    }
    match announced {
        Some(frames) if frames != controls => Err(format!("{frames} frames announced but {controls} found")),
        Some(frames) => Ok(Pages { count: frames + before, animated: Some(before), ..Pages::ONE }),
        None => Ok(Pages::ONE),
    }
}

/// Type and content of the chunk at `at`, which advances to the next.
fn chunk<'a>(bytes: &'a [u8], at: &mut usize) -> Result<([u8; 4], &'a [u8]), String> {
    let start = *at;
    let cut = || format!("it ends within the chunk at byte {start}");
    let rest = bytes.get(start..).ok_or_else(cut)?;
    let length = u32::from_be_bytes(*rest.first_chunk().ok_or_else(cut)?) as usize;
    let body = rest.get(4..8 + length).ok_or_else(cut)?;
    let sum = rest.get(8 + length..12 + length).ok_or_else(cut)?;
    let mut crc = Crc::new();
    crc.update(body);
    if crc.sum().to_be_bytes() != sum {
        return Err(format!("the checksum of the chunk at byte {start} is wrong"));
    }
    *at = start + 12 + length;
    Ok(([body[0], body[1], body[2], body[3]], &body[4..]))
}

impl Header {
    fn new(content: &[u8]) -> Result<Header, String> {
        let &[w0, w1, w2, w3, h0, h1, h2, h3, depth, colour, 0, 0, interlace @ (0 | 1)] = content else {
            return Err("the header is wrong".into());
        };
        let samples =
            SAMPLES.get(usize::from(colour)).copied().flatten().ok_or("a colour type that is not known")?;
        Ok(Header {
            width: u32::from_be_bytes([w0, w1, w2, w3]).into(),
            height: u32::from_be_bytes([h0, h1, h2, h3]).into(),
            bits: samples * u64::from(depth),
            indexed: colour == 3,
            depth: depth.into(),
            interlaced: interlace == 1,
        })
    }
}

/// The rows of a picture, counted as the inflater produces them.
struct Rows {
    inflate: Decompress,
    /// For each remaining pass, in reverse order: bytes per row with its filter byte, and number of rows.
    passes: Vec<(u64, u64)>,
    /// Bytes remaining in the current row.
    left: u64,
    ended: bool,
    buffer: Vec<u8>,
}

impl Rows {
    fn new(header: &Header) -> Rows {
        let whole = [[0, 0, 1, 1]];
        let passes: &[[u64; 4]] = if header.interlaced { &PASSES } else { &whole };
        let size = |&[left, top, across, down]: &[u64; 4]| {
            let columns = header.width.saturating_sub(left).div_ceil(across);
            let rows = header.height.saturating_sub(top).div_ceil(down);
            (1 + (columns * header.bits).div_ceil(8), if columns == 0 { 0 } else { rows })
        };
        let passes = passes.iter().map(size).filter(|&(_, rows)| rows > 0).rev().collect();
        Rows { inflate: Decompress::new(true), passes, left: 0, ended: false, buffer: vec![0; 1 << 16] }
    }

    /// Inflates the content of a chunk.
    fn add(&mut self, content: &[u8]) -> Result<(), String> {
        let start = self.inflate.total_in();
        loop {
            let used = (self.inflate.total_in() - start) as usize;
            if self.ended {
                return if used == content.len() { Ok(()) } else { Err("data after the last row".into()) };
            }
            let produced = self.inflate.total_out();
            let mut buffer = std::mem::take(&mut self.buffer);
            let status = self.inflate.decompress(&content[used..], &mut buffer, FlushDecompress::None);
            let status = status.map_err(|e| format!("the compressed rows are wrong: {e}"))?;
            let found = (self.inflate.total_out() - produced) as usize;
            self.rows(&buffer[..found])?;
            self.buffer = buffer;
            self.ended = status == Status::StreamEnd;
            let stuck = found == 0 && (self.inflate.total_in() - start) as usize == used;
            if !self.ended && stuck {
                return if used == content.len() {
                    Ok(())
                } else {
                    Err("the compressed rows are wrong".into())
                };
            }
        }
    }

    /// Counts rows, and checks the filter type at the start of each (9.2).
    fn rows(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some(&first) = bytes.first() {
            if self.left == 0 {
                let (length, rows) = self.passes.last_mut().ok_or("more rows than the header says")?;
                if first > 4 {
                    return Err(format!("a row with the filter {first}"));
                }
                self.left = *length;
                *rows -= 1;
                if *rows == 0 {
                    self.passes.pop();
                }
            }
            let taken = self.left.min(bytes.len() as u64);
            self.left -= taken;
            bytes = &bytes[taken as usize..];
        }
        Ok(())
    }

    fn end(&self) -> Result<(), String> {
        let missing = self.left > 0 || !self.passes.is_empty();
        match (missing, self.ended) {
            (true, _) => Err("rows are missing".into()),
            (false, false) => Err("the compressed rows have no end".into()),
            (false, true) => Ok(()),
        }
    }
}

/// Refuses a pixel whose index is not in the palette.
fn indices_below(bytes: &[u8], header: &Header, entries: usize) -> Result<(), String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let mut packed = vec![0; reader.output_buffer_size().unwrap_or_default()];
    let frame = reader.next_frame(&mut packed).map_err(|e| e.to_string())?;
    let bits = header.depth as usize;
    for row in packed.chunks_exact(frame.line_size.max(1)).take(frame.height as usize) {
        for column in 0..frame.width as usize {
            let at = column * bits;
            let index = (row[at / 8] >> (8 - bits - at % 8)) & (0xFF_u16 >> (8 - bits)) as u8;
            if usize::from(index) >= entries {
                return Err(format!("a pixel of colour {index} in a palette of {entries}"));
            }
        }
    }
    Ok(())
}
