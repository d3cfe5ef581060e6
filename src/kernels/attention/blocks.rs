//! Blocks of keys, each with its own largest probability, so that probabilities need only 8 bits.
//!
//! Keys are in panels of 16. A run is some panels in a row, and a block has the keys of two lanes, `c` and `c + 8`, of
//! all panels of a run. The maxima of the eight blocks are then maxima of whole registers, one for each panel, and the
//! two halves are compared once at the end. The keys that a product takes in one step, four bytes or two 16-bit
//! numbers, come from the same block too, so a register of codes is shifted into its place in a register of words.

use std::ops::Range;

use crate::kernels::activation::exp2;
use crate::kernels::quantise::{ROUND, round_scaled};
use crate::kernels::tile::{BLOCKS, PANEL};

/// Number of panels in a step: a block has four keys there, which share a word when codes are bytes.
pub(super) const STEP: usize = 2;

/// Code of a block's largest probability.
const LARGEST_CODE: f32 = 255.0;

/// How the keys of a head are divided into runs of eight blocks. It depends on nothing but their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Runs {
    /// Number of panels.
    panels: usize,
    /// Number of runs.
    pub(super) count: usize,
}

impl Runs {
    /// Of `tokens` keys.
    ///
    /// Blocks grow as the square root of the number of keys: 14 keys at 224 px, 33 at 512 px, 64 at 1024 px. The more
    /// keys there are, the less an error of each matters: 8 bits added 6.5e-5 to 1 - cosine of DeiT-Ti's patch tokens
    /// with 16 keys a block at 224 px, and 4.7e-5 with 32 at 512 px (1.4e-4 with 64).
    pub(super) fn of(tokens: usize) -> Runs {
        let panels = tokens.div_ceil(PANEL);
        let enough = |runs: &usize| (2 * runs + 1).pow(2) >= 2 * panels.div_ceil(STEP);
        Runs { panels, count: (1..).find(enough).expect("a square is as large as any number") }
    }

    /// Number of steps.
    pub(super) const fn steps(self) -> usize {
        self.panels.div_ceil(STEP)
    }

    /// The steps of run `run`: runs are as equal as can be.
    pub(super) const fn steps_of(self, run: usize) -> Range<usize> {
        self.steps() * run / self.count..self.steps() * (run + 1) / self.count
    }

    /// The panels of run `run`: the last step may have only one.
    pub(super) fn panels_of(self, run: usize) -> Range<usize> {
        let steps = self.steps_of(run);
        STEP * steps.start..self.panels.min(STEP * steps.end)
    }

    /// Maximum number of panels in the steps of a run.
    pub(super) const fn most_panels(self) -> usize {
        STEP * self.steps().div_ceil(self.count)
    }

    /// Number of blocks.
    pub(super) const fn blocks(self) -> usize {
        self.count * BLOCKS
    }
}

/// Block of each of `tokens` keys.
pub fn blocks_of_keys(tokens: usize) -> Vec<usize> {
    let runs = Runs::of(tokens);
    let panel = |run: usize| (0..PANEL).map(move |lane| run * BLOCKS + lane % BLOCKS);
    let run = |run: usize| runs.panels_of(run).flat_map(move |_| panel(run));
    (0..runs.count).flat_map(run).take(tokens).collect()
}

/// `2^x * 255`, rounded to the nearest integer; `x = d * scale` is at most 0, and at least -126.
///
/// As [`exp2`], with the minimax polynomial of degree 3, whose relative error of 1.0e-4 is a twentieth of the
/// rounding's.
#[inline(always)]
fn code_of(d: f32, scale: f32) -> i32 {
    const C: [f32; 3] = [0.242_210_97, 0.693_282_9, 1.0];
    let shifted = d.mul_add(scale, ROUND);
    let f = d.mul_add(scale, ROUND - shifted);
    let mut p: f32 = 0.055_009_06;
    for c in C {
        p = p.mul_add(f, c);
    }
    round_scaled(f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23)), LARGEST_CODE, 0.0)
}

