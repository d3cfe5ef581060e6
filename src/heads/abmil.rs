//! Attention over a bag of images (the slices of a volume or the frames of a clip): gated-attention pooling (Ilse et
//! al., arXiv 1802.04712, section 2.4), then a linear layer.

use ndarray::Array2;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::calibration::Calibration;
use super::linear::{Prediction, decide};
use super::nn::adamw::{AdamW, EarlyStopping, cosine_rate};
use super::nn::{ConvNet, Kind, LayerSpec};
use super::probability::{sigmoid, softmax};
use super::targets::check_classes;
use super::{HeadError, Targets};
use crate::features::Grid;
use crate::heads::fit::standardise;
use crate::heads::measure::{PROBABILITY_FLOOR, youden_threshold};
use crate::kernels::Isa;
use crate::kernels::linear::{OutputMode, PackedLinear, Rows, Scratch};

/// Width of the attention's hidden layer.
const HIDDEN: usize = 64;

/// How the head is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AbmilOptions {
    /// Maximum number of passes over the training bags.
    pub epochs: usize,
    /// Number of passes without a better validation loss after which training stops.
    pub patience: usize,
    /// Peak learning rate.
    pub rate: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Seed of the initial weights and the training order.
    pub seed: u64,
}

impl Default for AbmilOptions {
    fn default() -> AbmilOptions {
        AbmilOptions { epochs: 60, patience: 15, rate: 1e-3, weight_decay: 1e-2, seed: 1 }
    }
}

/// Bags of feature rows, `[frames, dim]` each, with their targets.
#[derive(Clone, Copy)]
pub struct Bags<'a> {
    /// One bag per example.
    pub rows: &'a [Array2<f32>],
    /// Targets of the bags.
    pub targets: Targets<'a>,
}

/// Attention pooling and a linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct AbmilHead {
    /// Names of the classes, or labels.
    pub classes: Vec<String>,
    /// Whether a bag may have several labels.
    pub multi_label: bool,
    /// Probability from which the second of two classes, or a label, is predicted.
    pub threshold: f64,
    pub(super) calibration: Option<Calibration>,
    pub(super) mean: Vec<f32>,
    pub(super) std: Vec<f32>,
    /// `[2 * hidden, dim]` with biases: the tanh rows, then the sigmoid rows.
    pub(super) gates: ConvNet,
    /// `[1, hidden]` with a bias, which the softmax over frames cancels.
    pub(super) score: ConvNet,
    /// `[classes, dim]` with biases.
    pub(super) output: ConvNet,
}

/// The head's prediction for a bag.
#[derive(Clone, Debug, PartialEq)]
pub struct BagPrediction {
    /// Prediction for the whole bag.
    pub prediction: Prediction,
    /// Weight of each row; the weights sum to one.
    pub attention: Vec<f64>,
}

/// The values of a forward pass that the backward pass needs.
struct Trace {
    /// `[frames, hidden]`
    tanh: Vec<f32>,
    gate: Vec<f32>,
    attention: Vec<f64>,
    pooled: Vec<f32>,
    /// Before calibration.
    logits: Vec<f64>,
    /// Class probabilities.
    output: Vec<f64>,
}

fn pointwise(inputs: usize, outputs: usize, seed: u64) -> ConvNet {
    ConvNet::new(vec![LayerSpec { kind: Kind::Pointwise, inputs, outputs }], seed)
}

