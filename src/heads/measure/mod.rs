//! Evaluation of heads: metrics, confidence intervals and tests for classes and masks.

mod bootstrap;
mod segmentation;
mod metrics;
mod overlap;
mod delong;
mod report;
mod surface;

pub(crate) use bootstrap::percentile;
pub use bootstrap::{Bootstrap, Estimate, Interval};
pub use segmentation::{Case, DenseClass, DenseReport};
pub use metrics::{AucScores, ConfusionMatrix, Rates, auc, log_loss, youden_threshold};
pub(crate) use metrics::{PROBABILITY_FLOOR, mean};
pub use overlap::{Overlap, overlaps};
pub use delong::{Paired, delong};
pub use report::{ClassReport, EvaluationReport};
pub use surface::{SurfaceDistances, surface_distances};
