//! The results of a profile, as stored in `results.json` (schema: docs/results-schema.json).

use serde::{Deserialize, Serialize};

use super::{Environment, Latency, Why, distinct};
use crate::board::CpuList;
use crate::engine::OURS;
use crate::vit::Size;

/// Version of the layout of [`Results`]. Version 4: rows have scenarios, stages, operators, energy, cold start, verdict
/// and individual runs; accuracies state how they were measured; outcomes, tests and the decision are stored beside the
/// rows.
pub const SCHEMA: u32 = 4;

/// The results of a profile.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// Version of this record's layout.
    pub schema: u32,
    /// The machine and the program.
    pub environment: Environment,
    /// The command line, as given.
    pub command: Vec<String>,
    /// The measurement protocol.
    pub protocol: Protocol,
    /// The data that accuracy was measured on; `None` if only latency was measured.
    pub data: Option<DataInfo>,
    /// The table, ordered by model, instruction set, size and threads.
    pub rows: Vec<Row>,
    /// Result of each configuration on each held-out image.
    pub outcomes: Vec<Outcomes>,
    /// Paired accuracy tests, each against a reference configuration.
    pub tests: Vec<PairedTest>,
    /// Where the answers of the heads at the largest size come from; empty unless these are `linear`, and with folds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Why>,
    /// The best configuration within the requested limits; `None` if no limit was requested.
    pub decision: Option<Decision>,
}

/// The measurement protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// Minimum number of timed runs per row.
    pub min_runs: usize,
    /// Minimum total time of a row's timed runs, in seconds.
    pub min_seconds: f64,
    /// Number of rounds over all rows that the timed runs are split into.
    pub rounds: usize,
    /// Kind of head used to measure accuracy: `linear`, `knn` or `segment`.
    pub head: String,
    /// Number of times the sweep was started: 1, plus 1 for each time it was resumed.
    #[serde(alias = "sittings")]
    pub starts: usize,
    /// Register-only compute peaks in GMAC/s, by instruction set, data type and number of threads.
    pub peaks: Vec<Peak>,
}

/// Peak multiply-accumulate rate with all operands in registers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Instruction set.
    pub isa: String,
    /// Data type: `int8` or `f32`.
    pub numbers: String,
    /// Number of threads running at once.
    pub threads: usize,
    /// 10^9 multiply-accumulates per second, summed over all threads.
    pub gmacs: f64,
}

/// The data that accuracy was measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataInfo {
    /// Path of the data as given on the command line, or `phantoms`.
    pub name: String,
    /// SHA-256 of the list of images and labels.
    pub sha256: String,
    /// Number of images.
    pub images: usize,
    /// Number of images that accuracy was measured on.
    pub held_out: usize,
    /// Number of cross-validation folds; `None` if a single held-out set was used.
    pub folds: Option<usize>,
    /// Classes of the labels or masks.
    pub classes: Vec<String>,
}

impl Results {
    /// Names of the models whose weights come from a seed: if `judged`, those whose accuracy was measured, otherwise
    /// those that were only timed.
    pub fn untrained(&self, judged: bool) -> Vec<&str> {
        let rows = self.rows.iter().filter(|row| row.untrained && row.accuracy.is_some() == judged);
        distinct(rows.map(|row| row.model.as_str()))
    }
}

