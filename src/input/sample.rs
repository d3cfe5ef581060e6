//! One labelled image: its pixels, its labels and what it is for.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Image, InputError, ReadOptions, Scan, content_digest};
use crate::stamp::Stamp;

/// Where a sample's pixels are.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// In a file, decoded when they are asked for.
    File(PathBuf),
    /// In memory.
    Memory(Arc<Image>),
}

impl Source {
    /// The frames: a file or folder as [`Scan::open`] reads it.
    ///
    /// # Errors
    /// Those of [`Scan::open`].
    pub fn scan(&self, options: &ReadOptions) -> Result<Scan, InputError> {
        match self {
            Source::File(path) => Scan::open(path, options),
            Source::Memory(image) => Ok(Scan::from_image("an image in memory", Arc::clone(image))),
        }
    }

    /// What tells, after [`Source::digest`] and [`Source::scan`], that both read the same; none for an image in memory.
    ///
    /// # Errors
    /// [`InputError::Read`].
    pub fn stamp(&self) -> Result<Option<Stamp>, InputError> {
        self.file().map(|path| Stamp::of(path).map_err(|e| InputError::read(path, &e))).transpose()
    }

    /// The file or folder, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Source::File(path) => Some(path),
            Source::Memory(_) => None,
        }
    }

    /// SHA-256, in lower-case hex, of all that [`Source::scan`] depends on: [`content_digest`] of a file, the pixels of an
    /// image in memory.
    ///
    /// # Errors
    /// Those of [`content_digest`].
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
    /// What to call it in outputs: its path, relative to the data set.
    pub name: String,
    /// Its pixels.
    pub source: Source,
    /// Indices into [`Dataset::classes`](super::Dataset::classes), ascending: one class, or with multi-label data any number.
    pub labels: Vec<usize>,
    /// Which class each of its pixels has, where the data set says so: a picture, or a NIfTI volume.
    pub mask: Option<PathBuf>,
    /// What the data set says it is for.
    pub split: Option<Split>,
}

/// What a sample is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// A head is fitted on it.
    Train,
    /// The regularisation strength is chosen on it.
    Val,
    /// Only the final metrics see it.
    Test,
}

impl FromStr for Split {
    type Err = ();

    /// Reads `train`, `val` (or `valid`, `validation`) and `test`, in any case.
    fn from_str(text: &str) -> Result<Split, ()> {
        match text.to_lowercase().as_str() {
            "train" => Ok(Split::Train),
            "val" | "valid" | "validation" => Ok(Split::Val),
            "test" => Ok(Split::Test),
            _ => Err(()),
        }
    }
}
