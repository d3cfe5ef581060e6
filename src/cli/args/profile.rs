//! Arguments of `profile` and `compare`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use microraptor::board::{MeterSpec, Signal};
use microraptor::profile::{PeerSpec, ScenarioName};
use microraptor::vit::Size;

use super::{CacheArgs, HintArgs, Placement, ReadArgs, SplitArgs};

/// A time: `40ms`, `0.5s`; a bare number is milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Milliseconds(pub f64);

impl FromStr for Milliseconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Milliseconds, String> {
        let text = text.trim();
        let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(number), _) => (number, 1.0),
            (None, Some(number)) => (number, 1e3),
            (None, None) => (text, 1.0),
        };
        match number.trim().parse::<f64>() {
            Ok(value) if value > 0.0 && value.is_finite() => Ok(Milliseconds(value * unit)),
            _ => Err("give a time such as 40ms or 0.5s".to_owned()),
        }
    }
}

/// A fraction: `5%`, or `0.05`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        let text = text.trim();
        let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
        match number.trim().parse::<f64>() {
            Ok(value) if value >= 0.0 && value.is_finite() => Ok(Share(value * unit)),
            _ => Err("give a share such as 5% or 0.05".to_owned()),
        }
    }
}

/// Heads with which accuracy is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileHead {
    /// Logistic regression on CLS and the mean of the patch tokens
    Linear,
    /// Vote of the nearest training images, by cosine similarity of CLS
    Knn,
    /// A class for each pixel, trained on masks; measured by Dice
    Segment,
}

impl ProfileHead {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ProfileHead::Linear => "linear",
            ProfileHead::Knn => "knn",
            ProfileHead::Segment => "segment",
        }
    }
}