/// One row of the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the model.
    pub model: String,
    /// SHA-256 of the weights file; empty for a peer.
    pub sha256: String,
    /// The code that ran the model, with its precision: `microraptor int8`, `tract f32`, `peer onnxruntime`.
    pub backend: String,
    /// `int8`, `fp16` or `f32`; `None` for a peer.
    pub precision: Option<String>,
    /// Instruction set of our kernels; `None` if other code ran the model.
    pub isa: Option<String>,
    /// Whether the weights come from a seed; the accuracy then says nothing about the architecture.
    pub untrained: bool,
    /// Input height in pixels.
    pub height: usize,
    /// Input width in pixels.
    pub width: usize,
    /// Number of threads.
    pub threads: usize,
    /// Cores that the threads were pinned to; empty if the operating system chose.
    pub cores: CpuList,
    /// Multiply-accumulates per image, if known.
    pub macs: Option<u64>,
    /// 10^9 multiply-accumulates per second in the median run, if known.
    #[serde(default)]
    pub gmacs: Option<f64>,
    /// Share of the median run that its multiply-accumulates would take at the machine's peak rates, 0 to 1; `None` if
    /// other code ran the model.
    #[serde(default)]
    pub of_peak: Option<f64>,
    /// Latency of one image through the backbone (MLPerf's SingleStream). For a peer that does not report its own time,
    /// this includes decoding and resizing.
    pub latency: Latency,
    /// Rounds of the timed runs.
    pub rounds: Vec<Round>,
    /// Latency of each run in milliseconds, in the order measured; if there were more than 2000 runs, an even
    /// selection.
    pub runs_ms: Vec<f64>,
    /// The other requested scenarios.
    pub scenarios: Vec<Scenario>,
    /// Stages from a file to a prediction; `None` without image files, or for a peer.
    pub stages: Option<Stages>,
    /// Time per operator inside the backbone; empty if other code ran the model.
    pub operators: Vec<OperatorShare>,
    /// Energy, one entry per meter; empty if the machine has no readable meter.
    pub energy: Vec<EnergyUse>,
    /// Cold start in a new process, if measured.
    pub cold: Option<ColdStart>,
    /// Whether the times are reliable.
    pub verdict: Verdict,
    /// Accuracy at this size; `None` without data, or if the model was only timed.
    pub accuracy: Option<Accuracy>,
}

impl Row {
    /// Input size.
    pub fn size(&self) -> Size {
        Size { height: self.height, width: self.width }
    }

    /// Sets `gmacs` and `of_peak` of the median run from the multiply-accumulates and the operators' times.
    pub(super) fn rate(&mut self) {
        let median = self.latency.p50_ms;
        if median > 0.0 {
            self.gmacs = self.macs.map(|macs| macs as f64 / median / 1e6);
            let least: f64 = self.operators.iter().filter_map(|op| Some(op.of_peak? * op.ms)).sum();
            self.of_peak = (least > 0.0).then_some(least / median);
        }
    }

    /// The code that ran the model, with its precision, but without the name of our own code: `int8`, `tract f32`,
    /// `peer onnxruntime`.
    pub fn kind(&self) -> &str {
        kind(&self.backend)
    }

    /// [`Row::kind`] followed by the instruction set, if there is one: `int8 avx2`.
    pub fn runs_on(&self) -> String {
        match &self.isa {
            Some(isa) => format!("{} {isa}", self.kind()),
            None => self.kind().to_owned(),
        }
    }

    /// Label that distinguishes this row from the others: `deit-tiny int8 avx2 224 px 2 threads`.
    pub fn label(&self) -> String {
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        format!("{} {} {} px {} {threads}", self.model, self.runs_on(), self.size(), self.threads)
    }
}

/// Backend name without the prefix for our own code.
pub(super) fn kind(backend: &str) -> &str {
    backend.strip_prefix(OURS).map_or(backend, str::trim_start)
}

/// One round of a row, with the machine's state during it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Number of timed runs.
    pub runs: usize,
    /// Median latency, milliseconds.
    pub median_ms: f64,
    /// Lowest clock among the cores used, right after the runs, MHz; the highest clock of any core if none were pinned.
    pub mhz: Option<u32>,
    /// Clock of each core right after the runs; cores without a readable clock are skipped.
    pub clocks: Vec<CoreClock>,
    /// Highest temperature of any thermal zone, degrees Celsius.
    pub celsius: Option<f64>,
    /// Share of all cores' time taken by other processes and other guests of the host during the round, 0 to 1.
    pub other_load: Option<f64>,
    /// Reasons for throttling during the round.
    pub throttled: Vec<String>,
}

/// Clock of one core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoreClock {
    /// Core number.
    pub cpu: usize,
    /// Clock in MHz.
    pub mhz: u32,
}

/// A scenario besides SingleStream, named as in MLPerf Inference (arXiv 1911.02549, section IV).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// `MultiStream`, `Offline` or `Camera`.
    pub name: String,
    /// Images per query (MultiStream, Offline); 1 for Camera.
    pub images: usize,
    /// Latency of a query; for Camera, from a frame's exposure to its features.
    pub latency: Latency,
    /// Images per second.
    pub images_per_second: f64,
    /// Camera frame rate, frames per second.
    pub fps: Option<f64>,
    /// Number of frames skipped because a newer one had arrived.
    pub dropped: Option<usize>,
    /// Number of frames whose features came after the deadline.
    pub missed: Option<usize>,
    /// Deadline, milliseconds after the exposure.
    pub deadline_ms: Option<f64>,
}

