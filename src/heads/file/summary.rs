//! Informative contents of a head file: the backbone, and how the head was trained.

use serde::{Deserialize, Serialize};

use super::record::TrainingRecord;
use crate::engine::About;
use crate::heads::{
    CalibrationSummary, Estimate, Evaluation, EvaluationReport, EvaluationSet, Fitted, OperatingPoint,
    SetAside,
};
use crate::input::{Dataset, ReadOptions};

/// Which backbone a head belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backbone {
    /// Its name, for display.
    pub name: String,
    /// SHA-256 of its weights, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// [`About::reading`](crate::engine::About::reading) of the engine that computed the features.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reading: u32,
}

impl Backbone {
    /// The backbone that `about` describes.
    pub fn of(about: &About) -> Backbone {
        Backbone { name: about.name.clone(), sha256: about.sha256.clone(), reading: about.reading }
    }
}

/// Files of backbones that run on our own encoder omit the field.
fn is_zero(reading: &u32) -> bool {
    *reading == 0
}

/// How a head was trained. The numbers are informative: their last digit may change when the file is rewritten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// Training images (or bags) of each class, in the head's order; for dense heads, those in which the class occurs.
    pub images_per_class: Vec<usize>,
    /// Inverse regularisation strength of a linear head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub c: Option<f64>,
    /// The epoch kept, from 1, for a head trained with AdamW.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<usize>,
    /// Seed of the initial weights and the training order of such a head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether the classes were weighted to count equally.
    pub balanced: bool,
    /// Whether the final fit joined the training and validation images.
    pub refit: bool,
    /// Measured on validation images, before such a final fit.
    pub validation: Option<ValidationSummary>,
    /// How the validation images were drawn, if the data did not specify them.
    pub drawn: Option<DrawnSplit>,
    /// The effect of calibration on held-out training images, if it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationSummary>,
    /// The rule by which the threshold was chosen, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operating: Option<OperatingPoint>,
    /// The data and the metrics with intervals, for a model card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Box<TrainingRecord>>,
    /// The images of the conformal scores, if they are those of this head on images that were kept out of everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<SetAside>,
}

impl TrainingSummary {
    /// The summary of a head fitted on the examples `train` of `set`; `validation` is its performance on other
    /// examples, `drawn` how they were drawn.
    pub(super) fn new(
        set: &EvaluationSet<'_>,
        train: &[usize],
        fitted: &Fitted,
        validation: ValidationSummary,
        drawn: Option<DrawnSplit>,
    ) -> TrainingSummary {
        TrainingSummary {
            images_per_class: set.per_class(&fitted.model, train),
            c: fitted.c,
            epoch: fitted.epoch,
            seed: fitted.seed,
            balanced: fitted.balanced,
            refit: fitted.refit,
            validation: Some(validation),
            drawn,
            calibration: None,
            operating: None,
            record: None,
            set_aside: None,
        }
    }
}

/// Where the examples of a head come from: what neither the features nor the fit know, and the head file records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provenance {
    /// How their files became pixels. A head reads the files that it is applied to in the same way.
    pub read: ReadOptions,
    /// How the validation images were drawn, if the data did not specify them.
    pub drawn: Option<DrawnSplit>,
}

/// A drawn split, recorded so that the same data can be split again and training images are not mistaken for unseen
/// ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrawnSplit {
    /// [`Dataset::digest`] of the data.
    pub digest: String,
    /// Seed of the draw.
    pub seed: u64,
    /// Fraction held out.
    pub val_share: f64,
}

impl DrawnSplit {
    /// The split of `data` by [`Dataset::split`]; `None` if any sample specifies its own.
    pub fn of(data: &Dataset, seed: u64, val_share: f64) -> Option<DrawnSplit> {
        let drawn = data.samples.iter().all(|sample| sample.split.is_none());
        drawn.then(|| DrawnSplit { digest: data.digest(), seed, val_share })
    }
}

/// A head's performance on validation images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValidationSummary {
    /// Number of images.
    pub images: usize,
    /// Area under the ROC curve, macro.
    pub auc: Option<f64>,
    /// Share of images classified correctly.
    pub accuracy: Option<f64>,
    /// Mean sensitivity over the classes.
    pub balanced_accuracy: Option<f64>,
    /// Mean F1 over the classes.
    pub macro_f1: Option<f64>,
    /// Mean cross entropy in nats.
    pub log_loss: Option<f64>,
    /// Mean Dice of the foreground classes, for a dense head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dice: Option<f64>,
}

/// Rounds to six decimals: all that a few hundred images support, and exact through JSON.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl From<&Evaluation> for ValidationSummary {
    fn from(judgement: &Evaluation) -> ValidationSummary {
        match judgement {
            Evaluation::Classes(_, report) => report.as_ref().into(),
            Evaluation::Dense(_, report) => ValidationSummary {
                images: report.images,
                dice: report.dice.map(|e| rounded(e.value)),
                ..ValidationSummary::default()
            },
        }
    }
}

impl From<&EvaluationReport> for ValidationSummary {
    fn from(report: &EvaluationReport) -> ValidationSummary {
        let value = |e: Option<Estimate>| e.map(|e| rounded(e.value));
        ValidationSummary {
            images: report.images,
            auc: value(report.auc),
            accuracy: value(report.accuracy),
            balanced_accuracy: value(report.balanced_accuracy),
            macro_f1: value(report.macro_f1),
            log_loss: value(report.log_loss),
            dice: None,
        }
    }
}
