//! The second product of attention: 12-bit probabilities times 8-bit values, in two ways with the same exact sums.

use crate::kernels::activation::exp2;
use crate::kernels::quantise::round_scaled;
use crate::kernels::tile::{GemmTypes, I16, PANEL, U8S8};

/// How the scores of a row become codes of probabilities: `round(2^(score - largest) * most)`.
#[derive(Clone, Copy)]
pub(super) struct Probability {
    /// The row's largest score.
    pub(super) largest: f32,
    /// Code of a probability that is the row's largest.
    pub(super) most: f32,
}

impl Probability {
    #[inline(always)]
    fn code(self, score: f32) -> i32 {
        round_scaled(exp2(score - self.largest), self.most, 0.0)
    }
}

/// An implementation of the product of probabilities and values.
pub(super) trait WeightedSum {
    /// Data types of the product.
    type Product: GemmTypes<Sum = i32>;
    /// Number of rows on the left side of the product for each query.
    const PARTS: usize;

    /// A value's code, -127 to 127, in the type that the product takes.
    fn value(code: i32) -> <Self::Product as GemmTypes>::B;

    /// Stores the codes of `scores: [len]`, whole panels, in each part of `codes: [parts, len]`, and returns their sum.
    /// With `pairs`, the parts are stored [in pairs of rows](crate::kernels::tile::Kernel::pairs).
    fn codes_of(
        scores: &[f32],
        probability: Probability,
        codes: &mut [<Self::Product as GemmTypes>::A],
        pairs: bool,
    ) -> i32;

    /// Sums of a query, computed from the sums of its parts.
    fn sum(parts: &[[i32; PANEL]]) -> [i32; PANEL];
}

/// 16-bit probabilities. One `vpmaddwd` multiplies 16 pairs.
#[cfg_attr(target_arch = "aarch64", allow(dead_code, reason = "tests compare it with the other"))]
pub(super) struct Whole;

/// Probabilities split into halves of six bits, `p = 64 high + low`, each multiplied by the 8-bit value. On ARM `smlal`
/// multiplies four pairs of 16 bits, and a Cortex-A76 runs one per cycle, while two `sdot` per cycle multiply 32 pairs
/// of bytes: four times as many probabilities, counting both halves.
#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "tests compare it with the other"))]
pub(super) struct Split;

/// Implementation used on this architecture.
#[cfg(target_arch = "aarch64")]
pub(super) use Split as OfInts;
/// Implementation used on this architecture.
#[cfg(not(target_arch = "aarch64"))]
pub(super) use Whole as OfInts;

/// Data types of the product of probabilities and values on this architecture.
#[cfg(not(target_arch = "aarch64"))]
pub type IntProduct = I16;
/// Data types of the product of probabilities and values on this architecture.
#[cfg(target_arch = "aarch64")]
pub type IntProduct = U8S8;

impl WeightedSum for Whole {
    type Product = I16;
    const PARTS: usize = 1;

    #[inline(always)]
    fn value(code: i32) -> i16 {
        code as i16
    }

    /// One loop over the row, which the compiler vectorises with the sum in a register; with sixteen codes at a time, as in
    /// [`Split`], it keeps the sums in memory, and each step waits for the previous one (three times as long on Zen 4).
    #[inline(always)]
    fn codes_of(scores: &[f32], probability: Probability, codes: &mut [i16], pairs: bool) -> i32 {
        debug_assert!(!pairs, "rows of 16-bit numbers are never in pairs");
        let mut sum = 0;
        for (code, &score) in codes.iter_mut().zip(scores) {
            let q = probability.code(score);
            *code = q as i16;
            sum += q;
        }
        sum
    }

    #[inline(always)]
    fn sum(parts: &[[i32; PANEL]]) -> [i32; PANEL] {
        parts[0]
    }
}

#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "tests compare it with the other"))]
impl Split {
    /// Stores sixteen probabilities, 0 to 4095, at `at` of both parts of `codes: [2, len]`, or with `pairs` of
    /// `codes: [len / 16, 2, 16]`, which [`Split::pair`] then turns into pairs.
    #[inline(always)]
    fn store(codes: &mut [u8], at: usize, probabilities: &[i32; PANEL], pairs: bool) {
        let (step, gap) = if pairs { (2, PANEL) } else { (1, codes.len() / 2) };
        let high = step * at;
        codes[high..high + PANEL].copy_from_slice(&probabilities.map(|q| (q >> 6) as u8));
        let low = high + gap;
        codes[low..low + PANEL].copy_from_slice(&probabilities.map(|q| (q & 63) as u8));
    }

    /// Turns the two parts of `codes: [len / 16, 2, 16]` into a pair of rows. A separate pass after [`Split::store`]: when parts of eight are stored, the compiler assembles words byte by byte.
    #[inline(always)]
    fn pair(codes: &mut [u8]) {
        for both in codes.as_chunks_mut::<{ 2 * PANEL }>().0 {
            let [_, high, low, _] = both.as_chunks_mut::<{ PANEL / 2 }>().0 else { unreachable!("32 bytes") };
            std::mem::swap(high, low);
        }
    }
}

