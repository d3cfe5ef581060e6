//! Fitting: the probe that chooses its regularisation, and the recipe for a head of each kind on the examples of a data set. The heads
//! that are trained by AdamW have their training beside them (`abmil.rs`, `segment/train.rs`).

mod extracted;
mod logistic;
mod probe;
mod recipe;

pub use extracted::{Extracted, check_counts};
pub(crate) use probe::standardise;
pub use probe::{ClassWeights, Criterion, FitOptions, GridPoint, LinearProbe, ProbeSearch, SearchResult};
pub use recipe::{Evaluation, EvaluationSet, Fitted, Recipe, cross_validate, evaluate};
