//! The tables defined between the scans of a stream (ITU-T T.81, B.2.4).

use super::huffman::Table;

/// The tables in force at the start of a scan.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) dc: [Option<Table>; 4],
    pub(super) ac: [Option<Table>; 4],
    /// In zigzag order.
    pub(super) quantisers: [Option<[u16; 64]>; 4],
    /// MCUs between restart markers; 0 for none.
    pub(super) restart: usize,
}

impl Tables {
    /// Adds the tables of a DHT segment, B.2.4.2.
    pub(super) fn add_huffman(&mut self, mut segment: &[u8]) -> Result<(), String> {
        while let Some((&place, rest)) = segment.split_first() {
            let counts: &[u8; 16] = rest.first_chunk().ok_or("a Huffman table is cut short")?;
            let total = counts.iter().map(|&n| usize::from(n)).sum::<usize>();
            let symbols = rest.get(16..16 + total).filter(|s| s.len() <= 256);
            let symbols = symbols.ok_or("a Huffman table is cut short")?;
            let tables = match place >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(format!("a Huffman table of class {}", place >> 4)),
            };
            let slot = tables.get_mut(usize::from(place & 15));
            *slot.ok_or_else(|| format!("a Huffman table at place {}", place & 15))? =
                Some(Table::new(counts, symbols)?);
            segment = &rest[16 + total..];
        }
        Ok(())
    }

    /// Adds the tables of a DQT segment, B.2.4.1.
    pub(super) fn add_quantisers(&mut self, mut segment: &[u8]) -> Result<(), String> {
        while let Some((&place, rest)) = segment.split_first() {
            let width = match place >> 4 {
                0 => 1,
                1 => 2,
                n => return Err(format!("a quantisation table of precision {n}")),
            };
            let steps = rest.get(..64 * width).ok_or("a quantisation table is cut short")?;
            let mut table = [0; 64];
            for (step, bytes) in table.iter_mut().zip(steps.chunks_exact(width)) {
                *step = bytes.iter().fold(0, |value, &byte| value << 8 | u16::from(byte));
            }
            if table.contains(&0) {
                return Err("a quantisation table has a step of zero".into());
            }
            let slot = self.quantisers.get_mut(usize::from(place & 15));
            *slot.ok_or_else(|| format!("a quantisation table at place {}", place & 15))? = Some(table);
            segment = &rest[64 * width..];
        }
        Ok(())
    }
}
