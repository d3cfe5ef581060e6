//! What a profile found, as it is kept in `results.json` (docs/results-schema.json).

use serde::{Deserialize, Serialize};

use super::{Environment, Latency, distinct};
use crate::board::CpuList;
use crate::engine::OURS;
use crate::vit::Size;

/// Version of the layout of [`Results`]. 4: a row has its scenarios, stages, operators, energy, cold start, verdict and
/// runs; accuracies say how they were measured; outcomes, tests and decision beside the rows.
pub const SCHEMA: u32 = 4;

/// What a profile found.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// Version of this record's layout.
    pub schema: u32,
    /// Where it was measured.
    pub environment: Environment,
    /// The command line, as it was given.
    pub command: Vec<String>,
    /// How it was measured.
    pub protocol: Protocol,
    /// What accuracy was measured on.
    pub data: Option<DataInfo>,
    /// The table, by model, instruction set, size and threads.
    pub rows: Vec<Row>,
    /// What each configuration said about each held-out image.
    pub outcomes: Vec<Outcomes>,
    /// Accuracies compared, each with that of the reference configuration.
    pub tests: Vec<PairedTest>,
    /// The configuration that the limits asked for choose.
    pub decision: Option<Decision>,
}

/// How it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// Fewest timed runs of a row.
    pub min_runs: usize,
    /// Least time of a row's timed runs, in seconds.
    pub min_seconds: f64,
    /// Rounds over all rows that the timed runs are split into.
    pub rounds: usize,
    /// Kind of the heads that measure accuracy: `linear`, `knn`, `segment`.
    pub head: String,
    /// Sittings: 1, and one more for each time that the sweep was taken up again.
    pub starts: usize,
    /// Register-only peaks of one thread, GMAC/s, by instruction set and number type.
    pub peaks: Vec<Peak>,
}

/// Multiply-accumulates that registers allow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Instruction set.
    pub isa: String,
    /// `int8` or `f32`.
    pub numbers: String,
    /// Threads that ran at once.
    pub threads: usize,
    /// 10^9 multiply-accumulates a second, of all threads together.
    pub gmacs: f64,
}

/// What accuracy was measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataInfo {
    /// Its path as it was given, or `phantoms`.
    pub name: String,
    /// SHA-256 of the list of images and labels.
    pub sha256: String,
    /// All images.
    pub images: usize,
    /// Those that accuracy was measured on.
    pub held_out: usize,
    /// Parts of a cross-validation; none where one part was held out.
    pub folds: Option<usize>,
    /// Classes of the labels or of the masks.
    pub classes: Vec<String>,
}

impl Results {
    /// Names of the models whose weights come from a seed: those whose accuracy was `judged`, or those that were timed only.
    pub fn untrained(&self, judged: bool) -> Vec<&str> {
        let rows = self.rows.iter().filter(|row| row.untrained && row.accuracy.is_some() == judged);
        distinct(rows.map(|row| row.model.as_str()))
    }
}

/// One line of the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the model.
    pub model: String,
    /// SHA-256 of its weights file; empty for a peer.
    pub sha256: String,
    /// Which code ran it, and in which precision: `microraptor int8`, `tract f32`, `peer onnxruntime`.
    pub backend: String,
    /// `int8`, `fp16`, `f32`; none for a peer.
    pub precision: Option<String>,
    /// The instruction set of our kernels; none where other code ran it.
    pub isa: Option<String>,
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
    /// Multiply-accumulates a second in the median run, in 10^9, where they are known.
    #[serde(default)]
    pub gmacs: Option<f64>,
    /// Share of the median run that its multiply-accumulates would take at the machine's peaks, 0 to 1; none where other code
    /// ran it.
    #[serde(default)]
    pub of_peak: Option<f64>,
    /// Latency of one image through the backbone (MLPerf's SingleStream); of a peer, with its decoding and resizing.
    pub latency: Latency,
    /// Each round of the timed runs.
    pub rounds: Vec<Round>,
    /// Runs in milliseconds, in the order in which they were made; of more than 2000 an even selection.
    pub runs_ms: Vec<f64>,
    /// The other scenarios asked for.
    pub scenarios: Vec<Scenario>,
    /// Stages from a file to an answer, where there is a file.
    pub stages: Option<Stages>,
    /// Where the time inside the backbone goes; empty where other code ran it.
    pub operators: Vec<OperatorShare>,
    /// Energy, where the machine tells it.
    pub energy: Vec<EnergyUse>,
    /// Start of a new process, where it was measured.
    pub cold: Option<ColdStart>,
    /// Whether the times can be relied on.
    pub verdict: Verdict,
    /// Accuracy at this size; none where there was no data, and of a model that was timed only.
    pub accuracy: Option<Accuracy>,
}

