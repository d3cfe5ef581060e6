//! Micro-kernels for sums of blocks: exact integer sums within a block, added up in f32 with a weight for each block.
//!
//! The left side is a matrix of words: a word holds the codes of [`BlockKernel::keys`] keys of one block. Eight blocks
//! lie side by side, `[groups][8]` words, and the right side has them one after another,
//! `[n / 16][8 blocks][groups][16 columns]` words. Where codes are signed bytes (`Isa::code_offset`), a block of the
//! right side begins with 16 sums that are added to it: 128 times the sum of its values.
//!
//! A kernel that takes pairs of rows ([`BlockKernel::pairs`]) reads the words of two rows and two groups of a block
//! together, `[m / 2][groups / 2][8][2 rows][2]` words as [`pair_words`] writes them, and on the right side two groups
//! of a column, `[groups / 2][16][2]`. The number of groups is then even.

use super::PANEL;

/// Number of blocks in a product.
pub(in crate::kernels) const BLOCKS: usize = 8;

/// What a micro-kernel multiplies. All distances are in elements.
#[derive(Clone, Copy)]
pub(super) struct Blocks {
    /// Number of rows, at most [`BlockKernel::rows`].
    pub(super) rows: usize,
    /// Number of panels, at most [`BlockKernel::panels`].
    pub(super) panels: usize,
    /// Number of words of each block in a row.
    pub(super) groups: usize,
    /// Codes of the first row, `[groups][8]`, and the distance between rows.
    pub(super) codes: (*const u32, usize),
    /// Values of the first panel and the distance between panels.
    pub(super) values: (*const u32, usize),
    /// Weights of the first row, `[8]`, and the distance between rows.
    pub(super) weights: (*const f32, usize),
    /// Sums of the first row and panel, and the distance between rows; panels are 16 apart.
    pub(super) sums: (*mut f32, usize),
}

/// A micro-kernel of one instruction set.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct BlockKernel {
    /// Number of rows that it takes at once.
    pub(super) rows: usize,
    /// Number of panels that it takes at once.
    pub(super) panels: usize,
    /// Number of keys whose codes and values share a word: 4, as bytes, or 2, as 16-bit numbers.
    pub(super) keys: usize,
    /// Whether codes are signed bytes, 128 less, and a block's values begin with sums.
    pub(super) signed: bool,
    /// Whether the rows of the left side and the groups of the right one are in pairs.
    pub(super) pairs: bool,
    /// For each row `r` and column `c`: `sums[r][c] += the sum over blocks, in their order, of weights[r][block] times
    /// the sum of codes[r] * values[c] over the keys of the block`, each step a fused multiply-add.
    ///
    /// # Safety
    /// The CPU must have the instruction set, and what [`Blocks`] describes must be readable, and its sums writable.
    /// Values must be aligned to 64 bytes. With pairs, the number of groups must be even, and the row of an odd last pair
    /// that is missing must have readable codes.
    pub(super) run: unsafe fn(Blocks),
}

impl BlockKernel {
    /// Number of keys whose codes and values share a word.
    pub(in crate::kernels) fn keys(&self) -> usize {
        self.keys
    }

    /// Number of words of each block for two panels of keys, in which it has four.
    pub(in crate::kernels) fn words(&self) -> usize {
        4 / self.keys
    }

    /// Number of words of each block for `panels` panels of keys.
    pub(in crate::kernels) fn groups(&self, panels: usize) -> usize {
        let groups = (panels * PANEL / BLOCKS).div_ceil(self.keys);
        if self.pairs { groups.next_multiple_of(2) } else { groups }
    }

    /// Number of words of each block that suffice for `runs` products, which have `steps` times two panels of keys in
    /// all.
    pub(in crate::kernels) fn room(&self, steps: usize, runs: usize) -> usize {
        if self.pairs { (steps + runs).next_multiple_of(2) } else { steps * self.words() }
    }

    /// Whether rows are in pairs, as [`pair_words`] writes them.
    pub(in crate::kernels) fn pairs(&self) -> bool {
        self.pairs
    }

    /// Brings the words of a block of the right side, `[groups][16]`, into the order that the kernel reads.
    #[inline(always)]
    pub(in crate::kernels) fn arrange(&self, words: &mut [u32]) {
        if self.pairs {
            for pair in words.as_chunks_mut::<{ 2 * PANEL }>().0 {
                let from = *pair;
                for c in 0..PANEL {
                    (pair[2 * c], pair[2 * c + 1]) = (from[c], from[PANEL + c]);
                }
            }
        }
    }

    /// What is applied to a word of codes from 0 to 255: it subtracts 128 from each byte where codes are signed.
    pub(in crate::kernels) fn flip(&self) -> u32 {
        if self.signed { 0x8080_8080 } else { 0 }
    }

    /// Number of words of a block's sums, 16 or none, with which its values begin.
    pub(in crate::kernels) fn start(&self) -> usize {
        if self.signed { PANEL } else { 0 }
    }

