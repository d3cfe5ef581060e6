//! Where the voxels of a NIfTI volume lie, and the way from slices back to the file's order.

use super::{InputError, LabelMap};

/// Bytes of a NIfTI-1 header (`nifti1.h`).
pub const NIFTI_HEADER_BYTES: usize = 348;

/// The geometry of a NIfTI volume and how it was sliced.
#[derive(Clone, Debug, PartialEq)]
pub struct NiftiInfo {
    /// From voxel indices (i, j, k, 1) of the file to millimetres (right, anterior, superior).
    pub affine: [[f64; 4]; 3],
    /// Voxels along the file's axes i, j, k, the first running fastest.
    pub dims: [usize; 3],
    /// Millimetres between voxels along the file's axes.
    pub spacing: [f64; 3],
    /// Which of the file's axes the slices, rows and columns run along.
    pub axes: [usize; 3],
    /// Whether slices, rows and columns run against that axis.
    pub flips: [bool; 3],
    /// The header as the file has it, [`NIFTI_HEADER_BYTES`] long, in the file's byte order.
    pub header: Vec<u8>,
}

impl NiftiInfo {
    /// Slices, rows and columns.
    pub fn shape(&self) -> [usize; 3] {
        self.axes.map(|axis| self.dims[axis])
    }

    /// Position in the file's voxels of the voxel at slice `z`, row `y`, column `x`.
    pub(super) fn index(&self, at: [usize; 3]) -> usize {
        let shape = self.shape();
        let mut file = [0; 3];
        for n in 0..3 {
            file[self.axes[n]] = if self.flips[n] { shape[n] - 1 - at[n] } else { at[n] };
        }
        (file[2] * self.dims[1] + file[1]) * self.dims[0] + file[0]
    }

    /// The labels in the file's order of voxels, the first axis running fastest: what lies on the source volume when it
    /// is written with its affine.
    ///
    /// # Errors
    /// [`InputError::MapSize`] when the map has not as many slices, rows and columns as the volume.
    pub fn restore(&self, map: &LabelMap) -> Result<Vec<u8>, InputError> {
        let [depth, height, width] = self.shape();
        map.check_size("the volume", depth, height, width)?;
        let mut file = vec![0; map.labels.len()];
        let mut labels = map.labels.iter();
        for z in 0..depth {
            for y in 0..height {
                for x in 0..width {
                    if let Some(label) = labels.next() {
                        file[self.index([z, y, x])] = *label;
                    }
                }
            }
        }
        Ok(file)
    }
}
