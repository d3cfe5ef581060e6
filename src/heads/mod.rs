//! Light heads on frozen features: fitting them, their file, and the metrics that say what they are worth.
//!
//! Most heads read one row of features for each image or frame, [`cls_and_mean`]; dense ones read patch tokens. Fitting is
//! deterministic: the same features and options give the same head on the same machine.

mod abmil;
mod bootstrap;
mod cache;
mod dense;
mod error;
mod examples;
mod features;
mod file;
mod knn;
mod linear;
mod logistic;
mod metrics;
mod model;
mod nn;
#[cfg(feature = "onnx")]
mod onnx;
mod ood;
mod overlap;
mod paired;
mod probe;
mod recipe;
mod report;
mod sealed;
mod segment;
mod surface;

pub use abmil::{AbmilHead, AbmilOptions, BagPrediction, Bags};
pub use bootstrap::{Bootstrap, Estimate, Interval};
pub use cache::FeatureCache;
pub use dense::{Case, DenseClass, DenseReport};
pub use error::HeadError;
pub use examples::{Examples, Targets};
pub use features::{Collector, Extracted, Geometry, Request, ScanFeatures, check_counts, gather, geometry};
pub use file::{Backbone, DrawnSplit, Head, TrainingSummary, ValidationSummary};
pub use knn::{Bank, KnnHead, TEMPERATURE};
pub use linear::{LinearHead, Prediction};
pub use metrics::{AucScores, ConfusionMatrix, Rates, auc, log_loss, youden_threshold};
pub use model::{FeatureKind, HeadModel, Outcome, Predictor};
#[cfg(feature = "onnx")]
pub use onnx::OnnxHead;
pub use ood::{OodScore, OutOfDistribution};
pub use overlap::{Overlap, overlaps};
pub use paired::{Paired, delong};
pub use probe::{ClassWeights, Criterion, FitOptions, GridPoint, LinearProbe, Search, SearchResult};
pub use recipe::{Examined, Fitted, Judgement, Recipe, cross_validate, judge};
pub use report::{ClassReport, Report};
pub use segment::{Grid, Masked, SegmentHead, SegmentOptions, Tokens};
pub use surface::{SurfaceDistances, surface_distances};

/// The row of features of one image: CLS followed by the mean of its patch tokens (DINOv3's linear probe, arXiv
/// 2508.10104), `[2 * dim]`.
///
/// `cls` is `[dim]`, `patch` is `[n, dim]` row-major. The mean is summed in f64 in the order of the patches, so the
/// same tokens give the same bits everywhere. Without patches the row is CLS alone, `[dim]`; values after the last
/// whole patch are not read.
///
/// ```
/// # use microraptor::heads::cls_and_mean;
/// assert_eq!(cls_and_mean(&[1.0, 2.0], &[3.0, 4.0, 5.0, 8.0]), [1.0, 2.0, 4.0, 6.0]);
/// ```
pub fn cls_and_mean(cls: &[f32], patch: &[f32]) -> Vec<f32> {
    let mut row = cls.to_vec();
    if cls.is_empty() || patch.len() < cls.len() {
        return row;
    }
    let mut sum = vec![0f64; cls.len()];
    let patches = patch.chunks_exact(cls.len());
    let n = patches.len() as f64;
    for token in patches {
        for (sum, &value) in sum.iter_mut().zip(token) {
            *sum += f64::from(value);
        }
    }
    row.extend(sum.iter().map(|sum| (sum / n) as f32));
    row
}
