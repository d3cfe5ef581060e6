//! Where the pixels of parallel slices lie in the patient, as DICOM says it.

/// Places are millimetres to the patient's right, front and head, as NIfTI has them; shapes and positions are slices, rows,
/// columns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lattice {
    /// How many rows and columns a slice has.
    pub(super) size: [usize; 2],
    /// The first pixel of each slice.
    pub(super) origins: Vec<[f64; 3]>,
    /// Unit vectors along which slices, rows and columns follow each other.
    pub(super) directions: [[f64; 3]; 3],
    /// Millimetres from row to row and from column to column.
    pub(super) spacing: [f64; 2],
}

impl Lattice {
    pub(super) fn shape(&self) -> [usize; 3] {
        [self.origins.len(), self.size[0], self.size[1]]
    }

    /// The place of the pixel at slice `z`, row `y`, column `x`.
    pub(super) fn place(&self, [z, y, x]: [usize; 3]) -> [f64; 3] {
        let (down, across) = (y as f64 * self.spacing[0], x as f64 * self.spacing[1]);
        let [_, rows, columns] = self.directions;
        [0, 1, 2].map(|n| self.origins[z][n] + rows[n] * down + columns[n] * across)
    }
}