/// Median time of each stage from a file to a prediction, milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    /// Number of images measured.
    pub images: usize,
    /// Reading and decoding.
    pub decode_ms: f64,
    /// Resizing and normalising.
    pub resize_ms: f64,
    /// Patch embedding; 0 if other code runs the model, whose time is then all in [`Stages::blocks_ms`].
    pub embed_ms: f64,
    /// All blocks and the final LayerNorm.
    pub blocks_ms: f64,
    /// The head, if there is one.
    pub head_ms: Option<f64>,
    /// Sum of all stages.
    pub total_ms: f64,
}

/// One operator's share of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorShare {
    /// Name of the operator: `attention`, `fc1`.
    pub name: String,
    /// Milliseconds in the fastest of a few runs (summed over all threads, divided by their number).
    pub ms: f64,
    /// Share of the run's time, 0 to 1.
    pub share: f64,
    /// 10^9 multiply-accumulates per second, if the operator has any.
    pub gmacs: Option<f64>,
    /// Data type of the operator's products.
    pub numbers: Option<String>,
    /// Share of the machine's peak rate for that data type, 0 to 1.
    pub of_peak: Option<f64>,
}

/// Energy per image, as measured by one meter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnergyUse {
    /// Name of the meter: `RAPL package-0`, `ina3221 VDD_IN`.
    pub meter: String,
    /// What the metered rail supplies, if the board file states it.
    pub feeds: Option<String>,
    /// Joules per image: all energy counted during the runs, divided by the number of runs.
    pub joules_per_frame: f64,
    /// Mean power during the runs, watts.
    pub watts: f64,
}

/// Cold start of a new process, which computes the features of one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColdStart {
    /// Reading and packing the model, milliseconds.
    pub load_ms: f64,
    /// First image: building the plan, allocating working memory and running, milliseconds.
    pub first_ms: f64,
    /// From the start of the process to its exit, as seen by its parent, milliseconds.
    pub process_ms: f64,
    /// Resident memory after the run, KiB.
    pub resident_kib: Option<u64>,
    /// Peak resident memory, KiB.
    pub peak_kib: Option<u64>,
}

/// Whether a row's times are reliable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// `true` for VALID, `false` for INVALID.
    pub valid: bool,
    /// Reasons why the row is INVALID; empty for a VALID row.
    pub reasons: Vec<String>,
}

/// Accuracy of a head on held-out images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Name of the metric: `AUC` (of the second class if there are two, otherwise the mean of the one-vs-rest AUCs),
    /// `accuracy` if a class is absent from the held-out images, or `Dice`.
    pub metric: String,
    /// Value of the metric.
    pub value: f64,
    /// Lower end of the 95% bootstrap confidence interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Number of held-out images.
    pub images: usize,
}

/// Results of one model at one size on each held-out image; identical for every instruction set and thread count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Name of the model.
    pub model: String,
    /// SHA-256 of the weights file.
    pub sha256: String,
    /// The code that ran the model, with its precision.
    pub backend: String,
    /// Input height in pixels.
    pub height: usize,
    /// Input width in pixels.
    pub width: usize,
    /// Class of each image; empty for masks.
    pub truth: Vec<usize>,
    /// For each image, the probability of each class; for masks, the Dice of each foreground class (`None` if that
    /// class is absent from the true mask).
    pub values: Vec<Vec<Option<f64>>>,
}

/// Paired comparison of two configurations on the same images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedTest {
    /// Label of the reference configuration.
    pub a: String,
    /// Label of the compared configuration.
    pub b: String,
    /// `AUC`, `accuracy` or `Dice`.
    pub metric: String,
    /// Value of b minus value of a.
    pub difference: f64,
    /// Lower end of the difference's 95% confidence interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Two-sided p-value for the null hypothesis of no difference.
    pub p: Option<f64>,
    /// `DeLong` or `bootstrap`.
    pub test: String,
}

/// The best configuration within the limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The limits, in words: `90th percentile of the latency at most 40 ms`.
    pub limits: Vec<String>,
    /// Index of the chosen row; `None` if no row is within the limits.
    pub row: Option<usize>,
    /// Label of the chosen row.
    pub label: Option<String>,
    /// Share of bootstrap resamples (of runs and of images) in which the row is within the limits, 0 to 1.
    pub within_limits: Option<f64>,
    /// Share of these resamples in which the same row is chosen again, 0 to 1.
    pub best: Option<f64>,
    /// Explanation in words.
    pub reason: String,
}
