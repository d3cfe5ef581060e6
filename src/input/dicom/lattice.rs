//! Position in space of the pixels of a file or series, for masks that are stored in another format.

use std::path::PathBuf;

use super::file::DicomFile;
use super::geometry::{Plane, stack};
use super::layout::Layout;
use crate::input::InputError;
use crate::input::lattice::Lattice;

/// The lattice of the frames of `files`, in the order in which a scan yields them; `None` if the files do not state
/// positions or do not form a volume.
pub(in crate::input) fn lattice(files: &[PathBuf]) -> Result<Option<Lattice>, InputError> {
    let mut planes = Vec::new();
    let mut size = None;
    for path in files {
        let file = DicomFile::open(path)?;
        let layout = Layout::of(&file).map_err(|problem| InputError::unreadable(path, problem))?;
        size.get_or_insert([layout.rows, layout.columns]);
        planes.extend((0..layout.frames).map(|frame| Plane::of(&file.object, frame)));
    }
    Ok(size.and_then(|size| of_planes(&planes, size)))
}

fn of_planes(planes: &[Plane], size: [usize; 2]) -> Option<Lattice> {
    let stack = stack(planes).ok()?;
    // In DICOM, x increases to the left and y to the back (PS3.3 C.7.6.2.1.1).
    let turned = |[x, y, z]: [f64; 3]| [-x, -y, z];
    let [ax, ay, az, bx, by, bz] = planes.first()?.orientation?;
    let normal = [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx];
    let origins = stack.order.iter().map(|&n| planes[n].position.map(turned)).collect::<Option<_>>()?;
    Some(Lattice {
        size,
        origins,
        directions: [normal, [bx, by, bz], [ax, ay, az]].map(turned),
        spacing: [stack.in_plane.rows, stack.in_plane.columns],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Spacing;

    #[test]
    fn a_coronal_series_runs_to_the_back() {
        let plane = |y: f64| Plane {
            position: Some([-10.0, y, 50.0]),
            orientation: Some([1.0, 0.0, 0.0, 0.0, 0.0, -1.0]),
            spacing: Some(Spacing { slices: None, rows: 0.5, columns: 2.0 }),
        };
        let lattice = of_planes(&[plane(6.0), plane(3.0)], [8, 9]).unwrap();
        assert_eq!(lattice.shape(), [2, 8, 9]);
        // By the equation in C.7.6.2.1.1, with the signs of x and y reversed: left and back are negative.
        assert_eq!(lattice.place([0, 0, 0]), [10.0, -3.0, 50.0]);
        assert_eq!(lattice.place([1, 4, 3]), [4.0, -6.0, 48.0]);
        assert_eq!(lattice.directions[0], [0.0, -1.0, 0.0]);
        let unplaced = Plane { position: None, ..plane(0.0) };
        assert_eq!(of_planes(&[unplaced], [8, 9]), None);
    }
}
