//! What can be wrong with features, targets, or a head's file.

use std::path::PathBuf;

use crate::features::FeatureError;
use crate::files::WriteError;
use crate::input::InputError;

/// Why a head could not be fitted, used, read or written.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// A length that does not fit the others.
    #[error("{what}: found {found}, expected {expected}")]
    Shape {
        /// What was measured.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length that fits.
        expected: usize,
    },
    /// A NaN or an infinity among the features.
    #[error(
        "features of image {row} hold a NaN or an infinity at column {column}; leave this image out or check the backbone"
    )]
    NonFinite {
        /// Row of the features, from 0.
        row: usize,
        /// Column of the features, from 0.
        column: usize,
    },
    /// A class with fewer images than can be learned from.
    #[error(
        "class '{class}' has {found} training image(s), at least 2 are needed; add images or leave the class out"
    )]
    TooFewImages {
        /// The class.
        class: String,
        /// Images that it has.
        found: usize,
    },
    /// A label of a multi-label set that nearly every image has, so there is nothing to tell it from.
    #[error(
        "label '{label}' is absent from {found} training image(s), at least 2 are needed; add images without it or leave the label out"
    )]
    TooFewWithout {
        /// The label.
        label: String,
        /// Images that lack it.
        found: usize,
    },
    /// A problem with the list of classes.
    #[error("{0}")]
    Classes(String),
    /// A target outside the list of classes.
    #[error("image {row} has class number {class}, but there are {classes} classes")]
    Target {
        /// Row of the features, from 0.
        row: usize,
        /// Its class number.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A regularisation strength that is not positive, or none at all.
    #[error("{0}")]
    Strength(String),
    /// An example that the head cannot take.
    #[error("{name}: {problem}")]
    Example {
        /// Its name in the data set.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The optimiser stopped too far from the minimum.
    #[error(
        "the fit did not converge: gradient norm {gradient:.1e} after {evaluations} evaluations, {tolerance:.1e} wanted; use a smaller C"
    )]
    NotConverged {
        /// Norm of the gradient where it stopped.
        gradient: f64,
        /// Norm that would have been accepted.
        tolerance: f64,
        /// Evaluations of the objective.
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
        /// SHA-256 of the backbone at hand.
        found_sha256: String,
    },
    /// The backbone is the head's, but its features are read in another way than when the head was trained.
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
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a head, or not a whole one.
    #[error("{path} is not a usable head: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The features of an image could not be had.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// A mask could not be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The head's file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
