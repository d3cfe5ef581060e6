//! Reads the bits of a packet header and the tag trees in them (ISO/IEC 15444-1, B.10).

/// A bit reader, most significant bit first; the byte after 0xFF has only seven bits.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    left: u32,
    byte: u8,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, at: 0, left: 0, byte: 0 }
    }

    /// The next bit; `None` at the end.
    pub(super) fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            self.left = if self.byte == 0xFF { 7 } else { 8 };
            self.byte = *self.bytes.get(self.at)?;
            self.at += 1;
        }
        self.left -= 1;
        Some(u32::from(self.byte >> self.left) & 1)
    }

    /// The next `count` bits, up to 32.
    pub(super) fn number(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |number, _| Some(number << 1 | self.bit()?))
    }

    /// Ends the header and returns its length in bytes.
    pub(super) fn end(self) -> Option<usize> {
        // A header does not end with 0xFF: a stuffed byte follows.
        let stuffed = usize::from(self.byte == 0xFF);
        (self.at + stuffed <= self.bytes.len()).then_some(self.at + stuffed)
    }
}

/// A tag tree: each node holds the minimum of the nodes below it (B.10.2).
pub(super) struct TagTree {
    /// Width and index of the first node of each level, leaves first.
    levels: Vec<(usize, usize)>,
    nodes: Vec<Node>,
}

#[derive(Clone, Copy)]
struct Node {
    /// Lower bound of the value.
    low: u32,
    known: bool,
}

impl TagTree {
    pub(super) fn new(width: usize, height: usize) -> TagTree {
        let mut levels = Vec::new();
        let mut count = 0;
        let [mut w, mut h] = [width, height];
        loop {
            levels.push((w, count));
            count += w * h;
            if w * h <= 1 {
                break;
            }
            [w, h] = [w.div_ceil(2), h.div_ceil(2)];
        }
        TagTree { levels, nodes: vec![Node { low: 0, known: false }; count] }
    }

    /// Whether the bits read so far show that the value of the leaf at (`x`, `y`) is below `bound`; `None` if the bits
    /// run out.
    pub(super) fn below(&mut self, bits: &mut Bits, x: usize, y: usize, bound: u32) -> Option<bool> {
        let mut low = 0;
        let mut known = false;
        for (level, &(width, first)) in self.levels.iter().enumerate().rev() {
            let node = &mut self.nodes[first + (y >> level) * width + (x >> level)];
            node.low = node.low.max(low);
            while node.low < bound && !node.known {
                if bits.bit()? == 1 {
                    node.known = true;
                } else {
                    node.low += 1;
                }
            }
            (low, known) = (node.low, node.known);
        }
        Some(known && low < bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_example_is_read() {
        // ISO/IEC 15444-1, B.10.2: leaves 1, 3, 2, 3, 2, 3 / 2, 2, 1, 4, 3, 2 / 2, 2, 2, 2, 1, 2.
        // q(0,0) is 01111, q(1,0) is 001, q(2,0) is 101.
        let bytes = [0b0111_1001, 0b1010_0000];
        let mut bits = Bits::new(&bytes);
        let mut tree = TagTree::new(6, 3);
        let mut value = |bits: &mut Bits, x| (0..).find(|&n| tree.below(bits, x, 0, n + 1).unwrap());
        assert_eq!([0, 1, 2].map(|x| value(&mut bits, x)), [Some(1), Some(3), Some(2)]);
        assert_eq!(bits.number(5), Some(0));
        assert_eq!(bits.bit(), None);
    }

    #[test]
    fn a_bit_is_stuffed_after_ff() {
        let mut bits = Bits::new(&[0xFF, 0x7F, 0x80]);
        assert_eq!(bits.number(15), Some(0x7FFF));
        assert_eq!(bits.bit(), Some(1));
        assert_eq!(bits.end(), Some(3));
        let mut bits = Bits::new(&[0xFF]);
        assert_eq!(bits.number(8), Some(255));
        assert_eq!(bits.end(), None);
    }
}
