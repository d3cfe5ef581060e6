//! Pixels in: image files, labelled data sets, and ultrasound phantoms that need no file at all.
//!
//! An [`Image`] is decoded pixels; [`Image::tensor`] makes of it what the network reads. A [`Dataset`] is a list of
//! images with labels, from a CSV file, from a folder with one subfolder a class, or from [`phantom_dataset`].
//!
//! ```
//! use microraptor::input::{PhantomKind, phantom};
//! use microraptor::vit::{Preprocess, Size};
//!
//! let cyst = phantom(1, PhantomKind::Cyst, 128);
//! let tensor = cyst.image.tensor(Size::square(224), &Preprocess::IMAGENET);
//! assert_eq!(tensor.len(), 3 * 224 * 224);
//! ```

mod dataset;
mod error;
mod files;
mod image;
mod label_map;
mod phantom;
mod scan;
mod speckle;
mod split;

pub use dataset::{Dataset, Sample, Source};
pub use error::InputError;
pub use files::{EXTENSIONS, expand};
pub use image::{Image, MAX_PIXELS, MIN_SIDE};
pub use label_map::{LabelMap, Spacing};
pub use phantom::{Phantom, PhantomKind, phantom, phantom_dataset};
pub use scan::{
    Axis, DicomInfo, Identifiers, NiftiInfo, ReadOptions, Region, Scan, ScanInfo, ScanKind, StreamFormat,
    Window, content_digest,
};
pub use split::{Parts, Split};
