//! Training of a dense head.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::loss::{Sums, cells, gradient, softmax_rows};
use super::{SegmentHead, largest};
use crate::features::Tokens;
use crate::heads::HeadError;
use crate::heads::nn::adamw::{AdamW, EarlyStopping, cosine_rate};
use crate::heads::nn::bilinear::Bilinear;
use crate::heads::nn::{ConvNet, Pass};
use crate::heads::targets::check_classes;
use crate::input::LabelMap;

/// Loss cells per side of a patch: finer than a head can draw, but far fewer than pixels.
const CELLS: usize = 4;

/// Steps after which training on few images has converged (the loss on 22 to 60 examples no longer falls).
const STEPS_IMAGE: usize = 1500;
const STEPS_VOLUME: usize = 600;

/// Minimum and maximum of the number of passes derived from these steps.
const EPOCHS: (usize, usize) = (40, 400);

/// Offsets of the foreground logit to try: the step, and the number of steps to either side.
const OFFSET_STEP: f32 = 0.05;
const OFFSET_STEPS: usize = 60;

/// How a dense head is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentOptions {
    /// Whether to use a convolutional decoder instead of one matrix. Volume heads always have one.
    pub decoder: bool,
    /// Whether examples are volumes.
    pub volume: bool,
    /// Maximum number of passes over the training images; `None` for enough passes to converge: at least 40, more for
    /// few images. Training stops after a quarter of them without a better validation Dice.
    pub epochs: Option<usize>,
    /// Images per step; for volumes, a quarter as many, but at least one.
    pub batch: usize,
    /// Peak learning rate.
    pub rate: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Seed of the initial weights and the training order.
    pub seed: u64,
}

impl Default for SegmentOptions {
    fn default() -> SegmentOptions {
        SegmentOptions {
            decoder: false,
            volume: false,
            epochs: None,
            batch: 8,
            rate: 2e-3,
            weight_decay: 1e-2,
            seed: 1,
        }
    }
}

/// Tokens with the classes of the pixels they were computed from.
#[derive(Clone, Copy)]
pub struct Masked<'a> {
    /// Tokens of the image or volume.
    pub tokens: &'a Tokens,
    /// Its mask, with the same number of slices.
    pub mask: &'a LabelMap,
}

/// An example's cells: `(height, width)` and the truth.
struct Truth {
    size: (usize, usize),
    cells: Vec<u8>,
}

