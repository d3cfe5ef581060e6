//! Maps NIfTI axes to patient axes, as nibabel does (`nibabel.nifti1`, `nibabel.orientations`).

use super::header::Header;
use crate::input::Axis;

type Affine = [[f64; 4]; 3];
type Matrix = [[f64; 3]; 3];

/// Voxel sizes that differ by less than this fraction count as equal: the header rounds them to f32 in different
/// places.
const SAME_SIZE: f64 = 0.01;

/// The affine from voxel indices to the file's length unit: the sform if its code is set, else the qform, else the
/// voxel sizes with x towards the patient's left, as in nibabel's `get_best_affine`.
pub(super) fn best_affine(header: &Header) -> Result<Affine, String> {
    let affine = if header.sform_code > 0 {
        filled(header.sform, header.dims)
    } else if header.qform_code > 0 {
        qform(header)?
    } else {
        let sizes = [1, 2, 3].map(|n| header.pixdim[n].abs());
        let origin = |n: usize| -sizes[n] * (header.dims[n] as f64 - 1.0) / 2.0;
        [[-sizes[0], 0.0, 0.0, -origin(0)], [0.0, sizes[1], 0.0, origin(1)], [0.0, 0.0, sizes[2], origin(2)]]
    };
    let finite = affine.iter().flatten().all(|v| v.is_finite());
    // The determinant of the unit columns; NaN if a column is zero.
    let volume = determinant(&directions(&affine)).abs();
    if !finite || volume < 1e-6 || volume.is_nan() {
        return Err("has an affine that maps the volume onto less than space: the file is damaged".into());
    }
    Ok(affine)
}

/// The affine of a single slice may lack its third direction, which is then perpendicular to the slice.
fn filled(mut affine: Affine, dims: [usize; 3]) -> Affine {
    let absent = |n: usize| dims[n] == 1 && affine.iter().all(|row| row[n] == 0.0);
    let Some(n) = (0..3).find(|&n| absent(n)) else { return affine };
    let column = |n: usize| [affine[0][n], affine[1][n], affine[2][n]];
    let [a, b] = [column((n + 1) % 3), column((n + 2) % 3)];
    let across = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    let length = across.iter().map(|v| v * v).sum::<f64>().sqrt();
    for (row, v) in affine.iter_mut().zip(across) {
        row[n] = v / length;
    }
    affine
}

/// Describes a disagreement between the sform and the qform on orientation, or between the sform and pixdim on voxel
/// size.
pub(super) fn disagreement(header: &Header) -> Option<String> {
    let sform = best_affine(header).ok().filter(|_| header.sform_code > 0)?;
    if header.qform_code > 0
        && let Ok(qform) = qform(header)
        && closest(&sform) != closest(&qform)
    {
        return Some("is turned otherwise by its qform than by its sform; the sform is taken".into());
    }
    let length = |n: usize| sform.iter().map(|row| row[n] * row[n]).sum::<f64>().sqrt();
    let lengths = [length(0), length(1), length(2)];
    let sizes = [1, 2, 3].map(|n| header.pixdim[n].abs());
    let differ = |n: &usize| (lengths[*n] / sizes[*n] - 1.0).abs() > SAME_SIZE;
    let named = sizes.iter().all(|&size| size > 0.0 && size.is_finite());
    (named && (0..3).filter(|&n| header.dims[n] > 1).any(|n| differ(&n))).then(|| {
        format!("has voxels of {sizes:?} by pixdim and of {lengths:?} by its sform; the sform is taken")
    })
}

/// Method 2 of `nifti1.h`: a unit quaternion whose component a is not stored.
fn qform(header: &Header) -> Result<Affine, String> {
    let [b, c, d] = header.quaternion;
    let rest = 1.0 - (b * b + c * c + d * d);
    // Rounded to f32, the components of a unit quaternion may exceed unit length by a few units in the last place.
    if rest < -1e-6 || rest.is_nan() {
        return Err("has a qform that is no rotation: the file is damaged".into());
    }
    let a = rest.max(0.0).sqrt();
    let rotation = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ];
    let side = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let sizes = [1, 2, 3].map(|n| header.pixdim[n].abs());
    let offset = header.qform_origin;
    let row = |n: usize| {
        let r: [f64; 3] = rotation[n];
        [r[0] * sizes[0], r[1] * sizes[1], r[2] * sizes[2] * side, offset[n]]
    };
    Ok([row(0), row(1), row(2)])
}

/// The file's axes along which slices, rows and columns run, and whether they run against them (see the table in
/// `nifti/mod.rs`).
pub(super) fn closest_axes(affine: &Affine, axis: Axis) -> ([usize; 3], [bool; 3]) {
    let (file_axis, against) = closest(affine);
    // Axes 0, 1, 2 point right, anterior and superior; rows and columns run to the left, the back and the feet.
    let ([slices, rows, columns], away) = match axis {
        Axis::Axial => ([2, 1, 0], [false, true, true]),
        Axis::Coronal => ([1, 2, 0], [false, true, true]),
        Axis::Sagittal => ([0, 2, 1], [false, true, true]),
    };
    let order = [slices, rows, columns];
    let mut flips = [false; 3];
    for n in 0..3 {
        flips[n] = against[order[n]] != away[n];
    }
    (order.map(|patient| file_axis[patient]), flips)
}

