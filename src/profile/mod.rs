//! The profiler: latency and accuracy of models on this machine.
//!
//! A row is one model at one input size on one number of threads. Its latency is that of one image through the
//! backbone, from pixels to features; decoding and resizing are reported separately. Its accuracy is that of a head
//! trained at the same input size. docs/profile.md describes how each quantity is measured and when a row is INVALID.

mod accuracy;
mod case;
mod compare;
mod data;
mod decision;
mod deploy;
mod environment;
mod error;
mod export;
mod headfile;
mod journal;
mod monitor;
mod operators;
mod outcomes;
mod peer;
mod peer_features;
pub mod report;
mod results;
mod scenario;
mod stages;
mod stats;
mod sweep;
mod verdict;
mod why;

use std::path::Path;

pub use case::picture;
pub use compare::{Change, Comparison, Recorded, Tolerance};
pub use data::Data;
pub use decision::Limits;
pub use deploy::{Deploy, Expected};
pub use environment::Environment;
pub use error::{DeployError, PeerError, ProfileError, ResultsError, TextError};
pub use export::{HEADS_FOLDER, check_folder, is_report_file, save};
pub use journal::Journal;
pub use monitor::Watch;
pub use outcomes::Measure;
pub use peer::PeerSpec;
pub use results::{
    Accuracy, ColdStart, CoreClock, DataInfo, Decision, EnergyUse, OperatorShare, Outcomes, PairedTest, Peak,
    Protocol, Results, Round, Row, SCHEMA, Scenario, Stages, Verdict,
};
pub use scenario::{ScenarioError, ScenarioKind, ScenarioName};
pub use stats::Latency;
pub use sweep::{Budget, Cold, Found, ROUNDS, Sweep};
pub use why::Why;

use crate::board::Cores;
use crate::features::FeatureCache;
use crate::files;
use crate::heads::Recipe;
use crate::input::ReadOptions;
use crate::vit::Size;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Input sizes.
    pub sizes: Vec<Size>,
    /// Thread counts, each with the cores to use.
    pub threads: Vec<Cores>,
    /// Minimum runs and time per row.
    pub budget: Budget,
    /// Scenarios besides SingleStream.
    pub scenarios: Vec<ScenarioKind>,
    /// Threads that compute the features for measuring accuracy.
    pub accuracy_threads: Cores,
    /// How the head that measures accuracy is fitted.
    pub recipe: Recipe,
    /// Kind of that head: `linear`, `knn` or `segment`.
    pub head: String,
    /// Number of cross-validation folds; `None` to use a single held-out set.
    pub folds: Option<usize>,
    /// Seed of the validation split, the folds and the bootstrap.
    pub seed: u64,
    /// Share of the images to hold out if the data specifies no split.
    pub val_share: f64,
    /// How files are decoded into pixels.
    pub read: ReadOptions,
    /// Cache that keeps features between runs.
    pub cache: Option<FeatureCache>,
}

/// Reads a text file of at most `limit` bytes.
fn read_bounded(path: &Path, limit: u64) -> Result<String, TextError> {
    files::text(path, limit).map_err(|e| match e.kind() {
        std::io::ErrorKind::FileTooLarge => TextError::TooLarge(limit),
        _ => TextError::Read(e),
    })
}

/// Distinct values, in order of first occurrence.
fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}
