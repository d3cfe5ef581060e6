//! Errors in images and data sets.

use std::path::PathBuf;

use super::extensions::extensions;
use super::limits::{MAX_PIXELS, MIN_SIDE};
use crate::names::one_line;

/// Why an image or a data set cannot be used. Each message is one line: the place, the problem and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The file or folder cannot be opened or read.
    #[error("{path}: cannot be read ({reason}): check the path and its permissions")]
    Read {
        /// File or folder.
        path: PathBuf,
        /// The system's error.
        reason: String,
    },
    /// The content is in none of the supported formats.
    #[error("{path}: not an image of a known format: give PNG, JPEG, TIFF, BMP, GIF, WebP or PNM")]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The decoder failed: the file is truncated, damaged, or an unsupported variant.
    #[error(
        "{path}: cannot be decoded ({reason}): the file is damaged, cut short or of an unusual kind, save it anew"
    )]
    Decode {
        /// The file.
        path: PathBuf,
        /// The decoder's error.
        reason: String,
    },
    /// A frame in memory does not have the pixels that it should.
    #[error("a frame {problem}")]
    Frame {
        /// What is wrong.
        problem: String,
    },
    /// A side is below `MIN_SIDE` (8 px).
    #[error(
        "{name}: {width}x{height} px leave nothing to see: give an image of at least {MIN_SIDE} px a side"
    )]
    TooSmall {
        /// The file, or another source of the image.
        name: String,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// The header announces more pixels than are accepted, or more than the file's bytes can hold.
    #[error(
        "{path}: {width}x{height} px in a file of {bytes} bytes are refused: give at most {} megapixels, and a whole file",
        MAX_PIXELS >> 20
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Columns announced.
        width: u32,
        /// Rows announced.
        height: u32,
        /// The file's length.
        bytes: u64,
    },
    /// A floating-point image holds a value outside 0..1.
    #[error("{path}: holds the value {value}: scale a floating-point image to 0..1 first")]
    Value {
        /// The file.
        path: PathBuf,
        /// The first such value, as text.
        value: String,
    },
    /// The length of a pixel buffer does not match its width and height.
    #[error("{found} values given for a {width}x{height} image: give one for each pixel and channel")]
    Buffer {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Length of the buffer.
        found: usize,
    },
    /// A folder has no image where one was expected.
    #[error("{path}: holds no images: add files that end in {}", extensions().collect::<Vec<_>>().join(", "))]
    NoImages {
        /// The folder.
        path: PathBuf,
    },
    /// A DICOM or NIfTI file, a clip, a mask or a folder cannot be read as such.
    #[error("{path}: {problem}")]
    Unreadable {
        /// File or folder.
        path: PathBuf,
        /// The problem and the remedy.
        problem: String,
    },
    /// A stream of frames is invalid.
    #[error("{name}: {problem}")]
    Stream {
        /// Name of the stream.
        name: String,
        /// The problem and the remedy.
        problem: String,
    },
    /// This build does not support the format.
    #[error("{path}: this build cannot read {format} (built without the feature {feature}): use one with it")]
    NotBuilt {
        /// The file.
        path: PathBuf,
        /// Name of the format.
        format: &'static str,
        /// The crate feature that reads it.
        feature: &'static str,
    },
    /// DINOv3 is known to fail on this kind of picture.
    #[error("{path}: {reason}; the option `allow_unsupported_modality` goes on all the same")]
    Modality {
        /// The file.
        path: PathBuf,
        /// The kind of picture, and how it was detected.
        reason: String,
    },
    /// More frames or slices than allowed.
    #[error("{name}: has {} frames or slices, of at most {most}: give a shorter clip or a part of the volume, or allow more (max-frames)",
        frames.map_or_else(|| "more".into(), |frames| frames.to_string()))]
    Frames {
        /// The scan.
        name: String,
        /// Number of frames, if known before they are read.
        frames: Option<usize>,
        /// Maximum number of frames.
        most: usize,
    },
    /// A frame's size differs from that of the first frame.
    #[error(
        "{name}: frame {frame} has {}x{} px but the first {}x{}: give frames of one size",
        found.1, found.0, expected.1, expected.0
    )]
    FrameSize {
        /// The scan.
        name: String,
        /// Frame number, from 1.
        frame: usize,
        /// Rows and columns of the first frame.
        expected: (usize, usize),
        /// Rows and columns of this frame.
        found: (usize, usize),
    },
    /// The size of a mask does not match its image.
    #[error(
        "a mask of {}x{} px and {} slices does not fit {image}, which has {}x{} px and {} slices: give the mask of that image",
        found[2], found[1], found[0], expected[2], expected[1], expected[0]
    )]
    MapSize {
        /// The image that the mask should fit.
        image: String,
        /// Expected slices, rows and columns.
        expected: [usize; 3],
        /// Slices, rows and columns of the mask.
        found: [usize; 3],
    },
    /// A data set's CSV file or folder is invalid as a whole.
    #[error("{path}: {problem}")]
    Dataset {
        /// CSV file or folder.
        path: PathBuf,
        /// The problem and the remedy.
        problem: String,
    },
    /// A line of a CSV file is invalid.
    #[error("{path} line {line}: {problem}")]
    Row {
        /// The CSV file.
        path: PathBuf,
        /// Line number, from 1 (the header).
        line: u64,
        /// The problem and the remedy.
        problem: String,
    },
    /// Images named in a CSV file do not exist.
    #[error(
        "{path} line {line}: no image file {first}{}: correct the path (it is relative to the CSV file) or remove the line",
        if *count > 1 { format!(" ({count} in all are missing)") } else { String::new() }
    )]
    MissingImages {
        /// The CSV file.
        path: PathBuf,
        /// Line of the first one.
        line: u64,
        /// Path of the first one.
        first: PathBuf,
        /// Number of missing images.
        count: usize,
    },
    /// The data set does not have the requested class.
    #[error("no class '{name}': the classes are {}", classes.join(", "))]
    UnknownClass {
        /// The requested name.
        name: String,
        /// The existing class names.
        classes: Vec<String>,
    },
    /// The data set cannot be divided into training and validation images.
    #[error("cannot split the data: {problem}")]
    Split {
        /// The problem and the remedy.
        problem: String,
    },
    /// A file changed since it was first read.
    #[error("{path}: changed while it was read: run it again when nothing writes to it")]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl InputError {
    /// Makes the message one line, even if `problem` quotes the file.
    pub(crate) fn unreadable(path: &std::path::Path, problem: impl AsRef<str>) -> InputError {
        InputError::Unreadable { path: path.into(), problem: one_line(problem.as_ref()) }
    }

    pub(crate) fn read(path: impl Into<PathBuf>, error: &std::io::Error) -> InputError {
        InputError::Read { path: path.into(), reason: error.to_string() }
    }
}
