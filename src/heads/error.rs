//! Errors of features, targets and head files.

use std::path::PathBuf;

use crate::features::FeatureError;
use crate::files::WriteError;
use crate::input::InputError;

/// Why a head could not be fitted, used, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// A length that does not match the others.
    #[error("{what}: found {found}, expected {expected}")]
    Shape {
        /// What was measured.
        what: &'static str,
        /// The length found.
        found: usize,
        /// The length expected.
        expected: usize,
    },
    /// The features contain a NaN or an infinity.
    #[error(
        "features of image {row} hold a NaN or an infinity at column {column}; leave this image out or check the backbone"
    )]
    NonFinite {
        /// Row of the features.
        row: usize,
        /// Column of the features.
        column: usize,
    },
    /// A class with too few images to learn from.
    #[error(
        "class '{class}' has {found} training image(s), at least 2 are needed; add images or leave the class out"
    )]
    TooFewImages {
        /// The class.
        class: String,
        /// Number of images that have it.
        found: usize,
    },
    /// A label of a multi-label set that almost every image has, so that it cannot be learned.
    #[error(
        "label '{label}' is absent from {found} training image(s), at least 2 are needed; add images without it or leave the label out"
    )]
    TooFewWithout {
        /// The label.
        label: String,
        /// Number of images that lack it.
        found: usize,
    },
    /// A problem with the list of classes.
    #[error("{0}")]
    Classes(String),
    /// A target outside the list of classes.
    #[error("image {row} has class number {class}, but there are {classes} classes")]
    Target {
        /// Row of the features.
        row: usize,
        /// Its class index.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A regularisation strength that is not positive, or an empty list of strengths.
    #[error("{0}")]
    Strength(String),
    /// An example that the head does not accept.
    #[error("{name}: {problem}")]
    Example {
        /// Its name in the data set.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The optimiser stopped too far from the minimum.
    #[error(
        "the fit did not converge: gradient norm {gradient:.1e} after {evaluations} evaluations, {tolerance:.1e} wanted; use a smaller C"
    )]
    NotConverged {
        /// Norm of the gradient where the optimiser stopped.
        gradient: f64,
        /// Largest norm that would have been accepted.
        tolerance: f64,
        /// Number of evaluations of the objective.
        evaluations: usize,
    },
    /// The head belongs to another backbone.
    #[error(
        "this head was trained on {trained} (SHA-256 {trained_sha256}), but the backbone here has SHA-256 {found_sha256}; use that backbone or train the head again"
    )]
    Backbone {
        /// Name of the backbone that the head was trained on.
        trained: String,
        /// Its SHA-256.
        trained_sha256: String,
        /// SHA-256 of the backbone given.
        found_sha256: String,
    },
    /// The backbone matches, but its features are now read differently than when the head was trained.
    #[error(
        "this head was trained by another version of this program, which read other features from {backbone} (tokens, or a quantised softmax): train the head again"
    )]
    Reading {
        /// Name of the backbone.
        backbone: String,
    },
    /// The head's file could not be read.
    #[error("cannot read the head {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The error from the operating system.
        source: std::io::Error,
    },
    /// The file is not a head, or is incomplete.
    #[error("{path} is not a usable head: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The features of an image could not be computed.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// A mask could not be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The head's file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