impl Row {
    /// Input size.
    pub fn size(&self) -> Size {
        Size { height: self.height, width: self.width }
    }

    /// Sets how near the median run came to the machine's peaks, from the multiply-accumulates and the operators' shares.
    pub(super) fn rate(&mut self) {
        let median = self.latency.p50_ms;
        if median > 0.0 {
            self.gmacs = self.macs.map(|macs| macs as f64 / median / 1e6);
            let least: f64 = self.operators.iter().filter_map(|op| Some(op.of_peak? * op.ms)).sum();
            self.of_peak = (least > 0.0).then_some(least / median);
        }
    }

    /// Which code ran it, and in which precision; ours is not named: `int8`, `tract f32`, `peer onnxruntime`.
    pub fn kind(&self) -> &str {
        kind(&self.backend)
    }

    /// The same with the instruction set, where there is one: `int8 avx2`.
    pub fn runs_on(&self) -> String {
        match &self.isa {
            Some(isa) => format!("{} {isa}", self.kind()),
            None => self.kind().to_owned(),
        }
    }

    /// What tells it from the other rows: `deit-tiny int8 avx2 224 2 threads`.
    pub fn label(&self) -> String {
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        format!("{} {} {} px {} {threads}", self.model, self.runs_on(), self.size(), self.threads)
    }
}

/// A backend without the name of our own code.
pub(super) fn kind(backend: &str) -> &str {
    backend.strip_prefix(OURS).map_or(backend, str::trim_start)
}

/// One round of a row, and the machine's state in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Timed runs.
    pub runs: usize,
    /// Their median.
    pub median_ms: f64,
    /// Lowest clock of the cores used right after the runs, MHz; of the fastest where no core was named.
    pub mhz: Option<u32>,
    /// Clock of each core right after the runs; those without a readable one are left out.
    pub clocks: Vec<CoreClock>,
    /// Highest temperature of any zone, degrees Celsius.
    pub celsius: Option<f64>,
    /// Share of all cores that other processes, and other guests of the host, took meanwhile, 0 to 1.
    pub other_load: Option<f64>,
    /// What slowed the machine down meanwhile.
    pub throttled: Vec<String>,
}

/// Clock of a core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoreClock {
    /// Number of the core.
    pub cpu: usize,
    /// MHz.
    pub mhz: u32,
}

/// A scenario besides SingleStream, named as in MLPerf Inference (arXiv 1911.02549, section IV).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// `MultiStream`, `Offline` or `Camera`.
    pub name: String,
    /// Images of a query (MultiStream, Offline); 1 for a camera.
    pub images: usize,
    /// Latency of a query; of a camera's frame from its exposure to its features.
    pub latency: Latency,
    /// Images a second.
    pub images_per_second: f64,
    /// Frames a second that the camera gave.
    pub fps: Option<f64>,
    /// Frames that were not looked at, since a newer one had come.
    pub dropped: Option<usize>,
    /// Frames looked at too late: after the deadline.
    pub missed: Option<usize>,
    /// The deadline, milliseconds after the exposure.
    pub deadline_ms: Option<f64>,
}

