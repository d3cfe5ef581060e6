//! Lightweight heads on frozen features: fitting, the file format, and evaluation metrics.
//!
//! Most heads read one feature row per image or frame, [`cls_and_mean`](crate::features::cls_and_mean); dense heads
//! read patch tokens. Fitting is deterministic: the same features and options give the same head on the same machine.

mod abmil;
mod calibration;
mod conformal;
mod contour;
mod error;
mod explain;
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
pub use calibration::Calibration;
pub use conformal::{Conformal, Guarantee, SetRule};
pub use contour::{CONTOUR_SHARE, ContourRule, ContourScore, Contours};
pub use error::{HeadError, HeadFormatError};
pub(crate) use explain::Explainer;
pub use explain::{
    Against, Contributions, Explanation, Logit, Neighbour, Neighbours, Shown, Summed, Unexplained,
    explainable,
};
pub use file::{
    Backbone, CrossValidation, DrawnSplit, Head, HeadAttestation, Metrics, Provenance, TrainingRecord,
    TrainingSummary, ValidationSummary,
};
pub use fit::{
    CalibrationSummary, Certainty, CertaintyMetrics, CertaintyOptions, ClassWeights, Criterion, Evaluation,
    EvaluationSet, Extracted, FitOptions, Fitted, GridPoint, HELD_OUT_PARTS, HeldOut, LinearProbe,
    ProbeSearch, Recipe, SearchResult, SetAside, certainty, check_counts, contours, cross_validate, evaluate,
    evaluate_contours,
};
pub(crate) use frame::{Frame, Memory, Said};
pub use knn::{Bank, KnnHead, TEMPERATURE};
pub use linear::{LinearHead, Prediction};
pub use measure::{
    AucScores, Bootstrap, Case, ClassReport, ConfusionMatrix, ContourCase, ContourHeld, ContourReport,
    CoverageReport, DenseClass, DenseReport, Estimate, EvaluationReport, Interval, OperatingPoint,
    OperatingRule, Overlap, Paired, Rates, Reliability, ReliabilityBin, SurfaceDistances, auc, delong,
    log_loss, operating_threshold, overlaps, surface_distances, wilson, youden_threshold,
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
