//! Replaces the NIfTI reader in a build without it.

use std::path::{Path, PathBuf};

use super::{Axis, InputError, LabelMap, ReadOptions, Scan};

/// The header up to and including the magic of `nifti1.h`.
pub(super) const SNIFF_BYTES: usize = 348;

/// Without the reader, only uncompressed files are recognised by content; gzipped ones are recognised by name.
pub(super) fn is_nifti(start: &[u8]) -> bool {
    matches!(start.get(344..348), Some(b"n+1\0" | b"ni1\0"))
}

pub(super) fn open(path: &Path, _: &ReadOptions) -> Result<Scan, InputError> {
    Err(absent(path))
}

pub(super) fn open_labels(path: &Path, _: Option<Axis>, _: usize) -> Result<LabelMap, InputError> {
    Err(absent(path))
}

pub(super) fn open_labels_for(path: &Path, _: &Path, _: &ReadOptions) -> Result<LabelMap, InputError> {
    Err(absent(path))
}

/// Without the reader, the two files of a pair are not combined.
pub(super) fn files(path: &Path) -> Vec<PathBuf> {
    vec![path.into()]
}

pub(super) fn is_voxels_name(_: &Path) -> bool {
    false
}

pub(super) fn partner(_: &Path) -> Option<PathBuf> {
    None
}

fn absent(path: &Path) -> InputError {
    InputError::NotBuilt { path: path.into(), format: "NIfTI", feature: "nifti" }
}