/// Largest of the `scores` of each block of a run, ignoring NaN; at least the smallest number.
#[inline(always)]
pub(super) fn largest_of(scores: &[[[f32; PANEL]; STEP]]) -> [f32; BLOCKS] {
    let mut halves = [f32::MIN; PANEL];
    for panel in scores.as_flattened() {
        for c in 0..PANEL {
            halves[c] = if panel[c] > halves[c] { panel[c] } else { halves[c] };
        }
    }
    let mut largest = [0.0; BLOCKS];
    for c in 0..BLOCKS {
        let (lower, upper) = (halves[c], halves[c + BLOCKS]);
        largest[c] = if upper > lower { upper } else { lower };
    }
    largest
}

/// How scores become probabilities: `2^(score * scale)`, relative to the largest.
#[derive(Clone, Copy, Default)]
pub(super) struct Exponent {
    scale: f32,
    /// Smallest difference of scores: that of the exponent -126.
    floor: f32,
}

impl Exponent {
    /// Of a scale above 0. A scale below 1e-30, or NaN, counts as 1e-30: the exponents are then 0 for all scores that
    /// are below 1e23, and the floor is finite.
    #[inline(always)]
    pub(super) fn new(scale: f32) -> Exponent {
        let scale = if scale > 1e-30 { scale } else { 1e-30 };
        Exponent { scale, floor: -126.0 / scale }
    }

    /// `2^((score - largest) * scale)`, for a block's largest score, which weighs its sums.
    #[inline(always)]
    pub(super) fn weight(self, score: f32, largest: f32) -> f32 {
        exp2((score - largest) * self.scale)
    }

