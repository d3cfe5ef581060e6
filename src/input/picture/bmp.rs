//! Checks that a BMP file codes every pixel, with a colour in its palette.
//!
//! The decoder fills pixels that a run-length coded picture omits, and those without a colour, with black. For
//! uncompressed pixels of more than 8 bits only their number can be checked, which the decoder does.

/// The fields of the headers.
struct Header<'a> {
    width: usize,
    height: usize,
    bits: usize,
    compression: u32,
    /// Number of colours in the palette.
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
            // These headers do not give the number of colours; the palette extends to the pixels.
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

    /// Checks uncompressed indices.
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

    /// Checks run-length coded indices: each row must be complete.
    fn runs(&self) -> Result<(), String> {
        let mut bytes = self.raster.iter().map(|&byte| usize::from(byte));
        let mut next = || bytes.next().ok_or("pixels are missing");
        let (mut column, mut row) = (0, 0);
        let per_byte = 8 / self.bits;
        loop {
            let (count, value) = (next()?, next()?);
            match (count, value) {
                (0, 0 | 1) => {
                    // An end-of-row code after the last row is common.
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
