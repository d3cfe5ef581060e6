//! Positions of the pixels of parallel slices in the patient, according to DICOM.

/// Positions are in millimetres to the patient's right, front and head, as in NIfTI; shapes and indices are ordered
/// slices, rows, columns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lattice {
    /// Rows and columns of a slice.
    pub(super) size: [usize; 2],
    /// Position of the first pixel of each slice.
    pub(super) origins: Vec<[f64; 3]>,
    /// Unit vectors along which slices, rows and columns advance.
    pub(super) directions: [[f64; 3]; 3],
    /// Millimetres between rows and between columns.
    pub(super) spacing: [f64; 2],
}

impl Lattice {
    pub(super) fn shape(&self) -> [usize; 3] {
        [self.origins.len(), self.size[0], self.size[1]]
    }

    /// Position of the pixel at slice `z`, row `y`, column `x`.
    pub(super) fn place(&self, [z, y, x]: [usize; 3]) -> [f64; 3] {
        let (down, across) = (y as f64 * self.spacing[0], x as f64 * self.spacing[1]);
        let [_, rows, columns] = self.directions;
        [0, 1, 2].map(|n| self.origins[z][n] + rows[n] * down + columns[n] * across)
    }
}
