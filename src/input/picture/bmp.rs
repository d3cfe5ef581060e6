//! Whether a BMP file codes every pixel, with a colour that its palette has.
//!
//! The decoder paints black what a run-length coded picture leaves out, and what has no colour. Uncompressed pixels of more
//! than 8 bits have nothing that could be checked but their number, which the decoder does.

/// What the headers say.
struct Header<'a> {
    width: usize,
    height: usize,
    bits: usize,
    compression: u32,
    /// Colours of the palette.
    colours: usize,
    raster: &'a [u8],
}

/// Refuses pixels that are not coded or have no colour.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let Some(header) = Header::of(bytes) else { return Err("it ends within its header".into()) };
    match (header.compression, header.bits) {
        (1, 8) | (2, 4) => header.runs(),
        (0, 1 | 2 | 4 | 8) => header.rows(),
        _ => Ok(()),
    }
}

impl Header<'_> {
    fn of(bytes: &[u8]) -> Option<Header<'_>> {
        let word = |at: usize| bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b));
        let half = |at: usize| bytes.get(at..)?.first_chunk().map(|b| usize::from(u16::from_le_bytes(*b)));
        let raster = bytes.get(word(10)? as usize..)?;
        let size = word(14)?;
        if size == 12 {
            let bits = half(24)?;
            // These files have no number of colours; the palette goes up to the pixels.
            let colours = (word(10)? as usize).saturating_sub(26) / 3;
            return Some(Header {
                width: half(18)?,
                height: half(20)?,
                bits,
                compression: 0,
                colours,
                raster,
            });
        }
        let (bits, compression) = (half(28)?, word(30)?);
        let colours = match word(46)? as usize {
            0 => 1usize.checked_shl(bits as u32).unwrap_or(0),
            colours => colours,
        };
        let [width, height] = [word(18)?, word(22)?].map(|v| (v as i32).unsigned_abs() as usize);
        Some(Header { width, height, bits, compression, colours, raster })
    }

    fn colour(&self, index: usize) -> Result<(), String> {
        if index < self.colours {
            return Ok(());
        }
        Err(format!("a pixel of colour {index} in a palette of {}", self.colours))
    }

    /// Uncompressed indices.
    fn rows(&self) -> Result<(), String> {
        let stride = (self.width * self.bits).div_ceil(32) * 4;
        if self.raster.len() < stride.saturating_mul(self.height) {
            return Err("pixels are missing".into());
        }
        if self.colours >= 1 << self.bits {
            return Ok(());
        }
        let mask = (1 << self.bits) - 1;
        for row in self.raster.chunks_exact(stride.max(1)).take(self.height) {
            for column in 0..self.width {
                let at = column * self.bits;
                self.colour((usize::from(row[at / 8]) >> (8 - self.bits - at % 8)) & mask)?;
            }
        }
        Ok(())
    }

    /// Run-length coded indices: each row in full.
    fn runs(&self) -> Result<(), String> {
        let mut bytes = self.raster.iter().map(|&byte| usize::from(byte));
        let mut next = || bytes.next().ok_or("pixels are missing");
        let (mut column, mut row) = (0, 0);
        let per_byte = 8 / self.bits;
        loop {
            let (count, value) = (next()?, next()?);
            match (count, value) {
                (0, 0 | 1) => {
                    // An end of row after the last one is common.
                    if column == self.width {
                        (column, row) = (0, row + 1);
                    }
                    if column > 0 || (value == 1 && row < self.height) {
                        return Err(format!("pixels of row {} are missing", row + 1));
                    }
                    if value == 1 {
                        return Ok(());
                    }
                }
                (0, 2) => return Err("it leaves out pixels, whose colour cannot be known".into()),
                (0, count) => {
                    let length = count.div_ceil(per_byte);
                    for at in 0..length {
                        let byte = next()?;
                        for part in 0..per_byte.min(count - at * per_byte) {
                            self.colour((byte >> (8 - self.bits * (part + 1))) & ((1 << self.bits) - 1))?;
                        }
                    }
                    if length % 2 == 1 {
                        next()?;
                    }
                    column += count;
                }
                (_, value) => {
                    for part in 0..per_byte.min(count) {
                        self.colour((value >> (8 - self.bits * (part + 1))) & ((1 << self.bits) - 1))?;
                    }
                    column += count;
                }
            }
            if column > self.width || row > self.height || (column > 0 && row == self.height) {
                return Err("more pixels than its size says".into());
            }
        }
    }
}