/// Medians of the stages from a file to an answer, milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    /// Images that they were measured on.
    pub images: usize,
    /// Reading and decoding.
    pub decode_ms: f64,
    /// Resizing and normalising.
    pub resize_ms: f64,
    /// Patch embedding; with [`Stages::blocks_ms`] where other code runs the model.
    pub embed_ms: f64,
    /// All blocks and the final LayerNorm.
    pub blocks_ms: f64,
    /// The head, if there is one.
    pub head_ms: Option<f64>,
    /// All of it.
    pub total_ms: f64,
}

/// An operator's part of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorShare {
    /// `attention`, `fc1`.
    pub name: String,
    /// Milliseconds in the fastest of a few runs (of all threads together, divided by their number).
    pub ms: f64,
    /// Share of the run, 0 to 1.
    pub share: f64,
    /// 10^9 multiply-accumulates a second, where it has any.
    pub gmacs: Option<f64>,
    /// Number type of its products.
    pub numbers: Option<String>,
    /// Share of the machine's peak for them, 0 to 1.
    pub of_peak: Option<f64>,
}

/// Energy of a frame by one meter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnergyUse {
    /// The meter: `RAPL package-0`, `ina3221 VDD_IN`.
    pub meter: String,
    /// What it feeds, where the board file says so.
    pub feeds: Option<String>,
    /// Joules of one image: all that the meter counted during the runs, by their number.
    pub joules_per_frame: f64,
    /// Mean power meanwhile, watts.
    pub watts: f64,
}

/// A new process: from its start to the first features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColdStart {
    /// Reading and packing the model, milliseconds.
    pub load_ms: f64,
    /// The first image: plan, working memory, run.
    pub first_ms: f64,
    /// From the start of the process to its end, as its parent sees it.
    pub process_ms: f64,
    /// Resident memory after the run, KiB.
    pub resident_kib: Option<u64>,
    /// The most that it was, KiB.
    pub peak_kib: Option<u64>,
}

/// Whether a row's times can be relied on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// VALID or INVALID.
    pub valid: bool,
    /// Why not; or, of a valid row, what is worth knowing.
    pub reasons: Vec<String>,
}

/// What a head reached on held-out images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Name of the number: `AUC` (of the second of two classes, else the mean of each against the rest), `accuracy`
    /// where a class is absent from the held-out images, or `Dice`.
    pub metric: String,
    /// Its value.
    pub value: f64,
    /// Lower end of the bootstrap's 95% interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Number of held-out images.
    pub images: usize,
}

/// What one model at one size said about the held-out images; the same on every instruction set and thread count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Name of the model.
    pub model: String,
    /// SHA-256 of its weights file.
    pub sha256: String,
    /// Which code ran it.
    pub backend: String,
    /// Input height in pixels.
    pub height: usize,
    /// Input width in pixels.
    pub width: usize,
    /// Class of each image; of masks, empty.
    pub truth: Vec<usize>,
    /// For each image the probability of each class; of masks, its Dice (none where the truth has no foreground).
    pub values: Vec<Vec<Option<f64>>>,
}

/// Two configurations on the same images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedTest {
    /// The one.
    pub a: String,
    /// The other.
    pub b: String,
    /// `AUC`, `accuracy`, `Dice`.
    pub metric: String,
    /// b's value less a's.
    pub difference: f64,
    /// 95% interval of the difference.
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
    /// Two-sided p value of no difference.
    pub p: Option<f64>,
    /// `DeLong` or `bootstrap`.
    pub test: String,
}

/// The best configuration within limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The limits: `p90 latency at most 40 ms`.
    pub limits: Vec<String>,
    /// Place of the row that was chosen; none where no row is within the limits.
    pub row: Option<usize>,
    /// What tells the row from the others.
    pub label: Option<String>,
    /// Share of bootstrap resamples (of runs and of images) in which the row is within the limits, 0 to 1.
    pub within_limits: Option<f64>,
    /// Share of them in which no other row would have been chosen, 0 to 1.
    pub best: Option<f64>,
    /// In words.
    pub reason: String,
}
