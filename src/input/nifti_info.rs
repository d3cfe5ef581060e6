//! Geometry of a NIfTI volume, and the mapping from slices back to the file's order.

#[cfg(feature = "nifti")]
use super::lattice::Lattice;
use super::{InputError, LabelMap};

/// The geometry of a NIfTI volume and how it was sliced.
#[derive(Clone, Debug, PartialEq)]
pub struct NiftiInfo {
    /// Maps the file's voxel indices (i, j, k, 1) to millimetres (right, anterior, superior).
    pub affine: [[f64; 4]; 3],
    /// Number of voxels along the file's axes i, j, k; i varies fastest.
    pub dims: [usize; 3],
    /// Millimetres between voxels along the file's axes.
    pub spacing: [f64; 3],
    /// The file's axes along which slices, rows and columns run.
    pub axes: [usize; 3],
    /// Whether slices, rows and columns run against that axis.
    pub flips: [bool; 3],
}

impl NiftiInfo {
    /// Number of slices, rows and columns.
    pub fn shape(&self) -> [usize; 3] {
        self.axes.map(|axis| self.dims[axis])
    }

    /// Index in the file's order of the voxel at slice `z`, row `y`, column `x`.
    pub(super) fn index(&self, at: [usize; 3]) -> usize {
        let shape = self.shape();
        let mut file = [0; 3];
        for n in 0..3 {
            file[self.axes[n]] = if self.flips[n] { shape[n] - 1 - at[n] } else { at[n] };
        }
        (file[2] * self.dims[1] + file[1]) * self.dims[0] + file[0]
    }

    /// Position of the voxel at slice `z`, row `y`, column `x`, in millimetres right, anterior and superior.
    #[cfg(feature = "nifti")]
    fn place(&self, at: [usize; 3]) -> [f64; 3] {
        let shape = self.shape();
        let mut file = [0.0; 3];
        for n in 0..3 {
            file[self.axes[n]] = (if self.flips[n] { shape[n] - 1 - at[n] } else { at[n] }) as f64;
        }
        self.affine.map(|row| row[0] * file[0] + row[1] * file[1] + row[2] * file[2] + row[3])
    }

    /// The largest distance in millimetres between the corners of two volumes of the same shape, if it is more than
    /// half a voxel: then the same index is not the same place in the patient. `None` otherwise, and for different
    /// shapes.
    #[cfg(feature = "nifti")]
    pub(super) fn apart(&self, other: &NiftiInfo) -> Option<f64> {
        self.apart_from(other.shape(), &other.spacing, |at| other.place(at))
    }

    /// [`NiftiInfo::apart`] for a volume and the slices of another format.
    #[cfg(feature = "nifti")]
    pub(super) fn apart_from_lattice(&self, lattice: &Lattice) -> Option<f64> {
        self.apart_from(lattice.shape(), &lattice.spacing, |at| lattice.place(at))
    }

    #[cfg(feature = "nifti")]
    fn apart_from(
        &self,
        shape: [usize; 3],
        spacing: &[f64],
        place: impl Fn([usize; 3]) -> [f64; 3],
    ) -> Option<f64> {
        if shape != self.shape() {
            return None;
        }
        let corner = |n: usize| [0, 1, 2].map(|axis| if n >> axis & 1 == 1 { shape[axis] - 1 } else { 0 });
        let distance = |n: usize| {
            let [a, b] = [self.place(corner(n)), place(corner(n))];
            a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
        };
        let most = (0..8).map(distance).fold(0.0, f64::max);
        let voxel = self.spacing.iter().chain(spacing).copied().fold(f64::INFINITY, f64::min);
        (most > voxel / 2.0).then_some(most)
    }

    /// The labels in the file's order of voxels, the first axis varying fastest: written with the source volume's
    /// affine, they overlay the volume.
    ///
    /// # Errors
    /// [`InputError::MapSize`] if the map's slices, rows and columns differ from the volume's.
    pub fn restore(&self, map: &LabelMap) -> Result<Vec<u8>, InputError> {
        let [depth, height, width] = self.shape();
        map.check_size("the volume", depth, height, width)?;
        Ok(self.placed(|[z, y, x]| map.labels[(z * height + y) * width + x]))
    }

    /// What `voxel` says of each slice, row and column, in the file's order of voxels.
    pub fn placed<T: Copy + Default>(&self, voxel: impl Fn([usize; 3]) -> T) -> Vec<T> {
        let [depth, height, width] = self.shape();
        let mut file = vec![T::default(); depth * height * width];
        for z in 0..depth {
            for y in 0..height {
                for x in 0..width {
                    file[self.index([z, y, x])] = voxel([z, y, x]);
                }
            }
        }
        file
    }
}
