//! Replaces the DICOM reader in a build without it.

use std::path::{Path, PathBuf};

#[cfg(feature = "nifti")]
use super::lattice::Lattice;
use super::{InputError, ReadOptions, Scan};

pub(super) fn open_file(path: &Path, _: &ReadOptions) -> Result<Scan, InputError> {
    Err(InputError::NotBuilt { path: path.into(), format: "DICOM", feature: "dicom" })
}

pub(super) fn open_series(path: &Path, _: Vec<PathBuf>, options: &ReadOptions) -> Result<Scan, InputError> {
    open_file(path, options)
}

/// Always `None`: the image itself is refused when it is read.
#[cfg(feature = "nifti")]
pub(super) fn lattice(_: &[PathBuf]) -> Result<Option<Lattice>, InputError> {
    Ok(None)
}