/// [`closest_axes`] for slices, rows and columns along `directions`, unit vectors in right, anterior, superior
/// coordinates.
pub(super) fn closest_along(affine: &Affine, directions: &[[f64; 3]; 3]) -> ([usize; 3], [bool; 3]) {
    let along = |direction: &[f64; 3]| {
        let mut row = [0.0; 4];
        for (part, from) in direction.iter().zip(affine) {
            row.iter_mut().zip(from).for_each(|(sum, v)| *sum += part * v);
        }
        row
    };
    closest(&[along(&directions[0]), along(&directions[1]), along(&directions[2])])
}

/// For right, anterior and superior: the closest file axis, and whether it runs the opposite way. The rotation part
/// (polar decomposition) decides, starting with the file axis whose direction is clearest, as in nibabel's
/// `io_orientation`.
fn closest(affine: &Affine) -> ([usize; 3], [bool; 3]) {
    let mut rotation = polar(directions(affine));
    let peak = |n: usize| rotation.iter().map(|row| row[n] * row[n]).fold(0.0, f64::max);
    let mut columns = [(0, peak(0)), (1, peak(1)), (2, peak(2))];
    columns.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut axes = [0; 3];
    let mut against = [false; 3];
    let mut taken = [false; 3];
    for (column, _) in columns {
        let mut best = None;
        for row in (0..3).filter(|&row| !taken[row]) {
            if best.is_none_or(|b: usize| rotation[row][column].abs() > rotation[b][column].abs()) {
                best = Some(row);
            }
        }
        let Some(row) = best else { continue };
        axes[row] = column;
        against[row] = rotation[row][column] < 0.0;
        taken[row] = true;
        rotation[row] = [0.0; 3];
    }
    (axes, against)
}

/// The orthogonal factor, by Newton's iteration X <- (X + X^-T) / 2 (Higham 1986), which converges quadratically.
fn polar(mut x: Matrix) -> Matrix {
    for _ in 0..50 {
        let cofactors = cofactors(&x);
        let determinant = determinant(&x);
        let mut change = 0.0f64;
        for row in 0..3 {
            for column in 0..3 {
                let next = (x[row][column] + cofactors[row][column] / determinant) / 2.0;
                change = change.max((next - x[row][column]).abs());
                x[row][column] = next;
            }
        }
        if change < 1e-12 {
            break;
        }
    }
    x
}

/// The directions of the file's axes as unit columns.
fn directions(affine: &Affine) -> Matrix {
    let length = |n: usize| affine.iter().map(|row| row[n] * row[n]).sum::<f64>().sqrt();
    let lengths = [length(0), length(1), length(2)];
    affine.map(|row| [row[0] / lengths[0], row[1] / lengths[1], row[2] / lengths[2]])
}

fn determinant(m: &Matrix) -> f64 {
    let c = cofactors(m);
    m[0][0] * c[0][0] + m[0][1] * c[0][1] + m[0][2] * c[0][2]
}

/// The cofactor matrix: the transposed inverse times the determinant.
fn cofactors(m: &Matrix) -> Matrix {
    let at = |row: usize, column: usize| {
        let ([r0, r1], [c0, c1]) = ([(row + 1) % 3, (row + 2) % 3], [(column + 1) % 3, (column + 2) % 3]);
        m[r0][c0] * m[r1][c1] - m[r0][c1] * m[r1][c0]
    };
    [0, 1, 2].map(|row| [0, 1, 2].map(|column| at(row, column)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oblique_volume_goes_to_its_closest_axes() {
        // Columns: approximately -S, R and A, with different voxel sizes.
        let affine = [[0.2, 0.9, 0.1, 0.0], [-0.3, 0.1, 2.9, 0.0], [-2.0, 0.1, 0.3, 0.0]];
        assert_eq!(closest(&affine), ([1, 2, 0], [false, false, true]));
        assert_eq!(closest_axes(&affine, Axis::Axial), ([0, 2, 1], [true, true, true]));
    }

    #[test]
    fn axes_along_those_of_the_patient_are_the_same() {
        let affine = [[0.2, 0.9, 0.1, 0.0], [-0.3, 0.1, 2.9, 0.0], [-2.0, 0.1, 0.3, 0.0]];
        // Slices run to the head, rows to the back, columns to the left.
        let axial = [[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]];
        assert_eq!(closest_along(&affine, &axial), closest_axes(&affine, Axis::Axial));
    }

    #[test]
    fn the_polar_factor_is_orthogonal() {
        let q = polar([[1.0, 0.3, 0.0], [0.1, 1.0, 0.2], [0.0, -0.1, -0.9]]);
        for i in 0..3 {
            for j in 0..3 {
                let dot: f64 = (0..3).map(|k| q[k][i] * q[k][j]).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
    }
}