#[derive(Debug, Args)]
pub struct ProfileArgs {
    #[cfg_attr(
        feature = "demo",
        doc = "Models to compare; untrained:NAME beside one of another kind is timed only [default: demo]"
    )]
    #[cfg_attr(
        not(feature = "demo"),
        doc = "Models to compare; untrained:NAME beside one of another kind is timed only [default: \
               untrained:dinov3-vits16]"
    )]
    #[arg(value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    /// Input sizes
    #[arg(
        long,
        visible_alias = "size",
        value_name = "R,...",
        value_delimiter = ',',
        default_value = "128,224,384,512"
    )]
    pub sizes: Vec<Size>,
    /// Thread counts [default: 1, and one thread per core; if cores differ, one per fast core]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub threads: Vec<usize>,
    #[command(flatten)]
    pub placement: Placement,

    /// Labelled images to measure accuracy on: a CSV file with the columns image and label or mask (optionally split),
    /// or a folder with one subfolder per class; `phantoms` for generated images
    #[arg(long, value_name = "CSV|DIR|phantoms", help_heading = "Accuracy")]
    pub data: Option<PathBuf>,
    /// Make the task binary: this class against the rest
    #[arg(long, value_name = "CLASS", requires = "data", help_heading = "Accuracy")]
    pub target: Option<String>,
    /// Head to train for each model and size
    #[arg(long, value_enum, default_value = "linear", help_heading = "Accuracy")]
    pub head: ProfileHead,
    /// segment: blocks whose patch tokens are used, counted from 0, such as 2,5,8,11 [default: the last]
    #[arg(long, value_name = "N,...", value_delimiter = ',', help_heading = "Accuracy")]
    pub layers: Vec<usize>,
    /// Measure accuracy by cross-validation with K folds instead of on one held-out set
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(3..=100), help_heading = "Accuracy")]
    pub folds: Option<u32>,
    #[command(flatten)]
    pub read: ReadArgs,
    #[command(flatten)]
    pub split: SplitArgs,
    #[command(flatten)]
    pub cache: CacheArgs,

    /// Minimum number of timed runs per row
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Time")]
    pub runs: u32,
    /// Minimum total time of a row's timed runs, in seconds
    #[arg(long, value_name = "S", default_value_t = 1.0, help_heading = "Time")]
    pub seconds: f64,
    /// Scenarios: single-stream, multi-stream, offline (as in MLPerf), camera
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = "single-stream",
        help_heading = "Time"
    )]
    pub scenario: Vec<ScenarioName>,
    /// multi-stream: images per query
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Time")]
    pub streams: u32,
    /// camera: frames per second
    #[arg(long, value_name = "F", default_value_t = 30.0, help_heading = "Time")]
    pub fps: f64,
    /// camera: time after which features count as late [default: one frame period]
    #[arg(long, value_name = "TIME", help_heading = "Time")]
    pub deadline: Option<Milliseconds>,
    /// Do not start a new process for each row; cold start and peak memory are then not measured
    #[arg(long, help_heading = "Time")]
    pub no_cold: bool,
    /// Another program to measure: it reads paths and prints features; {size} and {threads} in CMD are replaced
    /// (docs/profile.md)
    #[arg(long, value_name = "NAME=CMD", help_heading = "Time")]
    pub peer: Vec<PeerSpec>,

    /// Choose the most accurate configuration whose 90th-percentile latency is within this time, such as 40ms
    #[arg(long, value_name = "TIME", help_heading = "Decision")]
    pub budget: Option<Milliseconds>,
    /// Choose the fastest configuration with at least this AUC (accuracy, Dice)
    #[arg(long, visible_aliases = ["min-accuracy", "min-dice"], value_name = "V", requires = "data", help_heading = "Decision")]
    pub min_auc: Option<f64>,

    /// Also measure power with a sensor on an I2C bus: ina226:/dev/i2c-1:0x40:0.01 (chip, bus, address, shunt in ohms);
    /// needs a build with --features hal
    #[arg(long, value_name = "SPEC", help_heading = "Board")]
    pub power_meter: Vec<MeterSpec>,
    /// Use pins of the board file: busy (high during each run), status (high during the sweep), trigger (the sweep
    /// waits for it); needs a build with --features hal
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', help_heading = "Board")]
    pub signals: Vec<Signal>,
    /// Read sensors below this folder instead of this machine's
    #[arg(long, value_name = "DIR", hide = true)]
    pub sensors: Option<PathBuf>,

    /// Folder for the report: report.html, plots, results.json, CSV, Markdown, heads; an interrupted sweep resumes
    /// there
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub hints: HintArgs,
}

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// results.json of the earlier profile
    #[arg(value_name = "A/results.json")]
    pub before: PathBuf,
    /// results.json of the later profile
    #[arg(value_name = "B/results.json")]
    pub after: PathBuf,
    /// Allowed slowdown of a median latency, such as 5%
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    pub tolerance: Share,
    /// Allowed drop in accuracy
    #[arg(long, value_name = "V", default_value_t = 0.01)]
    pub accuracy_tolerance: f64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Measures the cold start of one row of a profile.
#[derive(Debug, Args)]
pub struct ColdArgs {
    /// The model
    pub model: PathBuf,
    /// Input size
    #[arg(long)]
    pub size: Size,
    /// Number of threads
    #[arg(long)]
    pub threads: usize,
    #[command(flatten)]
    pub placement: Placement,
    #[command(flatten)]
    pub hints: HintArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_are_read_with_their_units() {
        for (text, ms) in [("40ms", 40.0), ("0.5s", 500.0), ("40", 40.0), (" 2 s", 2000.0)] {
            assert_eq!(text.parse(), Ok(Milliseconds(ms)));
        }
        for text in ["", "ms", "-1ms", "0", "inf", "40m"] {
            assert!(text.parse::<Milliseconds>().is_err(), "{text}");
        }
        assert_eq!("5%".parse(), Ok(Share(0.05)));
        assert_eq!("0.1".parse(), Ok(Share(0.1)));
        assert!("-5%".parse::<Share>().is_err());
    }
}
