//! What can be wrong with images and data sets.

use std::path::PathBuf;

use super::extensions::extensions;
use super::limits::{MAX_PIXELS, MIN_SIDE};
use crate::names::one_line;

/// Why an image or a data set cannot be used. Each message is one line: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The file or folder cannot be opened or read.
    #[error("{path}: cannot be read ({reason}): check the path and its permissions")]
    Read {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The content is none of the formats that are read.
    #[error("{path}: not an image of a known format: give PNG, JPEG, TIFF, BMP, GIF, WebP or PNM")]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The decoder gave up: truncated, damaged, or a variant that is not read.
    #[error(
        "{path}: cannot be decoded ({reason}): the file is damaged, cut short or of an unusual kind, save it anew"
    )]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        reason: String,
    },
    /// A side is below [`MIN_SIDE`].
    #[error(
        "{name}: {width}x{height} px leave nothing to see: give an image of at least {MIN_SIDE} px a side"
    )]
    TooSmall {
        /// The file, or what else the image came from.
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
    /// A floating-point image holds a value that is not a brightness.
    #[error("{path}: holds the value {value}: scale a floating-point image to 0..1 first")]
    Value {
        /// The file.
        path: PathBuf,
        /// The first such value, as text.
        value: String,
    },
    /// A pixel buffer has another length than its sides say.
    #[error("{found} values given for a {width}x{height} image: give one for each pixel and channel")]
    Buffer {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Length of the buffer.
        found: usize,
    },
    /// A folder has no image, where one was expected.
    #[error("{path}: holds no images: add files that end in {}", extensions().collect::<Vec<_>>().join(", "))]
    NoImages {
        /// The folder.
        path: PathBuf,
    },
    /// A DICOM or NIfTI file, a clip, a mask or a folder is not what can be read.
    #[error("{path}: {problem}")]
    Unreadable {
        /// File or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A stream of frames is wrong.
    #[error("{name}: {problem}")]
    Stream {
        /// What the stream is called.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The format is left out of this build.
    #[error("{path}: this build cannot read {format} (built without the feature {feature}): use one with it")]
    NotBuilt {
        /// The file.
        path: PathBuf,
        /// Name of the format.
        format: &'static str,
        /// The feature of this crate that reads it.
        feature: &'static str,
    },
    /// The kind of picture is one on which DINOv3 is known to fail.
    #[error("{path}: {reason}; give --allow-unsupported-modality to go on all the same")]
    Modality {
        /// The file.
        path: PathBuf,
        /// What it is, and what was found.
        reason: String,
    },
    /// More frames or slices than are allowed.
    #[error("{name}: has {} frames or slices, of at most {most}: give a shorter clip or a part of the volume, or allow more (max-frames)",
        frames.map_or_else(|| "more".into(), |frames| frames.to_string()))]
    Frames {
        /// The scan.
        name: String,
        /// How many there are, where that is known before they are read.
        frames: Option<usize>,
        /// How many there may be.
        most: usize,
    },
    /// A frame has another size than the first.
    #[error(
        "{name}: frame {frame} has {}x{} px but the first {}x{}: give frames of one size",
        found.1, found.0, expected.1, expected.0
    )]
    FrameSize {
        /// The scan.
        name: String,
        /// Which frame, from 1.
        frame: usize,
        /// Rows and columns of the first frame.
        expected: (usize, usize),
        /// Rows and columns of this one.
        found: (usize, usize),
    },
    /// A mask does not fit what it was drawn on.
    #[error(
        "a mask of {}x{} px and {} slices does not fit {image}, which has {}x{} px and {} slices: give the mask of that image",
        found[2], found[1], found[0], expected[2], expected[1], expected[0]
    )]
    MapSize {
        /// What it should fit.
        image: String,
        /// Slices, rows and columns that it should have.
        expected: [usize; 3],
        /// Slices, rows and columns that it has.
        found: [usize; 3],
    },
    /// A data set's CSV file or folder is wrong as a whole.
    #[error("{path}: {problem}")]
    Dataset {
        /// CSV file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A line of a CSV file is wrong.
    #[error("{path} line {line}: {problem}")]
    Row {
        /// The CSV file.
        path: PathBuf,
        /// Line, from 1 (the header).
        line: u64,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Images that a CSV file names are not there.
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
        /// How many are missing.
        count: usize,
    },
    /// A class was asked for that the data set does not have.
    #[error("no class '{name}': the classes are {}", classes.join(", "))]
    UnknownClass {
        /// The name asked for.
        name: String,
        /// The names there are.
        classes: Vec<String>,
    },
    /// The data set cannot be divided into training and validation images.
    #[error("cannot split the data: {problem}")]
    Split {
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A file is another than the one of which something was said already.
    #[error("{path}: changed while it was read: run it again when nothing writes to it")]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl InputError {
    /// In one line, also where `problem` quotes the file.
    pub(super) fn unreadable(path: &std::path::Path, problem: impl AsRef<str>) -> InputError {
        InputError::Unreadable { path: path.into(), problem: one_line(problem.as_ref()) }
    }

    pub(super) fn read(path: impl Into<PathBuf>, error: &std::io::Error) -> InputError {
        InputError::Read { path: path.into(), reason: error.to_string() }
    }
}
