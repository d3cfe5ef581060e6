//! NIfTI volumes of versions 1 (Cox et al. 2004, `nifti1.h`) and 2 (`nifti2.h`), sliced in the patient's axes.
//!
//! `header.rs` reads the header, `file.rs` the voxels' bytes, `affine.rs` knows the patient's axes and `geometry.rs` which of
//! them a volume is cut along. `volume.rs` has the voxels' values: `slices.rs` makes a scan of them, `labels.rs` a label map.
//!
//! The file's axes are brought to the patient's by the permutation and flips that come closest to its affine, as
//! nibabel's `as_closest_canonical` does; nothing is interpolated. Slices are turned as DICOM's are on a screen, so that
//! both formats of one examination look alike to the model:
//!
//! | axis | slices run to | rows run to | columns run to |
//! |---|---|---|---|
//! | axial | the head | the back | the patient's left |
//! | coronal | the front | the feet | the patient's left |
//! | sagittal | the right | the feet | the back |
//!
//! Values are windowed to 16 bits: by `--window`, else by what the file displays as black and white (cal_min and cal_max),
//! else from the 0.5th to the 99.5th percentile of the volume (as nnU-Net clips, for a few hot voxels must not set the
//! scale). A value that is not finite is black, which is said. Voxels in colour stay as they are.

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
