//! Errors of profiling, and of the files that it reads.

use std::io;
use std::path::PathBuf;

use crate::attest::AttestError;
use crate::board::BoardError;
use crate::engine::EngineError;
use crate::features::FeatureError;
use crate::files::WriteError;
use crate::heads::HeadError;
use crate::input::InputError;
use crate::names::one_line;

/// Errors of profiling.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The backbone failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An image or the data set could not be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The head could not be fitted, read or written.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// A head could not be run on the pictures of its attestation.
    #[error(transparent)]
    Attest(#[from] AttestError),
    /// Features could not be computed.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// A power meter or GPIO pin failed.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Another process is profiling into the same folder.
    #[error("{}: another profile of the same configurations is at work there: wait for it, or give another -o", .0.display())]
    Busy(PathBuf),
    /// A peer failed.
    #[error("peer {name}: {reason}")]
    Peer {
        /// Name of the peer.
        name: String,
        /// What is wrong.
        reason: PeerError,
    },
    /// The process that measures a cold start failed.
    #[error("cold start of {model}: {reason}")]
    Cold {
        /// The model.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// A `results.json` could not be read. The reason may quote it, hence one line.
    #[error("{}: {}", .path.display(), one_line(&.reason.to_string()))]
    Results {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: ResultsError,
    },
    /// A deployment file could not be read. The reason may quote it, hence one line.
    #[error("{}: {}", .path.display(), one_line(&.reason.to_string()))]
    Deploy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: DeployError,
    },
    /// A temporary file could not be written.
    #[error("a temporary file cannot be written ({0}): set TMPDIR to a folder with space")]
    Temporary(String),
}

impl ProfileError {
    pub(super) fn temporary(error: std::io::Error) -> ProfileError {
        ProfileError::Temporary(error.to_string())
    }

    pub(super) fn picture(error: image::ImageError) -> ProfileError {
        ProfileError::Temporary(error.to_string())
    }
}

/// Why a peer gave no features.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Its command could not be started.
    #[error("cannot be started: {0}")]
    Start(io::Error),
    /// It has no standard input or output.
    #[error("has no pipes")]
    NoPipes,
    /// It does not accept the path of an image.
    #[error("does not take the next path ({0})")]
    Input(io::Error),
    /// Its output cannot be read.
    #[error("cannot be read: {0}")]
    Output(io::Error),
    /// It ended before its first answer, or instead of an answer.
    #[error("ended without an answer: run its command by hand, it reads paths and prints features")]
    NoAnswer,
    /// It has ended, and nothing more is read from it.
    #[error("has ended")]
    Ended,
    /// It did not answer in this many seconds.
    #[error("has not answered for {0} s")]
    Timeout(u64),
    /// It printed a longer line than this, in bytes.
    #[error("printed a line of more than {} MiB", .0 >> 20)]
    LongLine(u64),
    /// Its answer is not the JSON object expected.
    #[error("answered '{answer}': {error}")]
    Object {
        /// The start of the answer.
        answer: String,
        /// The parser's error.
        error: String,
    },
    /// Its answer, of which this is the start, is not a list of numbers.
    #[error("answered '{0}', which are no numbers")]
    NoNumbers(String),
    /// Its answer holds no features, or a NaN or an infinity.
    #[error("answered '{answer}': {features} finite features")]
    NonFinite {
        /// The start of the answer.
        answer: String,
        /// Number of features in the answer.
        features: usize,
    },
    /// Its answer, of which this is the start, has a time that is not positive.
    #[error("answered '{0}': its time is no positive number")]
    Time(String),
    /// It gave more or fewer features than of the images before.
    #[error("gave {found} features of {}, and {expected} before", .image.display())]
    Length {
        /// Number of features.
        found: usize,
        /// The image.
        image: PathBuf,
        /// Number of features of the first image.
        expected: usize,
    },
}

/// Why a text file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// It is larger than this, in bytes.
    #[error("is larger than {} KiB", .0 >> 10)]
    TooLarge(u64),
    /// The system reported an error, or the file is not UTF-8.
    #[error("cannot be read: {0}")]
    Read(io::Error),
}

/// What is wrong with a `results.json`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// The file could not be read.
    #[error(transparent)]
    Text(#[from] TextError),
    /// It is not the JSON expected.
    #[error("{0}")]
    Parse(String),
    /// Another version of the layout.
    #[error("has schema {found}, this program reads {expected}: profile again with it")]
    Schema {
        /// The file's version.
        found: u32,
        /// The version that this program reads.
        expected: u32,
    },
    /// A row, named by its label, has no times of runs, or one that is not positive.
    #[error("{0}: has no runs, or one that took no time")]
    Runs(String),
    /// The outcomes of a row, named by its label, do not match its images.
    #[error("{0}: its outcomes are not one for each image")]
    Outcomes(String),
}

/// What is wrong with a deployment file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// The file could not be read.
    #[error(transparent)]
    Text(#[from] TextError),
    /// It is not the TOML expected.
    #[error("{0}")]
    Parse(String),
    /// Another version of the layout.
    #[error("has schema {found}, this program reads {expected}: profile again")]
    Schema {
        /// The file's version.
        found: u32,
        /// The version that this program reads.
        expected: u32,
    },
    /// A head without its digest, or a digest without a head.
    #[error("head and head_sha256 go together: profile again")]
    Head,
    /// Text that is not a SHA-256.
    #[error("'{0}' is no SHA-256 of 64 lower-case digits: profile again")]
    Digest(String),
}
