//! Evaluation of heads: metrics, confidence intervals and tests for classes and masks.

mod bootstrap;
mod contour;
mod coverage;
mod delong;
mod metrics;
mod operating;
mod overlap;
mod reliability;
mod report;
mod segmentation;
mod surface;

pub(crate) use bootstrap::percentile;
pub use bootstrap::{Bootstrap, Estimate, Interval};
pub use contour::{ContourCase, ContourHeld, ContourReport};
pub use coverage::{CoverageReport, wilson};
pub use delong::{Paired, delong};
pub use metrics::{AucScores, ConfusionMatrix, Rates, auc, log_loss, youden_threshold};
pub(crate) use metrics::{PROBABILITY_FLOOR, mean};
pub use operating::{OperatingPoint, OperatingRule, operating_threshold};
pub use overlap::{Overlap, overlaps};
pub use reliability::{Reliability, ReliabilityBin};
pub use report::{ClassReport, EvaluationReport};
pub(crate) use segmentation::voxel_sizes;
pub use segmentation::{Case, DenseClass, DenseReport};
pub use surface::{SurfaceDistances, surface_distances};