    /// Number of words of eight blocks' values in a panel.
    pub(in crate::kernels) fn values_len(&self, groups: usize) -> usize {
        BLOCKS * (self.start() + groups * PANEL)
    }
}

/// A matrix whose rows are `stride` elements apart.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Strided<'a, T> {
    pub(in crate::kernels) data: &'a [T],
    pub(in crate::kernels) stride: usize,
}

impl<T> Strided<'_, T> {
    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || self.data.len() >= (rows - 1) * self.stride + columns
    }
}

/// Copies `m` rows of `[groups][8]` words in pairs into `to: [m / 2][groups / 2][8][2][2]`, both rounded up. What has
/// no counterpart is paired with any words: those of an odd last group are multiplied by zeros, those of a row are not
/// used.
#[inline(always)]
pub(in crate::kernels) fn pair_words(rows: Strided<u32>, m: usize, groups: usize, to: &mut [u32]) {
    let at = |r: usize, g: usize| {
        let words: &[u32; BLOCKS] = rows.data[r * rows.stride + g * BLOCKS..].first_chunk().expect("a group");
        words
    };
    let mut to = to.as_chunks_mut::<{ 4 * BLOCKS }>().0.iter_mut();
    for r in (0..m).step_by(2) {
        for g in (0..groups).step_by(2) {
            let (r1, g1) = ((r + 1).min(m - 1), (g + 1).min(groups - 1));
            let words = [at(r, g), at(r, g1), at(r1, g), at(r1, g1)];
            let to = to.next().expect("room for all pairs");
            for c in 0..BLOCKS {
                for i in 0..4 {
                    to[4 * c + i] = words[i][c];
                }
            }
        }
    }
}

/// Eight blocks of some rows, for all columns.
pub(in crate::kernels) struct BlockProduct<'a> {
    pub(in crate::kernels) kernel: BlockKernel,
    /// Number of rows.
    pub(in crate::kernels) m: usize,
    /// Number of panels of columns.
    pub(in crate::kernels) panels: usize,
    /// Number of words of each block in a row.
    pub(in crate::kernels) groups: usize,
    /// `[m][groups][8]` words.
    pub(in crate::kernels) codes: Strided<'a, u32>,
    /// `[panels][8][groups][16]` words, each block behind its sums if there are such.
    pub(in crate::kernels) values: Strided<'a, u32>,
    /// `[m][8]`
    pub(in crate::kernels) weights: Strided<'a, f32>,
}

