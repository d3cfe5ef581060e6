//! Writing what the program makes: files that are whole or absent.

mod atomic;
#[cfg(feature = "dicom")]
pub mod dicom;
mod error;
pub mod features;
mod inputs;
#[cfg(feature = "nifti")]
mod nifti_mask;
mod picture;
mod temporary;

pub use atomic::{Access, AtomicFile, Target, check_writable, write_all_atomically, write_atomically};
pub use error::OutputError;
pub use inputs::{FileId, Inputs};
#[cfg(feature = "nifti")]
pub use nifti_mask::write_nifti_labels;
pub use picture::{PALETTE, colour, write_comparison, write_mask, write_overlay, write_picture};
pub use temporary::remove_temporaries;