impl SegmentHead {
    /// Trains on `train` and keeps the epoch with the largest Dice on `val` (mean of the foreground classes, pooled
    /// over all cells). With two classes, the foreground bias is then shifted to maximise that Dice, which amounts to a
    /// threshold selected on the same images as the epoch. Returns the head, that Dice and the epoch. `progress` is
    /// called after each epoch.
    ///
    /// The same input gives the same head on the same machine, with any number of threads.
    ///
    /// # Errors
    /// [`HeadError`] when tokens, masks and classes do not match, or a value is not finite.
    pub fn fit(
        train: &[Masked<'_>],
        val: &[Masked<'_>],
        classes: &[String],
        layers: &[usize],
        options: &SegmentOptions,
        progress: &mut (dyn FnMut(usize, usize) + Send),
    ) -> Result<(SegmentHead, f64, usize), HeadError> {
        check(train, classes)?;
        check(val, classes)?;
        let (mean, std) = statistics(train);
        let architecture =
            SegmentHead::architecture(mean.len(), classes.len(), options.decoder, options.volume);
        let mut head = SegmentHead {
            classes: classes.to_vec(),
            layers: layers.to_vec(),
            volume: options.volume,
            mean,
            std,
            network: ConvNet::new(architecture, options.seed),
        };
        let truth = |examples: &[Masked]| -> Vec<Truth> {
            examples.par_iter().map(|example| Truth::new(example, classes.len())).collect()
        };
        let (train_truth, val_truth) = (truth(train), truth(val));
        let batch = if options.volume { (options.batch / 4).max(1) } else { options.batch.max(1) };
        let per_epoch = train.len().div_ceil(batch);
        let enough = if options.volume { STEPS_VOLUME } else { STEPS_IMAGE };
        let epochs = options.epochs.unwrap_or(enough.div_ceil(per_epoch).clamp(EPOCHS.0, EPOCHS.1));
        let steps = epochs * per_epoch;
        let mut order: Vec<usize> = (0..train.len()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let mut optimiser = AdamW::new(head.network.parameters.len(), options.weight_decay);
        let mut stopping = EarlyStopping::new((epochs / 4).max(1));
        let mut step = 0;
        for epoch in 0..epochs {
            order.shuffle(&mut rng);
            for chosen in order.chunks(batch) {
                let gradient = head.batch_gradient(train, &train_truth, chosen);
                let rate = cosine_rate(options.rate, step, steps);
                optimiser.step(&mut head.network.parameters, &gradient, rate);
                step += 1;
            }
            progress(epoch + 1, epochs);
            let dice = head.validation_dice(val, &val_truth);
            log::debug!("epoch {}: validation Dice {dice:.4}", epoch + 1);
            if stopping.stop(dice, &head.network.parameters) {
                break;
            }
        }
        let Some((dice, parameters, epoch)) = stopping.best() else {
            return Err(HeadError::NoForeground);
        };
        head.network.parameters = parameters;
        if classes.len() == 2 {
            let (offset, moved) = head.best_offset(val, &val_truth);
            log::debug!("foreground moved by {offset:.2}: validation Dice {dice:.4} to {moved:.4}");
            // The last layer's biases are the last parameters, and the foreground's bias is the very last.
            *head.network.parameters.last_mut().expect("a layer with a bias") += offset;
        }
        let dice = head.validation_dice(val, &val_truth);
        Ok((head, dice, epoch))
    }

    /// Runs a forward pass; returns it with the class probabilities of each cell, `[cells, classes]`.
    fn probabilities(&self, tokens: &Tokens, size: (usize, usize)) -> (Pass, Vec<f32>) {
        let classes = self.classes.len();
        let pass = self.network.forward(tokens.grid, self.standardised(tokens));
        let (grid, logits) = pass.output();
        let resize = Bilinear::new((grid.height, grid.width), size);
        let slices = logits.chunks_exact(grid.height * grid.width * classes);
        let mut probabilities: Vec<f32> = slices.flat_map(|slice| resize.apply(slice, classes)).collect();
        softmax_rows(&mut probabilities, classes);
        (pass, probabilities)
    }

    /// Gradient of a batch. Sums are taken in the order of `chosen`, whichever thread computed the terms.
    fn batch_gradient(&self, train: &[Masked], truth: &[Truth], chosen: &[usize]) -> Vec<f32> {
        let classes = self.classes.len();
        let passes: Vec<(Pass, Vec<f32>, Sums)> = chosen
            .par_iter()
            .map(|&i| {
                let (pass, probabilities) = self.probabilities(train[i].tokens, truth[i].size);
                let sums = Sums::of(&probabilities, &truth[i].cells, classes);
                (pass, probabilities, sums)
            })
            .collect();
        let mut sums = Sums::new(classes);
        passes.iter().for_each(|(_, _, own)| sums.add(own));
        let cells = passes.iter().map(|(_, probabilities, _)| probabilities.len() / classes).sum();
        let gradients: Vec<Vec<f32>> = chosen
            .par_iter()
            .zip(&passes)
            .map(|(&i, (pass, probabilities, _))| {
                let at_cells = gradient(probabilities, &truth[i].cells, &sums, cells);
                let (grid, _) = pass.output();
                let size = truth[i].size;
                let resize = Bilinear::new((grid.height, grid.width), size);
                let slices = at_cells.chunks_exact(size.0 * size.1 * classes);
                let output = slices.flat_map(|slice| resize.adjoint(slice, classes)).collect();
                self.network.backward(pass, output)
            })
            .collect();
        let mut total = vec![0.0; self.network.parameters.len()];
        for gradient in &gradients {
            total.iter_mut().zip(gradient).for_each(|(total, g)| *total += g);
        }
        total
    }

    /// Mean over the foreground classes of the Dice over all cells together, where each cell counts as its largest
    /// class; NaN if no cell is foreground.
    fn validation_dice(&self, val: &[Masked], truth: &[Truth]) -> f64 {
        let classes = self.classes.len();
        let counts: Vec<Vec<[u64; 2]>> = val
            .par_iter()
            .zip(truth)
            .map(|(example, truth)| {
                let (_, probabilities) = self.probabilities(example.tokens, truth.size);
                let mut counts = vec![[0; 2]; classes];
                for (p, g) in probabilities.chunks_exact(classes).zip(truth.cells.chunks_exact(classes)) {
                    let found = largest(p);
                    let there = (1..classes).fold(0, |best, c| if g[c] > g[best] { c } else { best });
                    counts[found][1] += 1;
                    counts[there][1] += 1;
                    counts[found][0] += 2 * u64::from(found == there);
                }
                counts
            })
            .collect();
        let dice = (1..classes).filter_map(|class| {
            let sum = |part: usize| counts.iter().map(|counts| counts[class][part]).sum::<u64>();
            (sum(1) > 0).then(|| sum(0) as f64 / sum(1) as f64)
        });
        crate::heads::measure::mean(dice).unwrap_or(f64::NAN)
    }

    /// The offset of the foreground logit, for two classes, that maximises the Dice over all cells of `val`; of
    /// equally good offsets, the smallest in magnitude. Returns the offset and the Dice.
    fn best_offset(&self, val: &[Masked], truth: &[Truth]) -> (f32, f64) {
        // Counts cells by the number of the first step at which they become foreground: [background, foreground] by
        // truth.
        const BINS: usize = 2 * OFFSET_STEPS + 2;
        let count = |(example, truth): (&Masked, &Truth)| {
            let (_, probabilities) = self.probabilities(example.tokens, truth.size);
            let mut bins = vec![[0u64; 2]; BINS];
            for (p, g) in probabilities.chunks_exact(2).zip(truth.cells.chunks_exact(2)) {
                let needed = (p[0] / p[1]).ln() / OFFSET_STEP + OFFSET_STEPS as f32;
                // A ratio of 0 / 0 cannot occur: the probabilities sum to 1. Infinite ratios fall into the outer bins.
                let bin = (needed.floor() + 1.0).clamp(0.0, (BINS - 1) as f32) as usize;
                bins[bin][usize::from(g[1] > g[0])] += 1;
            }
            bins
        };
        let counts: Vec<Vec<[u64; 2]>> = val.par_iter().zip(truth).map(count).collect();
        let bins: Vec<[u64; 2]> = (0..BINS)
            .map(|bin| [0, 1].map(|class| counts.iter().map(|bins| bins[bin][class]).sum()))
            .collect();
        let foreground: u64 = bins.iter().map(|bin| bin[1]).sum();
        let (mut found, mut right) = (0, 0);
        let mut best = (0.0, f64::NEG_INFINITY);
        for (step, [wrong, hit]) in bins[..BINS - 1].iter().enumerate() {
            found += wrong + hit;
            right += hit;
            let dice = 2.0 * right as f64 / ((found + foreground) as f64).max(1.0);
            let offset = (step as f32 - OFFSET_STEPS as f32) * OFFSET_STEP;
            if dice > best.1 || (dice == best.1 && offset.abs() < f32::abs(best.0)) {
                best = (offset, dice);
            }
        }
        best
    }
}

impl Truth {
    fn new(example: &Masked, classes: usize) -> Truth {
        let grid = example.tokens.grid;
        let size = (CELLS * grid.height, CELLS * grid.width);
        Truth { size, cells: cells(example.mask, size, classes) }
    }
}

fn check(examples: &[Masked], classes: &[String]) -> Result<(), HeadError> {
    check_classes(classes, false)?;
    let Some(first) = examples.first() else {
        return Err(HeadError::Shape { what: "number of images", found: 0, expected: 1 });
    };
    for (row, Masked { tokens, mask }) in examples.iter().enumerate() {
        let shapes = [
            ("length of a token", tokens.channels, first.tokens.channels),
            ("number of token values", tokens.values.len(), tokens.grid.positions() * tokens.channels),
            ("slices of a mask", mask.depth, tokens.grid.depth),
        ];
        for (what, found, expected) in shapes {
            if found != expected {
                return Err(HeadError::Shape { what, found, expected });
            }
        }
        if let Some(&label) = mask.labels.iter().find(|&&label| usize::from(label) >= classes.len()) {
            return Err(HeadError::Target { row, class: label.into(), classes: classes.len() });
        }
        if tokens.values.iter().any(|v| !v.is_finite()) {
            return Err(HeadError::NonFinite { row, column: 0 });
        }
    }
    Ok(())
}

/// Mean and standard deviation of each channel over all tokens.
fn statistics(examples: &[Masked]) -> (Vec<f32>, Vec<f32>) {
    let channels = examples[0].tokens.channels;
    let (mut sum, mut square) = (vec![0f64; channels], vec![0f64; channels]);
    let mut n = 0.0;
    for token in examples.iter().flat_map(|e| e.tokens.values.chunks_exact(channels)) {
        n += 1.0;
        for ((sum, square), v) in sum.iter_mut().zip(&mut square).zip(token) {
            let v = v.to_f64();
            *sum += v;
            *square += v * v;
        }
    }
    let std = sum.iter().zip(&square).map(|(sum, square)| {
        let variance = square / n - (sum / n) * (sum / n);
        if variance > 1e-12 { variance.sqrt() as f32 } else { 1.0 }
    });
    (sum.iter().map(|sum| (sum / n) as f32).collect(), std.collect())
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::features::Grid;
    use crate::kernels::Isa;

    /// Images whose tokens encode, with noise, whether the patch lies in the rectangle of the mask.
    fn images(n: usize, seed: usize, depth: usize) -> Vec<(Tokens, LabelMap)> {
        let grid = Grid { depth, height: 6, width: 5 };
        let noise = |i: usize, j: usize| (((i + seed) * 7919 + j * 104_729) % 1009) as f32 / 1009.0 - 0.5;
        (0..n)
            .map(|i| {
                let (top, left) = ((i * 5 + seed) % 4, (i * 3 + seed) % 3);
                let inside =
                    move |y: usize, x: usize| (top..top + 3).contains(&y) && (left..left + 2).contains(&x);
                let values = (0..grid.positions() * 4).map(|k| {
                    let (position, channel) = (k / 4, k % 4);
                    let there = inside(position / 5 % 6, position % 5) && channel == 1;
                    f16::from_f32(noise(i * 977 + position, channel) + if there { 1.0 } else { 0.0 })
                });
                let tokens = Tokens { grid, channels: 4, values: values.collect() };
                let pixels = (0..depth * 48 * 40).map(|p| u8::from(inside(p / 40 % 48 / 8, p % 40 / 8)));
                (tokens, LabelMap::new(depth, 48, 40, pixels.collect()).unwrap())
            })
            .collect()
    }

    fn dice(head: &SegmentHead, images: &[(Tokens, LabelMap)]) -> f64 {
        let (mut both, mut all) = (0, 0);
        for (tokens, mask) in images {
            let found = head.predict(tokens, (48, 40), Isa::best()).unwrap();
            assert_eq!(found, head.predict(tokens, (48, 40), Isa::SCALAR).unwrap());
            both += found.labels.iter().zip(&mask.labels).filter(|(a, b)| **a == 1 && **b == 1).count();
            all += found.labels.iter().chain(&mask.labels).filter(|v| **v == 1).count();
        }
        2.0 * both as f64 / all as f64
    }

    #[test]
    fn learns_to_draw_with_each_architecture_and_repeats_itself() {
        let classes = ["background".to_owned(), "lesion".to_owned()];
        for (decoder, volume, depth) in [(false, false, 1), (true, false, 1), (true, true, 3)] {
            let (train, val) = (images(24, 0, depth), images(8, 501, depth));
            let masked = |images: &'static [(Tokens, LabelMap)]| -> Vec<Masked<'static>> {
                images.iter().map(|(tokens, mask)| Masked { tokens, mask }).collect()
            };
            let (train, val): (&'static [_], &'static [_]) = (train.leak(), val.leak());
            let options =
                SegmentOptions { decoder, volume, epochs: Some(30), rate: 1e-2, ..SegmentOptions::default() };
            let fit = || {
                let (train, val) = (masked(train), masked(val));
                SegmentHead::fit(&train, &val, &classes, &[], &options, &mut |_, _| {}).unwrap()
            };
            let (head, reported, _) = fit();
            let found = dice(&head, val);
            assert!(found > 0.9 && (found - reported).abs() < 0.05, "{decoder} {volume}: {found} {reported}");
            let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            assert!(one_thread.install(fit).0 == head);
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let images = images(2, 0, 1);
        let classes = ["background".to_owned(), "lesion".to_owned()];
        let good = Masked { tokens: &images[0].0, mask: &images[0].1 };
        let fit = |bad: Masked| {
            let options = SegmentOptions::default();
            SegmentHead::fit(&[good, bad], &[good], &classes, &[], &options, &mut |_, _| {})
        };
        let deep = LabelMap::new(2, 1, 1, vec![0, 0]).unwrap();
        assert!(matches!(fit(Masked { mask: &deep, ..good }), Err(HeadError::Shape { .. })));
        let third = LabelMap::new(1, 1, 1, vec![2]).unwrap();
        assert!(matches!(fit(Masked { mask: &third, ..good }), Err(HeadError::Target { class: 2, .. })));
        let tokens = Tokens { values: vec![f16::NAN; images[0].0.values.len()], ..images[0].0.clone() };
        assert!(matches!(fit(Masked { tokens: &tokens, ..good }), Err(HeadError::NonFinite { .. })));
    }
}
