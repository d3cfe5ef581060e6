//! Lightweight heads on frozen features: fitting, the file format, and evaluation metrics.
//!
//! Most heads read one feature row per image or frame, [`cls_and_mean`](crate::features::cls_and_mean); dense heads
//! read patch tokens. Fitting is deterministic: the same features and options give the same head on the same machine.

mod abmil;
mod error;
mod file;
mod fit;
mod frame;
mod knn;
mod linear;
mod measure;
mod model;
mod nn;
#[cfg(feature = "onnx")]
mod onnx;
mod ood;
mod output;
mod predictor;
mod probability;
mod scores;
mod segment;
mod targets;

pub use abmil::{AbmilHead, AbmilOptions, BagPrediction, Bags};
pub use error::{HeadError, HeadFormatError};
pub use file::{Backbone, DrawnSplit, Head, Provenance, TrainingSummary, ValidationSummary};
pub use fit::{
    ClassWeights, Criterion, Evaluation, EvaluationSet, Extracted, FitOptions, Fitted, GridPoint,
    LinearProbe, ProbeSearch, Recipe, SearchResult, check_counts, cross_validate, evaluate,
};
pub(crate) use frame::{Frame, Memory, Said};
pub use knn::{Bank, KnnHead, TEMPERATURE};
pub use linear::{LinearHead, Prediction};
pub use measure::{
    AucScores, Bootstrap, Case, ClassReport, ConfusionMatrix, DenseClass, DenseReport, Estimate,
    EvaluationReport, Interval, Overlap, Paired, Rates, SurfaceDistances, auc, delong, log_loss, overlaps,
    surface_distances, youden_threshold,
};
pub use model::{FeatureKind, HeadModel};
#[cfg(feature = "onnx")]
pub use onnx::OnnxHead;
pub use ood::{OodScore, OutOfDistribution};
pub use output::{OutputHead, class_names};
pub use predictor::{Outcome, Predictor};
pub(crate) use predictor::{PackedHead, Votes, outcome};
pub use scores::Activation;
pub use segment::{Masked, SegmentHead, SegmentOptions};
pub use targets::{Examples, Targets};
