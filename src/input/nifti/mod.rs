//! NIfTI volumes of versions 1 (Cox et al. 2004, `nifti1.h`) and 2 (`nifti2.h`), sliced in the patient's axes.
//!
//! `header.rs` parses the header, `file.rs` reads the voxels' bytes, `affine.rs` determines the patient's axes, and
//! `geometry.rs` along which of them a volume is sliced. `volume.rs` has the voxels' values: `slices.rs` makes a scan
//! of them, `labels.rs` a label map.
//!
//! The file's axes are mapped to the patient's by the permutation and flips closest to the affine, as in nibabel's
//! `as_closest_canonical`; nothing is interpolated. Slices are oriented like DICOM images on a screen, so that the same
//! examination looks alike to the model in both formats:
//!
//! | axis | slices run to | rows run to | columns run to |
//! |---|---|---|---|
//! | axial | the head | the back | the patient's left |
//! | coronal | the front | the feet | the patient's left |
//! | sagittal | the right | the feet | the back |
//!
//! Values are windowed to 16 bits: by `--window`, else by the file's display range (cal_min and cal_max), else from the
//! 0.5th to the 99.5th percentile of the volume (as nnU-Net clips, so that a few hot voxels do not set the scale).
//! Values that are not finite become black, with a warning. Colour voxels are unchanged.

mod affine;
mod file;
mod geometry;
mod header;
mod labels;
mod slices;
mod volume;

pub(super) use file::{SNIFF_BYTES, files, is_nifti, is_voxels_name, partner};
pub(super) use labels::{open_labels, open_labels_for};
pub(super) use slices::open;
