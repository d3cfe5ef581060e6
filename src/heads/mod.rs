//! Light heads on frozen features: fitting them, their file, and the metrics that say what they are worth.
//!
//! Most heads read one row of features for each image or frame, [`cls_and_mean`](crate::features::cls_and_mean); dense ones read patch tokens. Fitting is
//! deterministic: the same features and options give the same head on the same machine.

mod abmil;
mod bootstrap;
mod dense;
mod error;
mod examples;
mod extracted;
mod file;
mod frame;
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
mod predictor;
mod probe;
mod recipe;
mod report;
mod segment;
mod surface;

pub use abmil::{AbmilHead, AbmilOptions, BagPrediction, Bags};
pub use bootstrap::{Bootstrap, Estimate, Interval};
pub use dense::{Case, DenseClass, DenseReport};
pub use error::HeadError;
pub use examples::{Examples, Targets};
pub use extracted::{Extracted, check_counts};
pub use file::{Backbone, DrawnSplit, Head, TrainingSummary, ValidationSummary};
pub(crate) use frame::{Frame, Said};
pub use knn::{Bank, KnnHead, TEMPERATURE};
pub use linear::{LinearHead, Prediction};
pub use metrics::{AucScores, ConfusionMatrix, Rates, auc, log_loss, youden_threshold};
pub use model::{FeatureKind, HeadModel};
#[cfg(feature = "onnx")]
pub use onnx::OnnxHead;
pub use ood::{OodScore, OutOfDistribution};
pub use overlap::{Overlap, overlaps};
pub use paired::{Paired, delong};
pub use predictor::{Outcome, Predictor};
pub(crate) use predictor::{PackedHead, Votes, outcome};
pub use probe::{ClassWeights, Criterion, FitOptions, GridPoint, LinearProbe, Search, SearchResult};
pub use recipe::{Examined, Fitted, Judgement, Recipe, cross_validate, judge};
pub use report::{ClassReport, Report};
pub use segment::{Masked, SegmentHead, SegmentOptions};
pub use surface::{SurfaceDistances, surface_distances};