impl BlockProduct<'_> {
    /// Adds the weighted sums of the blocks to `sums: [m][panels][16]`.
    ///
    /// # Panics
    /// If an operand is too short, or values are not aligned to 64 bytes.
    #[inline(always)]
    pub(in crate::kernels) fn add_to(&self, sums: &mut [f32]) {
        let &BlockProduct { kernel, m, panels, groups, codes, values, weights } = self;
        let width = panels * PANEL;
        let coded = if kernel.pairs { m.next_multiple_of(2) } else { m };
        let even = groups.is_multiple_of(2) && kernel.rows.is_multiple_of(2);
        assert!(!kernel.pairs || (even && codes.stride == groups * BLOCKS));
        assert!(codes.holds(coded, groups * BLOCKS) && weights.holds(m, BLOCKS) && sums.len() >= m * width);
        assert!(values.holds(panels, kernel.values_len(groups)));
        assert!(values.data.as_ptr().addr().is_multiple_of(64) && values.stride.is_multiple_of(PANEL));
        for panel in (0..panels).step_by(kernel.panels) {
            for row in (0..m).step_by(kernel.rows) {
                // SAFETY: the kernel came from `block_kernel`, and an `Isa` exists only if the CPU has its
                // instructions. The lengths of what it reads and writes were asserted above: rows from `row` and panels
                // from `panel` on are at most those left. Values begin at a multiple of 64 bytes, and so does each
                // panel. A pair of rows begins at `row`, since such kernels take an even number of rows.
                unsafe {
                    (kernel.run)(Blocks {
                        rows: kernel.rows.min(m - row),
                        panels: kernel.panels.min(panels - panel),
                        groups,
                        codes: (codes.data.as_ptr().add(row * codes.stride), codes.stride),
                        values: (values.data.as_ptr().add(panel * values.stride), values.stride),
                        weights: (weights.data.as_ptr().add(row * weights.stride), weights.stride),
                        sums: (sums.as_mut_ptr().add(row * width + panel * PANEL), width),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::block_kernel;
    use super::*;
    use crate::kernels::Isa;
    use crate::kernels::aligned::Aligned;

    /// Operands of a product as plain numbers, and what it should give.
    struct Case {
        rows: usize,
        panels: usize,
        /// Number of keys in a block, a multiple of 4.
        keys: usize,
        /// All codes and values at their largest magnitude, with the values' sign.
        extreme: Option<i32>,
    }

    impl Case {
        fn code(&self, row: usize, block: usize, key: usize) -> i32 {
            self.extreme.map_or((row * 131 + block * 57 + key * 29) as i32 % 256, |_| 255)
        }

        fn value(&self, block: usize, key: usize, column: usize) -> i32 {
            self.extreme.unwrap_or((block * 37 + key * 53 + column * 17) as i32 % 255 - 127)
        }

        fn weight(row: usize, block: usize) -> f32 {
            (-(((row * 5 + block * 3) % 19) as f32)).exp2() * 1.3
        }

        /// The words of `codes`, least significant first.
        fn word(keys: usize, code: impl Fn(usize) -> i32) -> u32 {
            let bits = 32 / keys as u32;
            (0..keys)
                .fold(0, |word, k| word | ((code(k) as u32 & (u32::MAX >> (32 - bits))) << (k as u32 * bits)))
        }

        fn expected(&self) -> Vec<f32> {
            let mut sums = vec![0.5; self.rows * self.panels * PANEL];
            for (i, sum) in sums.iter_mut().enumerate() {
                let (row, column) = (i / (self.panels * PANEL), i % (self.panels * PANEL));
                for block in 0..BLOCKS {
                    let exact: i32 = (0..self.keys)
                        .map(|key| self.code(row, block, key) * self.value(block, key, column))
                        .sum();
                    *sum = (exact as f32).mul_add(Case::weight(row, block), *sum);
                }
            }
            sums
        }

        fn found(&self, isa: Isa) -> Vec<f32> {
            let kernel = block_kernel(isa);
            let groups = self.keys / kernel.keys();
            let mut codes = Vec::new();
            for (row, g, block) in (0..self.rows)
                .flat_map(|row| (0..groups).flat_map(move |g| (0..BLOCKS).map(move |block| (row, g, block))))
            {
                let word = Case::word(kernel.keys(), |k| self.code(row, block, g * kernel.keys() + k));
                codes.push(word ^ kernel.flip());
            }
            let given = groups;
            let groups = kernel.groups(self.keys * BLOCKS / PANEL);
            if kernel.pairs() {
                let rows = Strided { data: &codes, stride: given * BLOCKS };
                let mut pairs = vec![77; self.rows.next_multiple_of(2) * groups * BLOCKS];
                pair_words(rows, self.rows, given, &mut pairs);
                codes = pairs;
            }
            let stride = kernel.values_len(groups);
            let mut values = Aligned::zeroed(self.panels * stride);
            let blocks = values.chunks_exact_mut(kernel.start() + groups * PANEL);
            for (i, words) in blocks.enumerate() {
                let (panel, block) = (i / BLOCKS, i % BLOCKS);
                let value = |key: usize, c: usize| self.value(block, key, panel * PANEL + c);
                let (start, words) = words.split_at_mut(kernel.start());
                for (c, start) in start.iter_mut().enumerate() {
                    *start = (128 * (0..self.keys).map(|key| value(key, c)).sum::<i32>()) as u32;
                }
                for (j, word) in words.iter_mut().enumerate().take(given * PANEL) {
                    *word = Case::word(kernel.keys(), |k| value(j / PANEL * kernel.keys() + k, j % PANEL));
                }
                kernel.arrange(words);
            }
            let weights: Vec<f32> =
                (0..self.rows * BLOCKS).map(|i| Case::weight(i / BLOCKS, i % BLOCKS)).collect();
            let mut sums = vec![0.5; self.rows * self.panels * PANEL];
            BlockProduct {
                kernel,
                m: self.rows,
                panels: self.panels,
                groups,
                codes: Strided { data: &codes, stride: groups * BLOCKS },
                values: Strided { data: &values, stride },
                weights: Strided { data: &weights, stride: BLOCKS },
            }
            .add_to(&mut sums);
            sums
        }
    }

    #[test]
    fn groups_fit_into_the_room_for_them() {
        for kernel in Isa::available().into_iter().map(block_kernel) {
            for panels in 1..40 {
                let groups = kernel.groups(panels);
                assert!(groups * kernel.keys() * BLOCKS >= panels * PANEL);
                assert!(groups <= kernel.room(panels.div_ceil(2), 1));
            }
        }
    }

    #[test]
    fn every_instruction_set_adds_the_same_sums() {
        for (rows, panels) in [(1, 1), (2, 2), (3, 3), (4, 1), (5, 4), (6, 2), (7, 5), (13, 1)] {
            for keys in [4, 8, 12, 32] {
                for extreme in [None, Some(127), Some(-127)] {
                    let case = Case { rows, panels, keys, extreme };
                    let expected = case.expected();
                    for isa in Isa::available() {
                        assert_eq!(case.found(isa), expected, "{isa} {rows} {panels} {keys} {extreme:?}");
                    }
                }
            }
        }
    }
}
