//! What happened.

use serde::Serialize;
use serde_json::Value;

/// Version of the format of a line.
pub const FORMAT: u32 = 1;

/// The program that writes a log.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit that it was built from, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What it was built for.
    pub target: String,
    /// The features that it was built with, separated by commas.
    pub features: String,
}

/// What a line says happened. Of inputs there are numbers only: a digest of a name can be guessed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The first line of a chain.
    Begin {
        /// [`FORMAT`].
        format: u32,
        /// A random number in hexadecimal digits, so that no two chains are alike.
        nonce: String,
    },
    /// The first line of a file that goes on where another one ended.
    Continued {
        /// [`FORMAT`].
        format: u32,
        /// Number of the file, counted from 0.
        file: u64,
    },
    /// The last line of a file that has become large; the chain goes on in the next one.
    Closed {},
    /// A line was not written to its end; this closes it.
    Torn {
        /// Bytes between the line before and this one, without the last line feed.
        torn_bytes: u64,
        /// Their SHA-256.
        torn_sha256: String,
    },
    /// Lines could not be written.
    LinesLost {
        /// How many.
        lost_lines: u64,
        /// The system's reason for the first one.
        reason: String,
    },
    /// A command begins.
    Start {
        /// Its name.
        command: String,
        /// What runs it.
        program: Program,
        /// The options that were given. Values that may name a file or a person are left out.
        settings: Value,
    },
    /// Model and heads are open.
    Loaded {
        /// Name, digest, and what it runs on.
        model: Value,
        /// Name and digest of each.
        heads: Vec<Value>,
        /// Number of threads.
        threads: usize,
    },
    /// The program has tested itself.
    Attest {
        /// Whether it computes what the files of model and heads say; `None` if nothing could be compared.
        ok: Option<bool>,
        /// How many of these could not be compared.
        left_out: usize,
        /// How long it took, in milliseconds.
        ms: f64,
    },
    /// An answer is given next.
    Answer {
        /// Number of the frame, or of the input in this run, counted from 1.
        input: u64,
        /// SHA-256 of the line that is printed, without its line feed; absent where none is.
        #[serde(skip_serializing_if = "Option::is_none")]
        line_sha256: Option<String>,
        /// SHA-256 of each file that is the answer, by its kind.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        files: Vec<Value>,
        /// Whether it came after the deadline; absent without one.
        #[serde(skip_serializing_if = "Option::is_none")]
        late: Option<bool>,
        /// Why there is no answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        withheld: Option<String>,
    },
    /// An input that could not be read or answered.
    Lost {
        /// Its number.
        input: u64,
        /// What kind of error it was.
        #[serde(skip_serializing_if = "Option::is_none")]
        class: Option<String>,
    },
    /// No frame came for a while.
    Stalled {
        /// How long.
        seconds: f64,
    },
    /// A frame came again.
    Resumed {},
    /// The run on a frame does not end.
    Stuck {
        /// Its number.
        input: u64,
        /// How long it has lasted.
        seconds: f64,
    },
    /// Model and heads were read again, and answer from now on.
    Reloaded {
        /// As in [`Event::Loaded`].
        model: Value,
        /// As in [`Event::Loaded`].
        heads: Vec<Value>,
    },
    /// They could not be; the old ones go on.
    ReloadFailed {},
    /// An error that ends the command.
    Error {
        /// What kind of error it is: the message may name a file.
        class: String,
    },
    /// The command ends.
    Stop {
        /// Why.
        reason: String,
        /// What was done.
        counts: Value,
    },
}
