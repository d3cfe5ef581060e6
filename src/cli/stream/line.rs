//! The JSON lines of `stream`. Their schema is docs/stream-schema.json.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use microraptor::live::{Frame, Picture};
use microraptor::names::shown;
use serde::Serialize;
use serde_json::Value;

use crate::cli::head_line::HeadLine;
use crate::cli::times::milliseconds;

/// Version of the schema.
const SCHEMA: u32 = 1;

/// What happened.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// The model is loaded and the source open.
    Started {
        model: Value,
        /// Whether this machine computes what was validated.
        attest: Value,
        heads: Vec<String>,
        source: String,
        policy: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        deadline_ms: Option<f64>,
        /// By how many frames answers are behind, because they are averages.
        smoothing_delay_frames: f64,
        /// By how many frames answers of heads that see a window of frames are behind, before smoothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        window_delay_frames: Option<f64>,
    },
    /// What serves others over the network, and where.
    Listening { what: String, url: String },
    /// An answer.
    Frame(FrameLine),
    /// A frame that cannot be read.
    Lost { frame: u64, problem: String },
    /// No frame came for so many seconds; `blank` asks for what is on the screen to be blanked.
    Stalled { seconds: f64, blank: bool },
    /// A frame came again.
    Resumed,
    /// The run on a frame has lasted for so many seconds.
    Stuck { frame: u64, seconds: f64, blank: bool },
    /// SIGHUP: head, deployment file and model were read again, and apply from the next frame on.
    Reloaded { model: Value, attest: Value, heads: Vec<String> },
    /// They could not be; the old ones go on.
    ReloadFailed { problem: String },
    /// Lines cannot be added to the audit log, and answers are given without it.
    AuditFailed { problem: String },
    /// They can be added again.
    AuditResumed { lost_lines: u64 },
    /// The last line.
    Ended {
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
        #[serde(flatten)]
        counts: Counts,
    },
}

/// How many frames there were, and what became of them: `frames` is the sum of `answered`, `withheld`, `dropped` and
/// `lost`, but for one whose run failed, which ended the program.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// That the source gave.
    pub frames: u64,
    pub answered: u64,
    /// Black or saturated.
    pub withheld: u64,
    /// Passed over, or pushed out by a newer one.
    pub dropped: u64,
    /// That could not be read.
    pub lost: u64,
    /// Of the answered ones those that came after the deadline.
    pub late: u64,
}

/// The answers to a frame.
#[derive(Serialize)]
pub struct FrameLine {
    pub frame: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// When it was exposed, in seconds since 1970.
    pub exposed: f64,
    pub picture: &'static str,
    /// Whether this line came after the deadline; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<bool>,
    /// Why there are no answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withheld: Option<&'static str>,
    pub heads: Vec<HeadLine>,
    /// Frames that were dropped since the last line about a frame.
    pub dropped: u64,
    pub ms: Times,
}

/// Where the time went, in milliseconds.
#[derive(Default, Serialize)]
pub struct Times {
    /// From the exposure to the beginning of the work.
    pub wait: f64,
    pub resize: f64,
    pub backbone: f64,
    pub head: f64,
    /// From the exposure to this line.
    pub age: f64,
}

impl FrameLine {
    /// A line about `frame` without answers.
    pub fn new(frame: &Frame, picture: Picture, dropped: u64) -> FrameLine {
        FrameLine {
            frame: frame.number,
            file: frame.file.as_ref().map(shown),
            exposed: since_1970(frame.exposed),
            picture: picture.name(),
            late: None,
            withheld: picture.is_blank().then(|| picture.name()),
            heads: Vec::new(),
            dropped,
            ms: Times { wait: milliseconds(frame.exposed.elapsed()), ..Times::default() },
        }
    }
}

/// `event` as one line, at this time.
pub fn line(event: &Event) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        schema: u32,
        time: f64,
        #[serde(flatten)]
        event: &'a Event<'a>,
    }
    serde_json::to_string(&Line { schema: SCHEMA, time: since_1970(Instant::now()), event })
}

/// Seconds since 1970 at `instant`, to the microsecond, by the clock as it is set now.
fn since_1970(instant: Instant) -> f64 {
    let at = SystemTime::now().checked_sub(instant.elapsed()).unwrap_or(UNIX_EPOCH);
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    (seconds * 1e6).round() / 1e6
}
