//! Pixels in: image files and labelled data sets.
//!
//! An [`Image`] is decoded pixels; [`Image::tensor`] makes of it what the network reads. A [`Dataset`] is a list of
//! images with labels, from a CSV file or from a folder with one subfolder a class.

mod dataset;
mod error;
mod files;
mod image;
mod split;

pub use dataset::{Dataset, Sample, Source};
pub use error::InputError;
pub use files::{EXTENSIONS, expand};
pub use image::{Image, MAX_PIXELS, MIN_SIDE};
pub use split::{Parts, Split};
