//! Input: image files, DICOM, NIfTI and clips, labelled data sets, and ultrasound phantoms that need no file.
//!
//! An [`Image`] holds decoded pixels; a [`Preprocessor`] turns it into the network's input. A [`Scan`] is what a path
//! refers to: one image, the frames of a clip or the slices of a volume. A [`Dataset`] is a list of labelled samples
//! from a CSV file, from a folder with one subfolder per class, or from [`phantom_dataset`].
//!
//! ```
//! use microraptor::input::{PhantomKind, phantom};
//! use microraptor::vit::{Preprocess, Size};
//!
//! let cyst = phantom(1, PhantomKind::Cyst, 128);
//! let tensor = cyst.image.tensor(Size::square(224), &Preprocess::IMAGENET);
//! assert_eq!(tensor.len(), 3 * 224 * 224);
//! ```

mod camera;
mod content;
mod copies;
mod dataset;
#[cfg(feature = "dicom")]
mod dicom;
#[cfg(not(feature = "dicom"))]
#[path = "dicom_absent.rs"]
mod dicom;
mod dicom_sniff;
mod digest;
mod error;
mod extensions;
mod files;
mod image;
mod image_file;
mod jpeg;
mod label_file;
mod label_map;
#[cfg(feature = "nifti")]
mod lattice;
mod limits;
#[cfg(feature = "nifti")]
mod nifti;
#[cfg(not(feature = "nifti"))]
#[path = "nifti_absent.rs"]
mod nifti;
mod nifti_info;
mod open;
mod options;
mod phantom;
mod picture;
mod preprocessor;
mod raw_frame;
mod region;
mod sample;
mod say;
mod scan;
mod scan_info;
mod speckle;
mod split;
mod stream;
mod stream_colour;
mod stream_pictures;
mod y4m;

pub use camera::{CameraFormat, CameraPixel};
pub use dataset::Dataset;
#[cfg(feature = "dicom")]
pub(crate) use dicom::elements as dicom_elements;
#[cfg(feature = "dicom")]
pub use dicom::{
    Codestream, Decoder, DicomSamples, JPEG2000_VARIABLE, decode_codestream, dicom_samples,
    refuse_codestream, set_jpeg2000_decoder,
};
pub use digest::content_digest;
pub use error::InputError;
pub use extensions::is_picture_name;
pub(crate) use files::Dicom;
pub use files::{Images, expand};
pub use image::Image;
pub use label_map::{INNER, LabelMap, OUTER, OUTSIDE};
pub use limits::{MAX_PIXELS, MIN_SIDE};
pub use nifti_info::NiftiInfo;
pub use options::{Axis, MAX_FRAMES, Matrix, Range, ReadOptions, Window};
pub use phantom::{Phantom, PhantomKind, phantom, phantom_dataset};
pub use preprocessor::Preprocessor;
pub use raw_frame::{PixelFormat, Plane, RawFrame};
pub use region::Region;
pub use sample::{Sample, Source, Split};
pub use scan::Scan;
pub(crate) use scan::check_frames;
pub use scan_info::{DicomInfo, Identifiers, ScanInfo, ScanKind, SourceFrame, Spacing};
pub use split::Parts;
pub use stream::{FrameStream, RawPixel, StreamFormat};
