//! Position of a volume's voxels in the patient, and how the volume is sliced.

use super::affine::{best_affine, closest_along, closest_axes, disagreement};
use super::header::Header;
use crate::input::lattice::Lattice;
use crate::input::{Axis, NiftiInfo};

/// The directions along which a volume is sliced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut<'a> {
    /// A patient axis.
    Axis(Axis),
    /// The slices, rows and columns of another image.
    Lattice(&'a Lattice),
}

impl From<Option<Axis>> for Cut<'_> {
    fn from(axis: Option<Axis>) -> Self {
        Cut::Axis(axis.unwrap_or(Axis::Axial))
    }
}

impl Header {
    /// The position of the voxels, and how they are sliced.
    ///
    /// # Errors
    /// The problem with the affine.
    pub(super) fn geometry(&self, cut: Cut<'_>) -> Result<NiftiInfo, String> {
        let affine = best_affine(self)?;
        let (axes, flips) = match cut {
            Cut::Axis(axis) => closest_axes(&affine, axis),
            Cut::Lattice(lattice) => closest_along(&affine, &lattice.directions),
        };
        let along = |n: usize| affine.iter().map(|row| row[n] * row[n]).sum::<f64>().sqrt();
        let unit = self.unit;
        Ok(NiftiInfo {
            spacing: [along(0), along(1), along(2)].map(|length| length * unit),
            affine: affine.map(|row| row.map(|v| v * unit)),
            dims: self.dims,
            axes,
            flips,
        })
    }

    /// The contradiction between the header's fields on the voxels' position, if there is one.
    pub(super) fn contradiction(&self) -> Option<String> {
        disagreement(self)
    }
}