impl AbmilHead {
    /// Trains on `train` and keeps the epoch with the best loss on `val`. `progress` is called after each epoch.
    ///
    /// # Errors
    /// [`HeadError`] when bags and targets do not match, or a feature is not finite.
    pub fn fit(
        train: &Bags<'_>,
        val: &Bags<'_>,
        classes: &[String],
        options: &AbmilOptions,
        progress: &mut (dyn FnMut(usize, usize) + Send),
    ) -> Result<(AbmilHead, usize), HeadError> {
        check(train, classes)?;
        check(val, classes)?;
        let all: Vec<_> = train.rows.iter().map(|bag| bag.view()).collect();
        let all = ndarray::concatenate(ndarray::Axis(0), &all).map_err(|_| HeadError::Shape {
            what: "length of a row of features",
            found: 0,
            expected: train.rows[0].ncols(),
        })?;
        let (_, mean, std) = standardise(all.view());
        let (dim, seed) = (mean.len(), options.seed);
        let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let mut head = AbmilHead {
            classes: classes.to_vec(),
            multi_label: train.targets.multi_label(),
            threshold: 0.5,
            calibration: None,
            mean: narrow(&mean),
            std: narrow(&std),
            gates: pointwise(dim, 2 * HIDDEN, seed),
            score: pointwise(HIDDEN, 1, seed.wrapping_add(1)),
            output: pointwise(dim, classes.len(), seed.wrapping_add(2)),
        };
        // With a zero output layer, all classes start equally likely.
        head.output.parameters.fill(0.0);
        let standard = |bags: &Bags| bags.rows.iter().map(|bag| head.standardised(bag)).collect::<Vec<_>>();
        let (train_rows, val_rows) = (standard(train), standard(val));
        let mut order: Vec<usize> = (0..train_rows.len()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut optimiser = AdamW::new(head.parameters().len(), options.weight_decay);
        let mut stopping = EarlyStopping::new(options.patience);
        let steps = options.epochs * order.len();
        for epoch in 0..options.epochs {
            order.shuffle(&mut rng);
            for (i, &bag) in order.iter().enumerate() {
                let trace = head.trace(&train_rows[bag]);
                let gradient =
                    head.gradient(&train_rows[bag], &trace, &truth(&train.targets, classes.len(), bag));
                let mut parameters = head.parameters();
                let rate = cosine_rate(options.rate, epoch * order.len() + i, steps);
                optimiser.step(&mut parameters, &gradient, rate);
                head.set_parameters(&parameters);
            }
            progress(epoch + 1, options.epochs);
            let loss: f64 = (0..val_rows.len())
                .map(|bag| head.loss(&head.trace(&val_rows[bag]), &truth(&val.targets, classes.len(), bag)))
                .sum();
            if stopping.stop(-loss, &head.parameters()) {
                break;
            }
        }
        let Some((_, parameters, epoch)) = stopping.best() else {
            return Err(HeadError::Diverged);
        };
        head.set_parameters(&parameters);
        if let (Targets::Classes(_), 2) = (val.targets, classes.len()) {
            let positive: Vec<f64> = val_rows.iter().map(|rows| head.trace(rows).output[1]).collect();
            head.threshold = youden_threshold(&val.targets.has(1), &positive).unwrap_or(0.5);
        }
        Ok((head, epoch))
    }

    /// Length of a feature row.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The prediction for a bag of at least one row, `[frames, dim]`.
    ///
    /// The matrix products run on `isa`, with the same bits on each; everything else is f64 with `libm`.
    ///
    /// # Errors
    /// [`HeadError`] when the rows have the wrong length or contain a value that is not finite.
    pub fn predict(&self, rows: &Array2<f32>, isa: Isa) -> Result<BagPrediction, HeadError> {
        self.predict_packed(rows, &self.pack(isa))
    }

    /// The weights of the gates, packed for `isa`.
    pub(super) fn pack(&self, isa: Isa) -> PackedLinear {
        let (weights, bias) = self.gates.parameters.split_at(2 * HIDDEN * self.dim());
        PackedLinear::f32(isa, weights, bias)
    }

    /// As [`AbmilHead::predict`], with the layer that [`AbmilHead::pack`] returned.
    pub(super) fn predict_packed(
        &self,
        rows: &Array2<f32>,
        layer: &PackedLinear,
    ) -> Result<BagPrediction, HeadError> {
        let trace = self.trace_packed(rows, layer)?;
        let classes = decide(&trace.output, self.multi_label, self.threshold);
        let prediction = Prediction { probabilities: trace.output, classes };
        Ok(BagPrediction { prediction, attention: trace.attention })
    }

    /// The weight of each row, and the logits before calibration, for the same arguments.
    pub(super) fn weighed(
        &self,
        rows: &Array2<f32>,
        layer: &PackedLinear,
    ) -> Result<(Vec<f64>, Vec<f64>), HeadError> {
        let Trace { attention, logits, .. } = self.trace_packed(rows, layer)?;
        Ok((attention, logits))
    }

    fn trace_packed(&self, rows: &Array2<f32>, layer: &PackedLinear) -> Result<Trace, HeadError> {
        if rows.ncols() != self.dim() || rows.nrows() == 0 {
            let what = "length of a row of features";
            return Err(HeadError::Shape { what, found: rows.ncols(), expected: self.dim() });
        }
        if let Some(((row, column), _)) = rows.indexed_iter().find(|(_, v)| !v.is_finite()) {
            return Err(HeadError::NonFinite { row, column });
        }
        let x = self.standardised(rows);
        let mut gates = vec![0.0; rows.nrows() * 2 * HIDDEN];
        layer.apply(Rows::Float(&x), &mut Scratch::default(), &mut gates, OutputMode::Store);
        Ok(self.finish(&x, &gates))
    }

    fn standardised(&self, rows: &Array2<f32>) -> Vec<f32> {
        let scale = self.mean.iter().zip(&self.std).cycle();
        rows.iter().zip(scale).map(|(v, (mean, std))| (v - mean) / std).collect()
    }

    fn trace(&self, x: &[f32]) -> Trace {
        let grid = Grid { depth: 1, height: 1, width: x.len() / self.dim() };
        let pass = self.gates.forward(grid, x.to_vec());
        self.finish(x, pass.output().1)
    }

    /// Completes a forward pass from the gates' pre-activations, `[frames, 2 * hidden]`.
    fn finish(&self, x: &[f32], gates: &[f32]) -> Trace {
        let (mut tanh, mut gate, mut attention) = (Vec::new(), Vec::new(), Vec::new());
        for row in gates.chunks_exact(2 * HIDDEN) {
            let start = tanh.len();
            tanh.extend(row[..HIDDEN].iter().map(|&v| libm::tanh(v.into()) as f32));
            gate.extend(row[HIDDEN..].iter().map(|&v| sigmoid(v.into()) as f32));
            let terms = tanh[start..].iter().zip(&gate[start..]).zip(&self.score.parameters);
            attention.push(terms.map(|((t, g), w)| f64::from(*t) * f64::from(*g) * f64::from(*w)).sum());
        }
        softmax(&mut attention);
        let mut pooled = vec![0f64; self.dim()];
        for (row, a) in x.chunks_exact(self.dim()).zip(&attention) {
            pooled.iter_mut().zip(row).for_each(|(p, v)| *p += a * f64::from(*v));
        }
        let (weights, bias) = self.output.parameters.split_at(self.classes.len() * self.dim());
        let logit = |(row, bias): (&[f32], &f32)| -> f64 {
            f64::from(*bias) + row.iter().zip(&pooled).map(|(w, p)| f64::from(*w) * p).sum::<f64>()
        };
        let mut output: Vec<f64> = weights.chunks_exact(self.dim()).zip(bias).map(logit).collect();
        let logits = output.clone();
        if let Some(calibration) = &self.calibration {
            calibration.apply(&mut output);
        }
        if self.multi_label {
            output.iter_mut().for_each(|z| *z = sigmoid(*z));
        } else {
            softmax(&mut output);
        }
        Trace { tanh, gate, attention, pooled: pooled.iter().map(|&p| p as f32).collect(), logits, output }
    }

    fn loss(&self, trace: &Trace, truth: &[f64]) -> f64 {
        let term = |(p, y): (&f64, &f64)| {
            let log = |p: f64| libm::log(p.max(PROBABILITY_FLOOR));
            -(y * log(*p) + if self.multi_label { (1.0 - y) * log(1.0 - p) } else { 0.0 })
        };
        trace.output.iter().zip(truth).map(term).sum()
    }

    /// Gradient of one bag's cross entropy, in the order of [`AbmilHead::parameters`].
    fn gradient(&self, x: &[f32], trace: &Trace, truth: &[f64]) -> Vec<f32> {
        let (dim, frames) = (self.dim(), x.len() / self.dim());
        let logits: Vec<f32> = trace.output.iter().zip(truth).map(|(p, y)| (p - y) as f32).collect();
        let weights = &self.output.parameters[..self.classes.len() * dim];
        let mut pooled = vec![0f32; dim];
        let mut output = Vec::with_capacity(self.output.parameters.len());
        for (row, g) in weights.chunks_exact(dim).zip(&logits) {
            pooled.iter_mut().zip(row).for_each(|(p, w)| *p += g * w);
            output.extend(trace.pooled.iter().map(|p| g * p));
        }
        output.extend(&logits);
        // Backpropagate through the softmax over frames.
        let toward: Vec<f64> = x
            .chunks_exact(dim)
            .map(|row| row.iter().zip(&pooled).map(|(v, p)| f64::from(*v) * f64::from(*p)).sum())
            .collect();
        let mean: f64 = toward.iter().zip(&trace.attention).map(|(t, a)| t * a).sum();
        let mut score = vec![0f32; HIDDEN + 1];
        let mut gates = vec![0f32; frames * 2 * HIDDEN];
        for frame in 0..frames {
            let s = (trace.attention[frame] * (toward[frame] - mean)) as f32;
            score[HIDDEN] += s;
            for h in 0..HIDDEN {
                let (t, g) = (trace.tanh[frame * HIDDEN + h], trace.gate[frame * HIDDEN + h]);
                let w = self.score.parameters[h];
                score[h] += s * t * g;
                gates[frame * 2 * HIDDEN + h] = s * w * g * (1.0 - t * t);
                gates[frame * 2 * HIDDEN + HIDDEN + h] = s * w * t * g * (1.0 - g);
            }
        }
        let grid = Grid { depth: 1, height: 1, width: frames };
        let pass = self.gates.forward(grid, x.to_vec());
        let mut all = self.gates.backward(&pass, gates);
        all.extend(score);
        all.extend(output);
        all
    }

    fn parameters(&self) -> Vec<f32> {
        [&self.gates, &self.score, &self.output].iter().flat_map(|n| n.parameters.iter().copied()).collect()
    }

    fn set_parameters(&mut self, all: &[f32]) {
        let mut rest = all;
        for network in [&mut self.gates, &mut self.score, &mut self.output] {
            let (own, after) = rest.split_at(network.parameters.len());
            network.parameters.copy_from_slice(own);
            rest = after;
        }
    }

    /// A head from the contents of its file: mean and standard deviation `[dim]`, then the three layers' parameters.
    pub(super) fn from_parts(
        (classes, multi_label, threshold): (Vec<String>, bool, f64),
        mean: Vec<f32>,
        std: Vec<f32>,
        parameters: [Vec<f32>; 3],
    ) -> Result<AbmilHead, HeadError> {
        check_classes(&classes, multi_label)?;
        let dim = mean.len();
        let shapes = [(dim, 2 * HIDDEN), (HIDDEN, 1), (dim, classes.len())];
        let mut networks = Vec::with_capacity(3);
        for ((inputs, outputs), parameters) in shapes.into_iter().zip(parameters) {
            let layers = vec![LayerSpec { kind: Kind::Pointwise, inputs, outputs }];
            let expected = ConvNet::count(&layers);
            if parameters.len() != expected {
                let what = "number of weights";
                return Err(HeadError::Shape { what, found: parameters.len(), expected });
            }
            networks.push(ConvNet { layers, parameters });
        }
        let Ok([gates, score, output]) = <[ConvNet; 3]>::try_from(networks) else {
            unreachable!("three shapes")
        };
        if std.len() != dim || std.iter().any(|&s| s <= 0.0) {
            return Err(HeadError::AbmilDeviation);
        }
        let calibration = None;
        Ok(AbmilHead { classes, multi_label, threshold, calibration, mean, std, gates, score, output })
    }
}

fn check(bags: &Bags<'_>, classes: &[String]) -> Result<(), HeadError> {
    check_classes(classes, bags.targets.multi_label())?;
    if bags.rows.is_empty() || bags.rows.len() != bags.targets.len() {
        let what = "number of targets";
        return Err(HeadError::Shape { what, found: bags.targets.len(), expected: bags.rows.len().max(1) });
    }
    for (row, bag) in bags.rows.iter().enumerate() {
        if bag.nrows() == 0 {
            return Err(HeadError::Shape { what: "number of frames", found: 0, expected: 1 });
        }
        if bag.iter().any(|v| !v.is_finite()) {
            return Err(HeadError::NonFinite { row, column: 0 });
        }
    }
    Ok(())
}

/// 1 for each class that bag `bag` has, otherwise 0.
fn truth(targets: &Targets<'_>, classes: usize, bag: usize) -> Vec<f64> {
    (0..classes)
        .map(|class| match targets {
            Targets::Classes(of) => f64::from(of[bag] == class),
            Targets::Labels(of) => f64::from(of[[bag, class]]),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bags of 3 to 7 rows of 8 features; in a bag of class 1, one row carries a signal.
    fn bags(n: usize, seed: usize) -> (Vec<Array2<f32>>, Vec<usize>, Vec<usize>) {
        let noise = |i: usize, j: usize| (((i + seed) * 7919 + j * 104_729) % 1009) as f32 / 1009.0 - 0.5;
        let (mut rows, mut of, mut signs) = (Vec::new(), Vec::new(), Vec::new());
        for bag in 0..n {
            let frames = 3 + bag % 5;
            let sign = (bag * 13) % frames;
            rows.push(Array2::from_shape_fn((frames, 8), |(i, j)| {
                let there = bag % 2 == 1 && i == sign && j == 3;
                noise(bag * 31 + i, j) + if there { 1.5 } else { 0.0 }
            }));
            of.push(bag % 2);
            signs.push(sign);
        }
        (rows, of, signs)
    }

    fn names() -> Vec<String> {
        vec!["without".into(), "with".into()]
    }

    #[test]
    fn finds_the_row_that_matters() {
        let ((rows, of, _), (val_rows, val_of, signs)) = (bags(80, 0), bags(40, 5000));
        let train = Bags { rows: &rows, targets: Targets::Classes(&of) };
        let val = Bags { rows: &val_rows, targets: Targets::Classes(&val_of) };
        let options = AbmilOptions::default();
        let (head, epoch) = AbmilHead::fit(&train, &val, &names(), &options, &mut |_, _| {}).unwrap();
        assert!(epoch >= 1);
        let (mut right, mut seen) = (0, 0);
        for ((rows, &class), &sign) in val_rows.iter().zip(&val_of).zip(&signs) {
            let found = head.predict(rows, Isa::best()).unwrap();
            assert!((found.attention.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            assert_eq!(found, head.predict(rows, Isa::SCALAR).unwrap());
            right += usize::from(found.prediction.classes == [class]);
            let most = (0..rows.nrows()).max_by(|&a, &b| found.attention[a].total_cmp(&found.attention[b]));
            seen += usize::from(class == 1 && most == Some(sign));
        }
        assert!(right >= 36 && seen >= 18, "{right} of 40, {seen} of 20");
        let again = AbmilHead::fit(&train, &val, &names(), &options, &mut |_, _| {}).unwrap();
        assert_eq!(again, (head, epoch));
    }

    #[test]
    fn the_gradient_is_the_derivative() {
        let (rows, of, _) = bags(2, 9);
        let train = Bags { rows: &rows, targets: Targets::Classes(&of) };
        let options = AbmilOptions { epochs: 2, ..AbmilOptions::default() };
        let (mut head, _) = AbmilHead::fit(&train, &train, &names(), &options, &mut |_, _| {}).unwrap();
        head.output = pointwise(8, 2, 3);
        let x = head.standardised(&rows[1]);
        let gradient = head.gradient(&x, &head.trace(&x), &[0.0, 1.0]);
        let parameters = head.parameters();
        for i in (0..parameters.len()).step_by(7) {
            let mut loss = |delta: f32| {
                let mut moved = parameters.clone();
                moved[i] += delta;
                head.set_parameters(&moved);
                head.loss(&head.trace(&x), &[0.0, 1.0])
            };
            let numeric = (loss(1e-2) - loss(-1e-2)) / 2e-2;
            // Errors: third-order terms times h^2, and f32 rounding in the gates.
            assert!((numeric - f64::from(gradient[i])).abs() < 1e-4, "{i}: {numeric} {}", gradient[i]);
        }
    }
}
