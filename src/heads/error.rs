//! Errors of features, targets and head files.

use std::path::PathBuf;

#[cfg(feature = "onnx")]
use crate::checkpoint::onnx::OnnxError;
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
    /// Too few classes, or labels.
    #[error("{found} class(es) found, at least {least} are needed to tell anything apart")]
    TooFewClasses {
        /// Number of classes given.
        found: usize,
        /// Number needed: 1 for a head with several labels an image, otherwise 2.
        least: usize,
    },
    /// A class whose name is empty.
    #[error("a class has an empty name; give every class a name")]
    UnnamedClass,
    /// A class that is listed twice.
    #[error("class '{0}' is listed twice; name it once")]
    DuplicateClass(String),
    /// Two sets of which one has classes and the other labels as targets.
    #[error("one set has one class an image and the other has several labels; use one kind")]
    MixedTargets,
    /// An example with several classes, or none, where each must have exactly one.
    #[error(
        "{name} has {found} labels where one class an image is expected; use a head for several labels, or give each image one"
    )]
    NotOneClass {
        /// Its name in the data set.
        name: String,
        /// Number of its labels.
        found: usize,
    },
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
    /// A label map with a class outside the list of classes.
    #[error(
        "the {map} label map holds class number {class}, and there are {classes} classes; give every class a name"
    )]
    MapClass {
        /// Which map: `true` or `predicted`.
        map: &'static str,
        /// The class index that it holds.
        class: usize,
        /// Number of classes, the background included.
        classes: usize,
    },
    /// Validation masks without a pixel of any class but the background.
    #[error("the validation masks hold no class but the background")]
    NoForeground,
    /// A clip or a volume, for a recipe whose examples are single images.
    #[error(
        "{name}: holds {frames} frames, and this head looks at single images: use a head of kind volume, abmil or segment3d"
    )]
    SeveralFrames {
        /// The example's name in the data set.
        name: String,
        /// Number of its frames.
        frames: usize,
    },
    /// A mask that differs in size from its image.
    #[error(
        "{name}: has {} x {} x {} pixels (frames, rows, columns) and its mask {} x {} x {}: give a mask of the image's size",
        .image[0], .image[1], .image[2], .mask[0], .mask[1], .mask[2]
    )]
    MaskSize {
        /// The example's name in the data set.
        name: String,
        /// Frames, rows and columns of the example.
        image: [usize; 3],
        /// Slices, rows and columns of its mask.
        mask: [usize; 3],
    },
    /// An empty grid of regularisation strengths.
    #[error("no value of C to try; give at least one")]
    EmptyGrid,
    /// An inverse regularisation strength that is not positive.
    #[error("C is {0}, it must be a positive number")]
    Strength(f64),
    /// A number of neighbours that the training images do not allow.
    #[error("k is {k}, give 1 to {images}, the number of training images")]
    Neighbours {
        /// The number of neighbours.
        k: usize,
        /// Number of training images.
        images: usize,
    },
    /// A temperature of the neighbours' vote that is not positive.
    #[error("the temperature is {0}, it must be positive")]
    Temperature(f64),
    /// A decision threshold that is not a probability.
    #[error("threshold {0} is not between 0 and 1")]
    Threshold(f64),
    /// A linear head with a standard deviation that is not positive.
    #[error("a standard deviation is {0}, it must be positive")]
    LinearDeviation(f64),
    /// A dense head with a standard deviation that is not positive.
    #[error("a standard deviation is not positive")]
    SegmentDeviation(f32),
    /// An attention head that lacks a standard deviation, or has one that is not positive.
    #[error("a standard deviation is missing or not positive")]
    AbmilDeviation,
    /// A linear head whose parameters are not finite.
    #[error("the head's numbers hold a NaN or an infinity")]
    NonFiniteParameters,
    /// Training features whose covariance has no Cholesky factor.
    #[error("the covariance of the training features is not positive definite; add images")]
    NotPositiveDefinite,
    /// Training of an attention head in which no epoch had a finite validation loss.
    #[error("the training diverged; check the features")]
    Diverged,
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
    /// An ONNX head could not be run.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// An ONNX head whose output has neither the shape of classes nor that of a mask.
    #[error("the ONNX head gives {found:?}, expected [1, {classes}] or [1, {classes}, rows, columns]")]
    OnnxOutput {
        /// Shape of its output.
        found: Vec<usize>,
        /// Number of classes of the head.
        classes: usize,
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
