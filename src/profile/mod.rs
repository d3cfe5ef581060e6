//! Latency against accuracy, on this machine.
//!
//! A row is a model at an input size on a number of threads. Latency is one image through the backbone, pixels to
//! features; decoding and resizing are told beside it. Accuracy is that of a head trained at that very size.
//! docs/profile.md tells what is measured how, and when a row is INVALID.

mod accuracy;
mod case;
mod compare;
mod data;
mod decision;
mod deploy;
mod environment;
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

use std::path::{Path, PathBuf};

pub use case::picture;
pub use compare::{Change, Comparison, Recorded, Tolerance};
pub use data::Data;
pub use decision::Limits;
pub use deploy::{Deploy, Expected};
pub use environment::Environment;
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

use crate::board::{BoardError, Cores};
use crate::engine::EngineError;
use crate::features::{FeatureCache, FeatureError};
use crate::files;
use crate::files::WriteError;
use crate::heads::{HeadError, Recipe};
use crate::input::{InputError, ReadOptions};
use crate::vit::Size;

/// Why a profile could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The backbone failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An image or the data set could not be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The head could not be fitted.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Features that could not be made.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// A meter or a pin failed.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Another process has the folder.
    #[error("{}: another profile of the same configurations is at work there: wait for it, or give another -o", .0.display())]
    Busy(PathBuf),
    /// A peer failed.
    #[error("peer {name}: {reason}")]
    Peer {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A process that was to measure a cold start failed.
    #[error("cold start of {model}: {reason}")]
    Cold {
        /// The model.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// A `results.json` could not be read.
    #[error("{}: {reason}", .path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A deployment file could not be read.
    #[error("{}: {reason}", .path.display())]
    Deploy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system's folder for temporary files cannot be used.
    #[error("a temporary file cannot be written ({0}): set TMPDIR to a folder with space")]
    Temporary(String),
}

impl ProfileError {
    fn temporary(error: std::io::Error) -> ProfileError {
        ProfileError::Temporary(error.to_string())
    }

    fn picture(error: image::ImageError) -> ProfileError {
        ProfileError::Temporary(error.to_string())
    }
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Input sizes.
    pub sizes: Vec<Size>,
    /// Thread counts, and the cores for each.
    pub threads: Vec<Cores>,
    /// How long to time each row.
    pub budget: Budget,
    /// Scenarios besides SingleStream.
    pub scenarios: Vec<ScenarioKind>,
    /// Threads for the features that accuracy needs.
    pub accuracy_threads: Cores,
    /// The head that accuracy is measured with.
    pub recipe: Recipe,
    /// Its name: `linear`, `knn`, `segment`.
    pub head: String,
    /// Parts of a cross-validation; none to hold one part out.
    pub folds: Option<usize>,
    /// Seed of the validation split, the folds and the bootstrap.
    pub seed: u64,
    /// Share of the images that is held out where the data has no split.
    pub val_share: f64,
    /// How files become pixels.
    pub read: ReadOptions,
    /// Where features are kept between runs.
    pub cache: Option<FeatureCache>,
}

/// The text of a file of at most `limit` bytes.
fn read_bounded(path: &Path, limit: u64) -> Result<String, String> {
    files::text(path, limit).map_err(|e| match e.kind() {
        std::io::ErrorKind::FileTooLarge => format!("is larger than {} KiB", limit >> 10),
        _ => format!("cannot be read: {e}"),
    })
}

/// Values in the order in which they first come.
fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}
