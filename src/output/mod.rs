//! Output files: features, masks, pictures, DICOM objects.

#[cfg(feature = "dicom")]
pub mod dicom;
mod error;
pub mod features;
mod inputs;
#[cfg(feature = "nifti")]
mod nifti_mask;
mod picture;
mod y4m;

pub use error::{ContentError, OutputError, SourceError};
pub use inputs::{FileId, Inputs};
#[cfg(feature = "nifti")]
pub use nifti_mask::write_nifti_labels;
pub use picture::{
    PALETTE, colour, mask_layer, overlay, write_comparison, write_mask, write_overlay, write_picture,
};
pub use y4m::Y4mWriter;
