//! Errors of writing outputs.

use std::path::PathBuf;

use crate::files::WriteError;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A model whose outputs have other shapes for another image.
    #[error("{0}: the model's outputs have other shapes for this image: embed it alone")]
    Shapes(String),
    /// The file is also an input of the same command, under this or another name.
    #[error("cannot write {path}: it is {input}, which this command reads; give another name or folder")]
    IsInput {
        /// The requested file.
        path: PathBuf,
        /// The input, as it was given.
        input: PathBuf,
    },
    /// A file name with an unknown extension.
    #[error("cannot write {0}: give a name that ends in .safetensors or .npz")]
    Extension(PathBuf),
    /// More data than the format can hold.
    #[error(
        "cannot write {path}: {bytes} bytes of patch tokens, and .npz holds 4 GiB; give a name in .safetensors"
    )]
    TooLarge {
        /// The requested file.
        path: PathBuf,
        /// Size of its largest array in bytes.
        bytes: u64,
    },
    /// A name of a NIfTI file with another extension.
    #[error("cannot write {0}: give a name that ends in .nii or .nii.gz")]
    NiftiExtension(PathBuf),
    /// The content does not fit the format, or the image or volume that it belongs to.
    #[error("cannot write {path}: {problem}")]
    Content {
        /// The requested file.
        path: PathBuf,
        /// What does not fit.
        problem: ContentError,
    },
    /// The output would refer to DICOM source files, and there are none.
    #[error("no source files; give the DICOM files that were read")]
    NoSources,
    /// The output cannot refer to one of its DICOM source files.
    #[error("{path}: {problem}")]
    Source {
        /// The source file.
        path: PathBuf,
        /// What is wrong with it.
        problem: SourceError,
    },
    /// The system reported an error, or a folder does not exist.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Why content cannot be written in a format, or with the image or volume that it belongs to.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// A slice that the mask does not have, or a mask without pixels.
    #[error("slice {slice} was asked for of a mask of {depth} slices of {width}x{height} px")]
    Slice {
        /// The slice requested, from 1.
        slice: usize,
        /// Number of slices of the mask.
        depth: usize,
        /// Width of the mask in pixels.
        width: usize,
        /// Height of the mask in pixels.
        height: usize,
    },
    /// A mask that differs in size from the picture it is drawn over.
    #[error(
        "the mask has {}x{} px and the picture {}x{}; give the mask at the picture's size",
        .mask[0], .mask[1], .picture[0], .picture[1]
    )]
    PictureSize {
        /// Width and height of the mask.
        mask: [usize; 2],
        /// Width and height of the picture.
        picture: [usize; 2],
    },
    /// A mask that differs in size from its DICOM sources.
    #[error(
        "the mask has {} slices of {}x{} px and the DICOM source {} of {}x{}; give the mask at the source's size",
        .mask[0], .mask[1], .mask[2], .source_size[0], .source_size[1], .source_size[2]
    )]
    SourceSize {
        /// Slices, width and height of the mask.
        mask: [usize; 3],
        /// Frames, width and height of the sources.
        source_size: [usize; 3],
    },
    /// A class in a mask that a grey value cannot stand for.
    #[error("the mask holds class number {class}, and there are {classes} classes (255 at most)")]
    Class {
        /// The class number in the mask.
        class: u8,
        /// Number of classes, the background included.
        classes: usize,
    },
    /// A class in a mask that has no segment.
    #[error("the mask holds class number {class}, and there are {segments} segments; describe every class")]
    NoSegment {
        /// The class number in the mask.
        class: u8,
        /// Number of segments.
        segments: usize,
    },
    /// No segments, or more than a DICOM segmentation holds.
    #[error("{0} segments were given; give 1 to 255")]
    Segments(usize),
    /// A segment without a name.
    #[error("segment {0} has no name; name every class")]
    UnnamedSegment(usize),
    /// A report without findings.
    #[error("there is no finding to report; give a head")]
    NoFinding,
    /// A number of a report that is not finite.
    #[error("'{number}' of {finding} is {value}; a report holds finite numbers")]
    NonFinite {
        /// Meaning of the number.
        number: String,
        /// Name of the finding that it belongs to.
        finding: String,
        /// The number.
        value: f64,
    },
    /// A volume with a side that NIfTI cannot hold.
    #[error("NIfTI holds sides of 1 to 32767 voxels, and these are {}x{}x{}", .0[0], .0[1], .0[2])]
    NiftiSides([usize; 3]),
    /// More or fewer labels than voxels.
    #[error("{labels} labels were given for {}x{}x{} voxels", .dims[0], .dims[1], .dims[2])]
    Labels {
        /// Number of labels.
        labels: usize,
        /// Sides of the volume in voxels.
        dims: [usize; 3],
    },
    /// An affine map that is not finite.
    #[error("the affine holds a NaN or an infinity; correct the source's header")]
    Affine,
}

/// Why an output cannot refer to a DICOM source file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file is not DICOM, or is damaged.
    #[error("{0}")]
    Unreadable(String),
    /// An identifier is missing or malformed.
    #[error("has no valid {0}; a DICOM output cannot refer to it, write JSON instead")]
    Identifier(&'static str),
    /// An attribute that is not a count.
    #[error("has '{}' at {tag}, where a count is expected", .text.escape_debug())]
    Count {
        /// Group and element of the attribute.
        tag: String,
        /// Its text.
        text: String,
    },
    /// The number of rows or columns is missing, or more than an image can have.
    #[error("has no usable Rows or Columns ({tag}); give a DICOM image")]
    Side {
        /// Group and element of the attribute.
        tag: String,
    },
    /// The file differs in size from the first one.
    #[error(
        "has {}x{} px and {} {}x{}; give slices of one size",
        .found[0], .found[1], .first.display(), .expected[0], .expected[1]
    )]
    Size {
        /// Columns and rows of the file.
        found: [usize; 2],
        /// The first file.
        first: PathBuf,
        /// Columns and rows of the first file.
        expected: [usize; 2],
    },
    /// The file belongs to another study than the first one.
    #[error("belongs to another study than {}; give files of one study", .0.display())]
    Study(PathBuf),
    /// The file has fewer frames than were read from it.
    #[error("has no frame {0}: the file changed while it was read")]
    Frame(usize),
}
