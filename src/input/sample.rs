//! A labelled image: its pixels, labels and split.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Image, InputError, ReadOptions, Scan, content_digest};
use crate::stamp::Stamp;

/// Source of a sample's pixels.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A file, decoded on demand.
    File(PathBuf),
    /// In memory.
    Memory(Arc<Image>),
}

impl Source {
    /// The frames; [`Scan::open`] reads a file or folder.
    ///
    /// # Errors
    /// Those of [`Scan::open`].
    pub fn scan(&self, options: &ReadOptions) -> Result<Scan, InputError> {
        match self {
            Source::File(path) => Scan::open(path, options),
            Source::Memory(image) => Ok(Scan::from_image("an image in memory", Arc::clone(image))),
        }
    }

    /// A stamp to verify that [`Source::digest`] and [`Source::scan`] read the same data; `None` for an image in
    /// memory.
    ///
    /// # Errors
    /// [`InputError::Read`].
    pub fn stamp(&self) -> Result<Option<Stamp>, InputError> {
        self.file().map(|path| Stamp::of(path).map_err(|e| InputError::read(path, &e))).transpose()
    }

    /// The file or folder; `None` for an image in memory.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Source::File(path) => Some(path),
            Source::Memory(_) => None,
        }
    }

    /// SHA-256, in lower-case hex, of everything that [`Source::scan`] depends on: `content_digest` for a file, the
    /// pixels for an image in memory.
    ///
    /// # Errors
    /// [`InputError`] if a file cannot be read, or the folder is not a scan.
    pub fn digest(&self, options: &ReadOptions) -> Result<String, InputError> {
        match self {
            Source::File(path) => content_digest(path, options),
            Source::Memory(image) => {
                let pixels = image.pixels();
                let mut hash = Sha256::new();
                hash.update(format!("{:?} {}x{}\n", pixels.color(), pixels.width(), pixels.height()));
                hash.update(pixels.as_bytes());
                Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
            }
        }
    }

    /// The pixels of a picture.
    ///
    /// # Errors
    /// Those of [`Image::open`].
    pub fn open(&self) -> Result<Arc<Image>, InputError> {
        match self {
            Source::File(path) => Image::open(path).map(Arc::new),
            Source::Memory(image) => Ok(Arc::clone(image)),
        }
    }
}

/// One image with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The name in outputs: the path relative to the data set.
    pub name: String,
    /// The source of its pixels.
    pub source: Source,
    /// Indices into [`Dataset::classes`](super::Dataset::classes), ascending: one class, or any number for multi-label
    /// data.
    pub labels: Vec<usize>,
    /// A mask with the class of each pixel, if the data set gives one: a picture or a NIfTI volume.
    pub mask: Option<PathBuf>,
    /// The split given by the data set.
    pub split: Option<Split>,
}

/// The use of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// For fitting a head.
    Train,
    /// For choosing the regularisation strength.
    Val,
    /// For the final metrics only.
    Test,
}

impl FromStr for Split {
    type Err = ();

    /// Reads `train`, `val` (or `valid`, `validation`) and `test`, case-insensitively.
    fn from_str(text: &str) -> Result<Split, ()> {
        match text.to_lowercase().as_str() {
            "train" => Ok(Split::Train),
            "val" | "valid" | "validation" => Ok(Split::Val),
            "test" => Ok(Split::Test),
            _ => Err(()),
        }
    }
}
