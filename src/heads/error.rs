//! Errors of features, targets and head files.

use std::path::PathBuf;

#[cfg(feature = "onnx")]
use crate::checkpoint::onnx::OnnxError;
use crate::features::FeatureError;
use crate::files::WriteError;
use crate::input::InputError;
use crate::names::{one_line, printable};
use crate::vit::SizeError;

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
    /// The backbone's graph has no such output.
    #[error("the model has no output '{}': it has {}", printable(name), printable(&found.join(", ")))]
    NoOutput {
        /// The output asked for.
        name: String,
        /// Those that it has.
        found: Vec<String>,
    },
    /// More classes than a mask can hold.
    #[error("a mask holds at most 256 classes, not {0}")]
    TooManyClasses(usize),
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
    /// A calibration that is not one of the head's classes.
    #[error("the calibration is not one of these classes: a temperature or a slope must be positive")]
    Calibration,
    /// Conformal scores that are missing, outside 0 to 1, too many or not sorted.
    #[error("the conformal scores are not 1 to 10,000 ascending numbers from 0 to 1")]
    Conformal,
    /// A coverage that is not a share.
    #[error("a coverage of {0} is not between 0 and 1, such as 0.9")]
    Coverage(f64),
    /// A coverage that the number of conformal scores cannot support.
    #[error(
        "a coverage of {coverage} needs {needed} images that were held out in training, and there are {found}: ask for less, \
         or train on more images"
    )]
    FewScores {
        /// The coverage asked for.
        coverage: f64,
        /// Number of scores.
        found: usize,
        /// Number needed.
        needed: usize,
    },
    /// A coverage for a head that has no conformal scores.
    #[error("the head has no scores for sets of classes: train it again with --calibrate or --coverage")]
    NoScores,
    /// Contour scores that are none.
    #[error("the contour scores are not two lists of 1 to 10,000 ascending margins")]
    ContourScores,
    /// A share of pixels that is none.
    #[error("a contour's share of {0} is not above 0 and at most 1, such as 0.95")]
    ContourShare(f64),
    /// A coverage for a head of masks that has no contour scores.
    #[error("the head has no scores for contours: train it again with --coverage and --set-aside")]
    NoContourScores,
    /// Masks whose contours nothing can promise.
    #[error("a coverage of masks needs images that are set aside: give --set-aside SHARE, such as 0.25")]
    ContoursNeedAside,
    /// An outer contour that would have to surround what the backbone does not see.
    #[error(
        "no outer contour holds {share} of the foreground with a probability of {coverage}: too much of it lies outside of \
         what the model sees of the images that were set aside"
    )]
    NoOuter {
        /// The probability asked for.
        coverage: f64,
        /// The share of the foreground.
        share: f64,
    },
    /// A class with too few images to hold some of them out.
    #[error(
        "class '{class}' has {found} training images, at least {needed} are needed to hold parts of them out; add images, or \
         leave out what needs held-out predictions"
    )]
    TooFewToHoldOut {
        /// The class.
        class: String,
        /// Number of training images that have it.
        found: usize,
        /// Number needed.
        needed: usize,
    },
    /// What needs one of several classes an image, for a head of another kind.
    #[error("{what}: not for a head of kind {kind} with {classes}")]
    NotForHead {
        /// What was asked for.
        what: &'static str,
        /// Kind of the head.
        kind: &'static str,
        /// Its classes, in words.
        classes: &'static str,
    },
    /// A rule for the threshold that no threshold meets on the held-out images.
    #[error("no threshold reaches {0} on the held-out images: ask for less")]
    Unreachable(String),
    /// An ONNX head could not be run.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// An output of a graph that has neither the shape of classes nor that of a mask.
    #[error(
        "the graph gives {found:?}, expected [1, {classes}] or [1, {classes}, rows, columns], or numbers of {classes} classes as \
         [1, rows, columns]"
    )]
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
    #[error("{path} is not a usable head: {}", .reason.shown())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: HeadFormatError,
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