    /// Codes of the `scores` of a run, relative to the `largest` of their block, and the sums of the codes of each
    /// block. The codes of a step are in `WORDS` words of each block: one with four bytes, to which `flip` is applied,
    /// or two with two 16-bit numbers each.
    #[inline(always)]
    pub(super) fn codes<const WORDS: usize>(
        self,
        scores: &[[[f32; PANEL]; STEP]],
        largest: &[f32; BLOCKS],
        flip: u32,
        words: &mut [[[u32; BLOCKS]; WORDS]],
    ) -> [i32; BLOCKS] {
        let Exponent { scale, floor } = self;
        let mut halves_largest = [0.0; PANEL];
        for c in 0..PANEL {
            halves_largest[c] = largest[c % BLOCKS];
        }
        let mut sums = [0; PANEL];
        for (scores, words) in scores.iter().zip(words) {
            for (w, words) in words.iter_mut().enumerate() {
                // Bits of the codes of one lane of each block in place; those of the other are in the upper half.
                let mut halves = [0u32; PANEL];
                for k in 0..STEP / WORDS {
                    let panel = &scores[w + k];
                    let lower = 16 * k as u32;
                    for c in 0..PANEL {
                        let d = panel[c] - halves_largest[c];
                        // Not `max`: the compiler would have to allow for a NaN in `floor`.
                        let code = code_of(if d > floor { d } else { floor }, scale);
                        sums[c] += code;
                        halves[c] |=
                            (code as u32) << if c < BLOCKS { lower } else { lower + 8 * WORDS as u32 };
                    }
                }
                for c in 0..BLOCKS {
                    words[c] = (halves[c] | halves[c + BLOCKS]) ^ flip;
                }
            }
        }
        let mut counts = [0; BLOCKS];
        for c in 0..BLOCKS {
            counts[c] = sums[c] + sums[c + BLOCKS];
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_every_key_once() {
        for tokens in [1, 16, 17, 63, 64, 65, 201, 256, 257, 581, 1029, 4101] {
            let runs = Runs::of(tokens);
            assert_eq!(runs.steps_of(0).start, 0);
            for run in 0..runs.count {
                let (steps, least) = (runs.steps_of(run), runs.steps() / runs.count);
                assert!((least..=least + 1).contains(&steps.len()) && !steps.is_empty(), "{tokens}");
                assert!(steps.len() * STEP <= runs.most_panels());
                let next = if run + 1 < runs.count { runs.steps_of(run + 1).start } else { runs.steps() };
                assert_eq!(steps.end, next);
                assert!(runs.panels_of(run).len().div_ceil(STEP) == steps.len());
            }
            let blocks = blocks_of_keys(tokens);
            assert_eq!(blocks.len(), tokens);
            let most = 4 * runs.steps().div_ceil(runs.count);
            assert!(tokens <= 32 || most as f64 <= 1.3 * (tokens as f64).sqrt() + 4.0, "{tokens}: {most}");
            for block in 0..runs.blocks() {
                let keys: Vec<usize> = (0..tokens).filter(|&key| blocks[key] == block).collect();
                assert!(
                    keys.len() <= most && keys.iter().all(|key| key % BLOCKS == block % BLOCKS),
                    "{tokens}"
                );
            }
        }
    }

    /// Scores of a run of `steps` steps.
    fn scores(steps: usize) -> Vec<[[f32; PANEL]; STEP]> {
        let score =
            |i: usize| ((i * 7919) % 1009) as f32 * -0.37 - if i.is_multiple_of(5) { 300.0 } else { 0.0 };
        let panel = |p: usize| std::array::from_fn(|c| score(p * PANEL + c) + c as f32);
        (0..steps).map(|s| std::array::from_fn(|p| panel(s * STEP + p))).collect()
    }

    #[test]
    fn codes_are_rounded_probabilities_of_their_block_in_either_form() {
        for (steps, scale) in [(1, 0.01), (3, 0.05), (8, 1.7), (2, 1e-35)] {
            let scores = scores(steps);
            let exponent = Exponent::new(scale);
            let (mut bytes, mut shorts) = (vec![[[0; BLOCKS]; 1]; steps], vec![[[0; BLOCKS]; 2]; steps]);
            let largest_found = largest_of(&scores);
            let counts = exponent.codes(&scores, &largest_found, 0x8080_8080, &mut bytes);
            assert_eq!(counts, exponent.codes(&scores, &largest_found, 0, &mut shorts));
            for c in 0..BLOCKS {
                let block: Vec<f32> =
                    scores.as_flattened().iter().flat_map(|panel| [panel[c], panel[c + BLOCKS]]).collect();
                let largest = block.iter().copied().fold(f32::MIN, f32::max);
                assert_eq!(largest_found[c], largest);
                let mut sum = 0;
                for (key, score) in block.iter().enumerate() {
                    let (step, place) = (key / 4, key % 4);
                    let code = (bytes[step][0][c] >> (8 * place)) as u8 ^ 0x80;
                    assert_eq!(u32::from(code), shorts[step][place / 2][c] >> (16 * (place % 2)) & 0xffff);
                    let exact = 255.0 * f64::exp2(f64::from(score - largest) * f64::from(scale));
                    assert!((f64::from(code) - exact).abs() < 0.53, "{code} instead of {exact}");
                    sum += i32::from(code);
                }
                assert_eq!(counts[c], sum);
            }
        }
    }

    #[test]
    fn scores_that_are_not_finite_and_padding_have_the_code_0() {
        for scale in [1.0, 1e-38, f32::MAX, f32::NAN] {
            for bad in [f32::NEG_INFINITY, f32::INFINITY, f32::NAN] {
                let mut scores = scores(1);
                scores[0][1] = [bad; PANEL];
                let mut words = vec![[[u32::MAX; BLOCKS]; 1]];
                let _ = Exponent::new(scale).codes(&scores, &largest_of(&scores), 0, &mut words);
                assert!(words[0][0].iter().all(|word| word >> 16 == 0), "{scale} {bad}");
            }
            let mut words = vec![[[u32::MAX; BLOCKS]; 1]];
            let padding = [[[f32::NEG_INFINITY; PANEL]; STEP]];
            let largest = largest_of(&padding);
            let counts = Exponent::new(scale).codes(&padding, &largest, 0, &mut words);
            assert_eq!((largest, counts, words[0][0]), ([f32::MIN; BLOCKS], [0; BLOCKS], [0; BLOCKS]));
        }
    }
}
