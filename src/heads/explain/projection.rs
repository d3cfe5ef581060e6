//! The weights of a linear head, applied to each token instead of to the mean of all.

use super::explanation::Unexplained;
use crate::heads::{AbmilHead, Calibration, HeadModel, LinearHead};
use crate::vit::Features;

/// Accumulators of a dot product: independent sums, which the compiler computes side by side.
const LANES: usize = 8;

/// The logits of a head as weighted sums of standardised features.
pub(super) struct Projection {
    /// Length of a row of features, CLS ++ mean(patch tokens).
    dim: usize,
    pub(super) logits: Vec<Weights>,
}

/// One logit.
pub(super) struct Weights {
    pub(super) class: usize,
    pub(super) against: Option<usize>,
    pub(super) bias: f64,
    pub(super) calibration: Option<[f64; 2]>,
    /// Weights of the features divided by their standard deviations, `[dim]`.
    folded: Vec<f64>,
    /// What the mean of the training images would add by its CLS token, and by each patch token if all were the mean.
    centre: [f64; 2],
}

/// What one frame adds to each logit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Terms {
    /// `[logits]`
    pub(super) cls: Vec<f64>,
    /// `[logits, rows, columns]`; they sum to what the mean of the tokens adds.
    pub(super) patches: Vec<f64>,
    pub(super) grid: (usize, usize),
}

/// The linear parts of a head: weights `[classes, dim]` and biases, mean and standard deviation of the features.
struct Parts<'a> {
    weight: Vec<f64>,
    bias: Vec<f64>,
    mean: Vec<f64>,
    std: Vec<f64>,
    calibration: Option<&'a Calibration>,
    multi_label: bool,
}

impl Projection {
    /// That of `model`, if its logits are linear in the features, or are so for given weights of the frames.
    pub(super) fn of(model: &HeadModel) -> Option<Projection> {
        let parts = match model {
            HeadModel::Linear(head) | HeadModel::Volume(head) => Parts::of_linear(head),
            HeadModel::Abmil(head) => Parts::of_abmil(head),
            _ => return None,
        };
        let dim = parts.mean.len();
        // Two exclusive classes have one logit.
        if parts.bias.len() == 2 && !parts.multi_label {
            return Some(Projection { dim, logits: vec![parts.logit(1, Some(0))] });
        }
        Some(Projection {
            dim,
            logits: (0..parts.bias.len()).map(|class| parts.logit(class, None)).collect(),
        })
    }

    /// The terms of a frame.
    ///
    /// # Errors
    /// [`Unexplained`] if the model gives no patch tokens, or no places of them.
    pub(super) fn terms(&self, features: &Features) -> Result<Terms, Unexplained> {
        let (rows, cols, width) = (features.rows, features.cols, features.dim());
        if self.dim != 2 * width || features.patch.is_empty() {
            return Err(Unexplained::NoPatches);
        }
        if rows * cols == 0 || features.patch.len() != rows * cols * width {
            return Err(Unexplained::NoGrid);
        }
        let n = (rows * cols) as f64;
        let mut terms = Terms { grid: (rows, cols), ..Terms::default() };
        terms.patches.reserve(self.logits.len() * rows * cols);
        for Weights { folded, centre: [cls, patch], .. } in &self.logits {
            let (of_cls, of_patch) = folded.split_at(width);
            terms.cls.push(dot(of_cls, &features.cls) - cls);
            let tokens = features.patch.chunks_exact(width);
            terms.patches.extend(tokens.map(|token| (dot(of_patch, token) - patch) / n));
        }
        Ok(terms)
    }
}

impl Parts<'_> {
    fn of_linear(head: &LinearHead) -> Parts<'_> {
        Parts {
            weight: head.weight().to_vec(),
            bias: head.bias().to_vec(),
            mean: head.mean().to_vec(),
            std: head.std().to_vec(),
            calibration: head.calibration.as_ref(),
            multi_label: head.multi_label,
        }
    }

    fn of_abmil(head: &AbmilHead) -> Parts<'_> {
        let wide = |values: &[f32]| values.iter().map(|&v| v.into()).collect::<Vec<f64>>();
        let (weight, bias) = head.output.parameters.split_at(head.classes.len() * head.dim());
        Parts {
            weight: wide(weight),
            bias: wide(bias),
            mean: wide(&head.mean),
            std: wide(&head.std),
            calibration: head.calibration.as_ref(),
            multi_label: head.multi_label,
        }
    }

    fn logit(&self, class: usize, against: Option<usize>) -> Weights {
        let dim = self.mean.len();
        let row = |class: usize| &self.weight[class * dim..(class + 1) * dim];
        let weight = |i: usize| row(class)[i] - against.map_or(0.0, |other| row(other)[i]);
        let folded: Vec<f64> = (0..dim).map(|i| weight(i) / self.std[i]).collect();
        let centre = |range: std::ops::Range<usize>| range.map(|i| folded[i] * self.mean[i]).sum::<f64>();
        let calibration = self.calibration.map(|calibration| match calibration {
            Calibration::Temperature(t) => [1.0 / t, 0.0],
            Calibration::Platt(pairs) => pairs[if against.is_some() { 0 } else { class }],
        });
        let bias = self.bias[class] - against.map_or(0.0, |other| self.bias[other]);
        let centre = [centre(0..dim / 2), centre(dim / 2..dim)];
        Weights { class, against, bias, calibration, folded, centre }
    }
}

/// In f64, by lanes that are added in a fixed order: the same bits on every machine.
fn dot(weights: &[f64], values: &[f32]) -> f64 {
    let mut sums = [0.0; LANES];
    let (heads, values) = (weights.chunks(LANES), values.chunks(LANES));
    for (weights, values) in heads.zip(values) {
        for ((sum, weight), &value) in sums.iter_mut().zip(weights).zip(values) {
            *sum += weight * f64::from(value);
        }
    }
    sums.iter().sum()
}