impl WeightedSum for Split {
    type Product = U8S8;
    const PARTS: usize = 2;

    #[inline(always)]
    fn value(code: i32) -> i8 {
        code as i8
    }

    #[inline(always)]
    fn codes_of(scores: &[f32], probability: Probability, codes: &mut [u8], pairs: bool) -> i32 {
        let mut sums = [0; PANEL];
        for (i, scores) in scores.as_chunks::<PANEL>().0.iter().enumerate() {
            let mut q = [0; PANEL];
            for c in 0..PANEL {
                q[c] = probability.code(scores[c]);
                sums[c] += q[c];
            }
            Split::store(codes, i * PANEL, &q, pairs);
        }
        if pairs {
            Split::pair(codes);
        }
        sums.iter().sum()
    }

    #[inline(always)]
    fn sum(parts: &[[i32; PANEL]]) -> [i32; PANEL] {
        let mut sum = [0; PANEL];
        for c in 0..PANEL {
            sum[c] = 64 * parts[0][c] + parts[1][c];
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::kernels::aligned::Aligned;
    use crate::kernels::tile::{Epilogue, Product, Sums};

    struct Collect<'a, M>(&'a mut Vec<i32>, std::marker::PhantomData<M>);

    impl<M: WeightedSum> Epilogue<i32> for Collect<'_, M> {
        fn take(&mut self, _: usize, _: usize, rows: usize, sums: &Sums<i32>) {
            sums[..rows].chunks_exact(M::PARTS).for_each(|parts| self.0.extend(M::sum(parts)));
        }
    }

    /// Weighted sums of `values: [tokens, 16]` for each row of `probabilities`.
    fn means<M: WeightedSum>(isa: Isa, probabilities: &[Vec<i32>], values: &[[i32; PANEL]]) -> Vec<i32>
    where
        <M::Product as GemmTypes>::A: Default + Clone,
    {
        let tokens = values.len();
        let (padded, group) = (tokens.next_multiple_of(PANEL), M::Product::GROUP);
        let mut panel = Aligned::zeroed(tokens.div_ceil(group) * group * PANEL);
        for (t, values) in values.iter().enumerate() {
            for (c, &v) in values.iter().enumerate() {
                panel[(t / group * PANEL + c) * group + t % group] = M::value(v);
            }
        }
        M::Product::arrange(isa, tokens.div_ceil(group), &mut panel);
        let kernel = M::Product::kernel(isa);
        let mut codes = vec![Default::default(); probabilities.len() * M::PARTS * padded];
        for (codes, row) in codes.chunks_exact_mut(M::PARTS * padded).zip(probabilities) {
            // Scores whose codes these probabilities are.
            let mut scores: Vec<f32> = row.iter().map(|&p| (p as f32 / 4095.0).log2()).collect();
            scores.resize(padded, f32::NEG_INFINITY);
            let probability = Probability { largest: 0.0, most: 4095.0 };
            let sum = M::codes_of(&scores, probability, codes, kernel.pairs());
            assert_eq!(sum, row.iter().sum::<i32>());
        }
        let mut out = Vec::new();
        let to = Collect::<M>(&mut out, std::marker::PhantomData);
        let (m, groups) = (probabilities.len() * M::PARTS, tokens.div_ceil(group));
        Product::<M::Product> { kernel, m, groups, a: &codes, stride: padded, b: &panel }.for_tiles(to);
        out
    }

    #[test]
    fn both_ways_are_exact_on_every_instruction_set() {
        for tokens in [1, 3, 5, 8, 21, 40] {
            // All values at the positive extreme, all at the negative extreme, and a mix.
            for extreme in [Some(127), Some(-127), None] {
                let p = |r: usize, t: usize| extreme.map_or((r * 977 + t * 331) % 4096, |_| 4095);
                let v = |t: usize, c: usize| extreme.unwrap_or((t * 53 + c * 17) as i32 % 255 - 127);
                let probabilities: Vec<Vec<i32>> =
                    (0..7).map(|r| (0..tokens).map(|t| p(r, t) as i32).collect()).collect();
                let values: Vec<[i32; PANEL]> =
                    (0..tokens).map(|t| std::array::from_fn(|c| v(t, c))).collect();
                let exact: Vec<i32> = (0..7)
                    .flat_map(|r| {
                        let values = &values;
                        (0..PANEL).map(move |c| (0..tokens).map(|t| p(r, t) as i32 * values[t][c]).sum())
                    })
                    .collect();
                for isa in Isa::available() {
                    assert_eq!(means::<Whole>(isa, &probabilities, &values), exact, "{isa} {tokens}");
                    assert_eq!(means::<Split>(isa, &probabilities, &values), exact, "{isa} {tokens}");
                }
            }
        }
    }
}
