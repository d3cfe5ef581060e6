//! The JSON lines of `node`. Their schema is docs/node-schema.json.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;

use crate::cli::terminal;

/// Version of the schema.
const SCHEMA: u32 = 1;

/// What happened, besides the events of the library's node.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Model and queue are open, and callers are accepted.
    Started {
        model: Value,
        /// Whether this machine computes what was validated.
        attest: Value,
        heads: Vec<String>,
        title: String,
        address: String,
        tls: bool,
        to: Vec<String>,
        /// Objects of an earlier run that wait to be answered, and to be sent.
        queued: usize,
        unsent: usize,
    },
    /// The results of an object are on the disk.
    Answered { object: String, results: Vec<&'static str>, tries: u32, ms: f64 },
    /// An object cannot be answered; it is kept in `failed/`.
    Failed { object: String, problem: String },
    /// The work on an object is put off, because the disk fails.
    Delayed { object: String, problem: String, retry_seconds: f64 },
    /// The last line.
    Ended {
        reason: &'static str,
        answered: u64,
        failed: u64,
        /// Objects that wait to be answered, and to be sent, after the next start.
        queued: usize,
        unsent: usize,
    },
}

/// Prints `event` as one line, at once.
pub fn say(event: &impl Serialize) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Line<'a, E> {
        schema: u32,
        time: f64,
        #[serde(flatten)]
        event: &'a E,
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let line = Line { schema: SCHEMA, time: (now * 1e6).round() / 1e6, event };
    Ok(terminal::line(&serde_json::to_string(&line)?)?)
}
