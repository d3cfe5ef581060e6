//! Evaluation of heads: metrics, confidence intervals and tests for classes and masks.

mod bootstrap;
mod delong;
mod metrics;
mod overlap;
mod report;
mod segmentation;
mod surface;

pub(crate) use bootstrap::percentile;
pub use bootstrap::{Bootstrap, Estimate, Interval};
pub use delong::{Paired, delong};
pub use metrics::{AucScores, ConfusionMatrix, Rates, auc, log_loss, youden_threshold};
pub(crate) use metrics::{PROBABILITY_FLOOR, mean};
pub use overlap::{Overlap, overlaps};
pub use report::{ClassReport, EvaluationReport};
pub(crate) use segmentation::voxel_sizes;
pub use segmentation::{Case, DenseClass, DenseReport};
pub use surface::{SurfaceDistances, surface_distances};