/// What is wrong with a head's file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadFormatError {
    /// The build has no ONNX reader.
    #[error("this build cannot read ONNX (it was built without the feature onnx)")]
    NoOnnx,
    /// A file that is larger than any head.
    #[error(
        "it has {bytes} bytes, and a head has at most {limit}; is this a backbone's checkpoint instead of a head?"
    )]
    TooLarge {
        /// Size of the file in bytes.
        bytes: u64,
        /// Largest size of a head.
        limit: u64,
    },
    /// A JSON header that claims to be larger than any head's.
    #[error("its header claims {bytes} bytes, of at most {limit}")]
    HeaderTooLarge {
        /// The size that it claims, in bytes.
        bytes: u64,
        /// Largest size of a header.
        limit: u64,
    },
    /// Not a safetensors file, or an incomplete one.
    #[error("{0}; the file is cut short or is not a safetensors file, copy or train it again")]
    Safetensors(String),
    /// A safetensors file that is not a head: it lacks this entry of the metadata.
    #[error("its metadata have no '{0}'; give a file that `microraptor train` wrote")]
    NoMetadata(&'static str),
    /// The entry of the metadata cannot be parsed.
    #[error("its metadata '{key}' cannot be read: {error}")]
    Metadata {
        /// Key of the entry.
        key: &'static str,
        /// The parser's error.
        error: String,
    },
    /// Another version of the format.
    #[error(
        "it is of format version {found}, this program reads versions 3 to {expected}; train the head again or use the program that wrote it"
    )]
    Version {
        /// The file's version.
        found: u32,
        /// The newest version that this program reads.
        expected: u32,
    },
    /// The bytes are not those that were written.
    #[error("its digest is not that of its bytes: it was damaged or changed; copy or train it again")]
    Digest,
    /// An input size that cannot be used.
    #[error("its input size: {0}")]
    Size(SizeError),
    /// Text that is not the backbone's SHA-256.
    #[error("the SHA-256 of its backbone is '{0}', not 64 lower-case hexadecimal digits")]
    BackboneDigest(String),
    /// A mean or standard deviation of the preprocessing that is not finite, or a deviation that is not positive.
    #[error("its preprocessing has a mean or a deviation that cannot be used")]
    Preprocess,
    /// A kind of head that this program does not know.
    #[error(
        "it is a head of kind '{0}', this program knows linear, volume, knn, abmil, segment and segment3d"
    )]
    Kind(String),
    /// A head of neighbours without a number of neighbours.
    #[error("its metadata have no k; train the head again")]
    NoNeighbours,
    /// Names of training images that are no list of texts, or too long a one.
    #[error("the names of its training images are no list of names; train the head again")]
    Names,
    /// A tensor is missing.
    #[error("tensor '{0}' is missing; train the head again")]
    NoTensor(String),
    /// A tensor with another element type.
    #[error("tensor '{name}' is {found}, expected {expected}")]
    TensorType {
        /// Its name.
        name: String,
        /// Its element type.
        found: String,
        /// The element type expected.
        expected: String,
    },
    /// A tensor with another shape.
    #[error("tensor '{name}' has shape {found:?}, expected {expected}")]
    TensorShape {
        /// Its name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape expected.
        expected: String,
    },
    /// A tensor that is not finite.
    #[error("tensor '{name}' holds a NaN or an infinity at index {index}")]
    NonFinite {
        /// Its name.
        name: String,
        /// Index of the first such element.
        index: usize,
    },
    /// An int8 bank of neighbours with the code -128.
    #[error("tensor 'bank' holds -128, codes are -127 to 127; train the head again")]
    Code,
    /// Out-of-distribution statistics with a variance that is not positive.
    #[error("tensors 'ood.*' are not those of a covariance; train the head again")]
    Covariance,
    /// Classes or parameters that do not make a head.
    #[error(transparent)]
    Invalid(Box<HeadError>),
    /// The head to write does not fit the format.
    #[error("{0}")]
    Encode(String),
    /// The ONNX model of a head cannot be used.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(OnnxError),
    /// An ONNX head that takes neither a row of features nor patch tokens.
    #[error(
        "its input has neither 2, 3 nor 4 dimensions; features are [n, dim], [n, tokens, dim] or [n, dim, rows, columns]"
    )]
    OnnxInput,
    /// The description beside an ONNX head cannot be read.
    #[error(
        r#"{path} cannot be read ({error}); an ONNX head needs it beside it, with {{"classes": ["name", ...], "size": "224"}}"#
    )]
    NoDescription {
        /// The description.
        path: PathBuf,
        /// The error from the operating system.
        error: std::io::Error,
    },
    /// The description beside an ONNX head cannot be parsed.
    #[error("it is no description of a head: {0}")]
    Description(String),
    /// The description beside an ONNX head has an input size that cannot be used.
    #[error("its size: {0}")]
    DescriptionSize(SizeError),
}

impl HeadFormatError {
    /// The text in one line: most of it quotes the file. Paths are shown as they are.
    fn shown(&self) -> String {
        match self {
            #[cfg(feature = "onnx")]
            HeadFormatError::Onnx(_) => self.to_string(),
            HeadFormatError::NoDescription { .. } => self.to_string(),
            _ => one_line(&self.to_string()),
        }
    }
}

impl From<HeadError> for HeadFormatError {
    fn from(error: HeadError) -> HeadFormatError {
        HeadFormatError::Invalid(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_is_shown_in_one_line_and_a_path_as_it_is() {
        let text = |reason| HeadError::Format { path: "h.onnx".into(), reason }.to_string();
        let duplicate = HeadError::DuplicateClass("a\n \u{b}b".to_owned()).into();
        assert_eq!(text(duplicate), "h.onnx is not a usable head: class 'a b' is listed twice; name it once");
        let (path, error) = ("a  b/h.json".into(), std::io::ErrorKind::NotFound.into());
        let found = text(HeadFormatError::NoDescription { path, error });
        assert!(found.starts_with("h.onnx is not a usable head: a  b/h.json cannot be read ("), "{found}");
        assert!(
            found.ends_with(r#"it beside it, with {"classes": ["name", ...], "size": "224"}"#),
            "{found}"
        );
    }
}
