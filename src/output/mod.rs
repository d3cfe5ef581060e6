//! Output files: features, masks, pictures, DICOM objects.

mod contours;
#[cfg(feature = "dicom")]
pub mod dicom;
mod error;
pub mod features;
mod heat_bar;
mod heat_map;
mod inputs;
#[cfg(feature = "nifti")]
mod nifti_mask;
mod picture;
mod y4m;

pub use contours::write_contours;
pub use error::{ContentError, OutputError, SourceError};
pub use heat_map::{HEAT, PatchMap, heat, heat_layer, write_heat_map};
pub use inputs::{FileId, Inputs};
#[cfg(feature = "nifti")]
pub use nifti_mask::{write_nifti_labels, write_nifti_values};
pub use picture::{
    PALETTE, colour, mask_layer, overlay, write_comparison, write_mask, write_overlay, write_picture,
};
pub use y4m::Y4mWriter;
