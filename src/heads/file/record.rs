//! What a head's model card says of its training beyond the rest of the file: the data and the metrics with intervals.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::heads::{DenseReport, Evaluation, EvaluationReport, EvaluationSet, HeadModel};
use crate::input::ScanKind;
use crate::quant::Precision;

/// Most classes of which each has its own metrics in the file: they take a kilobyte each, and the counts of confusions as
/// much again.
const CLASSES: usize = 32;

/// The data and the metrics of a training. It names no image, path or patient: the data have a digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Number format of the backbone's matrices, such as `int8`.
    pub precision: String,
    /// [`Dataset::digest`](crate::input::Dataset::digest) of the training and validation images: their names and labels.
    pub data: String,
    /// Number of images (clips, volumes) that were trained on.
    pub train_images: usize,
    /// Validation images of each class, in the head's order.
    pub validation_per_class: Vec<usize>,
    /// Number of images that the data set aside for testing, which were not used.
    pub test_images: usize,
    /// Whether any image is DICOM.
    pub dicom: bool,
    /// How many of the training and validation images are a single `image`, a `clip`, a `volume`.
    pub kinds: BTreeMap<String, usize>,
    /// Smallest and largest width and height of these images in pixels, as stored.
    pub widths: [usize; 2],
    /// As `widths`.
    pub heights: [usize; 2],
    /// On the validation images.
    pub validation: Metrics,
    /// By cross-validation over training and validation images, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_validation: Option<CrossValidation>,
}

/// Metrics by cross-validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrossValidation {
    /// Number of parts.
    pub parts: usize,
    /// Over all parts together.
    pub metrics: Metrics,
}

/// The metrics of either kind of head, with 95% intervals. Of more than 32 classes only what concerns all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Metrics {
    /// Of classes.
    Classes(Box<EvaluationReport>),
    /// Of masks.
    Dense(Box<DenseReport>),
}

impl From<&Evaluation> for Metrics {
    fn from(evaluation: &Evaluation) -> Metrics {
        match evaluation {
            Evaluation::Classes(_, report) => {
                let mut report = report.clone();
                if report.classes.len() > CLASSES {
                    report.classes.clear();
                    report.confusion = None;
                }
                Metrics::Classes(report)
            }
            Evaluation::Dense(_, report) => {
                let mut report = report.clone();
                if report.classes.len() > CLASSES {
                    report.classes.clear();
                }
                Metrics::Dense(report)
            }
        }
    }
}

impl TrainingRecord {
    /// Of a head, trained on features in `precision` of the examples `train` of `set`, and evaluated on `val`, with the result `validation`.
    /// `test_images` more were set aside. `folds` is the number of parts and the result of a cross-validation.
    pub fn new(
        (precision, model): (Precision, &HeadModel),
        set: &EvaluationSet<'_>,
        (train, val): (&[usize], &[usize]),
        test_images: usize,
        validation: &Evaluation,
        folds: Option<(usize, &Evaluation)>,
    ) -> TrainingRecord {
        let used = || train.iter().chain(val).filter_map(|&i| set.features.get(i)).map(|scan| &scan.geometry);
        let mut kinds = BTreeMap::new();
        for geometry in used() {
            let kind = match geometry.kind {
                ScanKind::Image => "image",
                ScanKind::Clip => "clip",
                ScanKind::Volume => "volume",
            };
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
        let ends = |side: fn((usize, usize)) -> usize| {
            let sides = || used().map(|geometry| side(geometry.size));
            [sides().min().unwrap_or(0), sides().max().unwrap_or(0)]
        };
        TrainingRecord {
            precision: precision.to_string(),
            data: set.data.digest(),
            train_images: train.len(),
            validation_per_class: set.per_class(model, val),
            test_images,
            dicom: set.data.holds_dicom(),
            kinds,
            widths: ends(|(_, columns)| columns),
            heights: ends(|(rows, _)| rows),
            validation: validation.into(),
            cross_validation: folds
                .map(|(parts, metrics)| CrossValidation { parts, metrics: metrics.into() }),
        }
    }
}
