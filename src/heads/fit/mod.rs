//! Fitting: the linear probe, which selects its regularisation, and the recipe for fitting each kind of head to a data
//! set. The training of heads that use AdamW is next to the heads (`abmil.rs`, `segment/train.rs`).

mod calibrate;
mod certainty;
mod contours;
mod extracted;
mod logistic;
mod probe;
mod recipe;

pub use certainty::{
    CalibrationSummary, Certainty, CertaintyMetrics, CertaintyOptions, HELD_OUT_PARTS, HeldOut, SetAside,
    certainty,
};
pub use contours::{contours, evaluate_contours};
pub use extracted::{Extracted, check_counts};
pub(crate) use probe::standardise;
pub use probe::{ClassWeights, Criterion, FitOptions, GridPoint, LinearProbe, ProbeSearch, SearchResult};
pub use recipe::{Evaluation, EvaluationSet, Fitted, Recipe, cross_validate, evaluate};
