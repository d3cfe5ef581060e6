//! Latency against accuracy, on this machine.
//!
//! A row is a model at an input size on a number of threads. Latency is one image through the backbone, pixels to
//! features; decoding and resizing are not in it. Accuracy is that of a linear probe fitted at that very size.

mod accuracy;
mod environment;
mod export;
mod latency;
mod stats;

use serde::Serialize;

pub use accuracy::Accuracy;
pub use environment::Environment;
pub use export::{check_folder, save};
pub use latency::Budget;
pub use stats::Latency;

use crate::board::{Cores, CpuList};
use crate::engine::{Engine, EngineError};
use crate::heads::HeadError;
use crate::input::{Dataset, InputError};
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
    /// The probe could not be fitted.
    #[error(transparent)]
    Head(#[from] HeadError),
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
    /// Threads for the features that accuracy needs.
    pub accuracy_threads: Cores,
    /// Seed of the validation split.
    pub seed: u64,
    /// Share of the images that is held out where the data has no split.
    pub val_share: f64,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the model.
    pub model: String,
    /// SHA-256 of its weights file.
    pub sha256: String,
    /// Which code ran it, and in which precision.
    pub backend: &'static str,
    /// The instruction set of our kernels; None where tract ran it.
    pub isa: Option<&'static str>,
    /// Whether its weights come from a seed; its accuracy then says nothing about the architecture.
    pub untrained: bool,
    /// Input height in pixels.
    pub height: usize,
    /// Input width in pixels.
    pub width: usize,
    /// Threads.
    pub threads: usize,
    /// The cores that they were kept to; none where the system chose.
    pub cores: CpuList,
    /// Multiply-accumulates of one image, where they are known.
    pub macs: Option<u64>,
    /// Latency of one image.
    pub latency: Latency,
    /// Accuracy at this size, if there was data.
    pub accuracy: Option<Accuracy>,
}

impl Row {
    /// Input size.
    pub fn size(&self) -> Size {
        Size { height: self.height, width: self.width }
    }
}

/// What a profile found.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// Version of this record's layout.
    pub schema: u32,
    /// Where it was measured.
    pub environment: Environment,
    /// Name of the data that accuracy was measured on.
    pub data: Option<String>,
    /// The table, by model, size and threads.
    pub rows: Vec<Row>,
}

/// Version of the layout of [`Results`]; 2 added a row's `isa`, 3 its `cores`, and the environment's `machine`, `before` and
/// `after`.
pub const SCHEMA: u32 = 3;

/// Steps that [`sweep`] reports for one engine: one a latency row and round, one an image and size.
pub fn steps(options: &Options, images: usize) -> usize {
    options.sizes.len() * (options.threads.len() * latency::ROUNDS + images)
}

/// Measures one engine at every size and thread count. `tick` is called after each of [`steps`].
///
/// Timed runs are split into rounds that visit every row in turn, so that a slow minute of the machine is shared by all.
///
/// # Errors
/// [`ProfileError`]: a size or thread count that the model cannot take or a class with too few images (both found
/// before anything is measured), an image that cannot be read.
pub fn sweep(
    engine: &Engine,
    options: &Options,
    data: Option<&Dataset>,
    tick: &dyn Fn(),
) -> Result<Vec<Row>, ProfileError> {
    for &size in &options.sizes {
        engine.check_size(size)?;
    }
    let sessions =
        options.threads.iter().map(|cores| engine.session(cores)).collect::<Result<Vec<_>, _>>()?;
    let parts = data.map(|data| accuracy::Parts::new(data, options)).transpose()?;
    let accuracy = |&size: &Size| {
        parts.as_ref().map(|parts| parts.measure(engine, size, &options.accuracy_threads, tick)).transpose()
    };
    let accuracies = options.sizes.iter().map(accuracy).collect::<Result<Vec<_>, _>>()?;
    let latencies = latency::sweep(engine, sessions, options, tick)?;

    let about = engine.about();
    let mut rows = Vec::with_capacity(latencies.len());
    for (&size, accuracy) in options.sizes.iter().zip(&accuracies) {
        for cores in &options.threads {
            let macs = engine.config().and_then(|c| c.macs(size).ok());
            rows.push(Row {
                model: about.name.clone(),
                sha256: about.sha256.clone(),
                backend: about.backend,
                isa: about.isa.map(|isa| isa.name()),
                untrained: about.untrained,
                height: size.height,
                width: size.width,
                threads: cores.threads(),
                cores: cores.cpus().clone(),
                macs,
                latency: latencies[rows.len()].clone(),
                accuracy: accuracy.clone(),
            });
        }
    }
    Ok(rows)
}
