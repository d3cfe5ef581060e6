//! Reads the bits of entropy-coded data (ITU-T T.81, B.1.1.5 and F.2.2); nothing is inserted where the data ends.

use super::huffman::{FAST_BITS, Table};

/// Why coded data cannot have been written by an encoder.
pub(super) type Fault = &'static str;

pub(super) const ENDED: Fault = "the coded data ends";

/// Bit reader for coded data up to the next marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Index of the first byte that is not yet in `window`.
    at: usize,
    /// The next bits, most significant first; the bits after the first `count` are zero.
    window: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Bits<'a> {
        Bits { bytes, at, window: 0, count: 0 }
    }

    /// Fills the window with bytes until it is full or a marker follows.
    fn fill(&mut self) {
        while self.count <= 56 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            if byte == 0xFF {
                // FF 00 stands for FF; anything else is a marker, or fill bytes before one.
                if self.bytes.get(self.at + 1) != Some(&0) {
                    return;
                }
                self.at += 1;
            }
            self.at += 1;
            self.window |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    fn consume(&mut self, bits: u32) -> Result<(), Fault> {
        if bits > self.count {
            return Err(ENDED);
        }
        self.window <<= bits;
        self.count -= bits;
        Ok(())
    }

    /// The next `bits` bits (at most 16) as a number.
    pub(super) fn take(&mut self, bits: u32) -> Result<u32, Fault> {
        if self.count < bits {
            self.fill();
        }
        // Two shifts, because a single shift by 64 would overflow.
        let value = (self.window >> 1 >> (63 - bits)) as u32;
        self.consume(bits)?;
        Ok(value)
    }

    /// A signed number of `bits` bits (F.2.2.1, RECEIVE and EXTEND).
    pub(super) fn signed(&mut self, bits: u32) -> Result<i32, Fault> {
        if bits == 0 {
            return Ok(0);
        }
        let value = self.take(bits)? as i32;
        Ok(if value >> (bits - 1) == 0 { value - (1 << bits) + 1 } else { value })
    }

    /// The next Huffman symbol.
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, Fault> {
        if self.count < 16 {
            self.fill();
        }
        let (length, symbol) = match table.fast((self.window >> (64 - FAST_BITS)) as usize) {
            (0, _) => match table.slow((self.window >> 48) as u32) {
                Some(found) => found,
                None if self.count < 16 => return Err(ENDED),
                None => return Err("a code is not in the Huffman table"),
            },
            found => found,
        };
        self.consume(length)?;
        Ok(symbol)
    }

    /// Index of the marker after this data. Only the padding of the last byte may remain: ones (F.1.2.3), or zeros as
    /// written by some encoders.
    pub(super) fn end(mut self) -> Result<usize, Fault> {
        self.fill();
        if self.count >= 8 {
            return Err("coded data remains");
        }
        let padding = self.window.leading_ones().max(self.window.leading_zeros());
        if padding < self.count {
            return Err("coded data remains in the last byte");
        }
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_end_where_the_marker_is() {
        let mut bits = Bits::new(&[0b1010_0110, 0xFF, 0x00, 0xFF, 0xD9], 0);
        assert_eq!((bits.take(3), bits.take(5), bits.take(8)), (Ok(5), Ok(6), Ok(0xFF)));
        assert_eq!(bits.take(0), Ok(0));
        assert_eq!(bits.take(1), Err(ENDED));
        assert_eq!(bits.end(), Ok(3));
    }

    #[test]
    fn numbers_are_extended_as_in_table_f_1() {
        // Difference categories 1, 2 and 3: the smallest and the largest value of each.
        let mut bits = Bits::new(&[0b0100_1100, 0b0111_1111], 0);
        let found: Vec<_> = [1, 1, 2, 2, 3, 3].map(|n| bits.signed(n).unwrap()).into();
        assert_eq!(found, [-1, 1, -3, 3, -7, 7]);
    }

    #[test]
    fn padding_is_ones_or_zeros_and_no_more_than_a_byte() {
        for (byte, rest, ends) in
            [(0b1011_1111, 6, true), (0b1000_0000, 6, true), (0b1011_0111, 6, false), (0xFF, 8, false)]
        {
            let bytes = [byte, 0xFF, 0xD9];
            let bytes = if byte == 0xFF { &[0x7F, 0xFF, 0xD9] } else { &bytes };
            let mut bits = Bits::new(bytes, 0);
            bits.take(8 - rest).unwrap();
            assert_eq!(bits.end().is_ok(), ends, "{byte:08b}");
        }
    }
}
