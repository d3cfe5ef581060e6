//! Huffman tables (ITU-T T.81, B.2.4.2 and annex C).

/// Codes up to this length are decoded in a single lookup.
pub(super) const FAST_BITS: u32 = 9;

/// A Huffman table; bits that match no entry are not a code.
#[derive(Clone)]
pub(super) struct Table {
    /// Length and symbol of the code at the start of these bits; length 0 if the code is longer.
    fast: Box<[(u8, u8)]>,
    /// For each length, the first value above the codes of this length, shifted to 16 bits.
    past: [u32; 17],
    /// For each length, index of the first symbol minus the first code.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// Builds a table from the number of codes of each length 1 to 16, and their symbols.
    ///
    /// # Errors
    /// If there are more codes of a length than its bits allow.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Table, String> {
        let mut table = Table {
            fast: vec![(0, 0); 1 << FAST_BITS].into(),
            past: [0; 17],
            offset: [0; 17],
            symbols: symbols.into(),
        };
        let (mut code, mut index) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(counts) {
            code <<= 1;
            table.offset[length as usize] = index as i32 - code as i32;
            if code + u32::from(count) > 1 << length {
                return Err(format!("a Huffman table has more than 2^{length} codes of {length} bits"));
            }
            for &symbol in &symbols[index..index + usize::from(count)] {
                if length <= FAST_BITS {
                    let spread = FAST_BITS - length;
                    let first = (code << spread) as usize;
                    table.fast[first..first + (1 << spread)].fill((length as u8, symbol));
                }
                code += 1;
            }
            index += usize::from(count);
            table.past[length as usize] = code << (16 - length);
        }
        Ok(table)
    }

    /// Length and symbol for the next [`FAST_BITS`] bits; length 0 if the code is longer.
    pub(super) fn fast(&self, bits: usize) -> (u32, u8) {
        let (length, symbol) = self.fast[bits];
        (length.into(), symbol)
    }

    /// Length and symbol for the next 16 bits, for codes longer than [`FAST_BITS`].
    pub(super) fn slow(&self, bits: u32) -> Option<(u32, u8)> {
        let length = (FAST_BITS + 1..=16).find(|&n| bits < self.past[n as usize])?;
        let index = (bits >> (16 - length)) as i32 + self.offset[length as usize];
        self.symbols.get(usize::try_from(index).ok()?).map(|&symbol| (length, symbol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The luminance DC table of T.81, table K.3, with the code words printed there.
    #[test]
    fn codes_are_those_of_table_k_3() {
        let counts = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
        let table = Table::new(&counts, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]).unwrap();
        let printed = ["00", "010", "011", "100", "101", "110", "1110", "11110", "111110", "1111110"];
        for (symbol, code) in printed.iter().enumerate() {
            let bits = usize::from_str_radix(code, 2).unwrap() << (9 - code.len());
            assert_eq!(table.fast(bits), (code.len() as u32, symbol as u8));
        }
        assert_eq!(table.fast(0b1_1111_1110), (9, 11));
        assert_eq!(table.fast(0b1_1111_1111), (0, 0));
        assert_eq!(table.slow(0xFFFF), None);
    }

    #[test]
    fn long_codes_and_too_many_codes() {
        let mut counts = [0; 16];
        (counts[0], counts[15]) = (1, 2);
        let table = Table::new(&counts, &[7, 8, 9]).unwrap();
        assert_eq!(
            (table.slow(0x8000), table.slow(0x8001), table.slow(0x8002)),
            (Some((16, 8)), Some((16, 9)), None)
        );
        counts[0] = 3;
        assert!(Table::new(&counts, &[1, 2, 3, 4, 5]).is_err());
    }
}
