//! What heads are worth: metrics, intervals and tests of classes and masks.

mod bootstrap;
mod dense;
mod metrics;
mod overlap;
mod paired;
mod report;
mod surface;

pub(crate) use bootstrap::percentile;
pub use bootstrap::{Bootstrap, Estimate, Interval};
pub use dense::{Case, DenseClass, DenseReport};
pub use metrics::{AucScores, ConfusionMatrix, Rates, auc, log_loss, youden_threshold};
pub(crate) use metrics::{PROBABILITY_FLOOR, mean};
pub use overlap::{Overlap, overlaps};
pub use paired::{Paired, delong};
pub use report::{ClassReport, Report};
pub use surface::{SurfaceDistances, surface_distances};
