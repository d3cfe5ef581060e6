//! Position of slices in space: reads it, sorts the slices and checks that they form one volume.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::attributes::{exactly, of_frame};
use crate::input::Spacing;

/// Maximum difference between the direction cosines of slices in one volume: about a twentieth of a degree. Devices
/// write six digits.
const SAME_DIRECTION: f64 = 1e-3;

/// Maximum relative difference between the pixel sizes of slices in one volume.
const SAME_SIZE: f64 = 1e-3;

/// Maximum relative deviation of a gap between slices from the median gap.
const SAME_GAP: f64 = 0.1;

/// Positions closer than this, in millimetres, are treated as equal.
const SAME_PLACE: f64 = 1e-3;

/// Position of a frame, as far as the file states it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plane {
    /// ImagePositionPatient (0020,0032).
    pub(super) position: Option<[f64; 3]>,
    /// ImageOrientationPatient (0020,0037).
    pub(super) orientation: Option<[f64; 6]>,
    /// Pixel spacing within the plane.
    pub(super) spacing: Option<Spacing>,
}

impl Plane {
    pub(super) fn of(object: &InMemDicomObject, frame: usize) -> Plane {
        let group = tags::PIXEL_MEASURES_SEQUENCE;
        let spacing = of_frame(object, frame, group, |o| exactly::<2>(o, tags::PIXEL_SPACING))
            // Measured at the detector, not in the patient: better than nothing, and what X-ray images have.
            .or_else(|| exactly(object, tags::IMAGER_PIXEL_SPACING))
            .filter(|spacing| spacing.iter().all(|&v| v > 0.0));
        Plane {
            position: of_frame(object, frame, tags::PLANE_POSITION_SEQUENCE, |o| {
                exactly(o, tags::IMAGE_POSITION_PATIENT)
            }),
            orientation: of_frame(object, frame, tags::PLANE_ORIENTATION_SEQUENCE, |o| {
                exactly(o, tags::IMAGE_ORIENTATION_PATIENT)
            }),
            spacing: spacing.map(|[rows, columns]| Spacing { slices: None, rows, columns }),
        }
    }
}

/// Planes sorted along their normal.
#[derive(Debug)]
pub(super) struct Stack {
    /// Indices of the planes, in sorted order.
    pub(super) order: Vec<usize>,
    /// Distance between neighbours in millimetres; 0 for a single plane.
    pub(super) gap: f64,
    pub(super) in_plane: Spacing,
}

/// Why planes do not form a volume. In `text`, `{0}` and `{1}` stand for the planes `between`.
#[derive(Debug)]
pub(super) struct Fault {
    text: String,
    between: [usize; 2],
}

impl Fault {
    /// The message, with `name` giving the names of the planes.
    pub(super) fn named(&self, name: impl Fn(usize) -> String) -> String {
        self.text.replace("{0}", &name(self.between[0])).replace("{1}", &name(self.between[1]))
    }
}

/// Sorts planes by their position along the normal of their common orientation.
pub(super) fn stack(planes: &[Plane]) -> Result<Stack, Fault> {
    let fault = |text: String, between: [usize; 2]| Fault { text, between };
    let mut places = Vec::with_capacity(planes.len());
    let mut first = None;
    for (n, plane) in planes.iter().enumerate() {
        let (Some(position), Some(orientation)) = (plane.position, plane.orientation) else {
            let text = "has no position or orientation in {0} (ImagePositionPatient, ImageOrientationPatient), so that its \
                        slices cannot be put in order: give the files one by one";
            return Err(fault(text.into(), [n, n]));
        };
        let Some(spacing) = plane.spacing else {
            return Err(fault("has no PixelSpacing in {0}: give the files one by one".into(), [n, n]));
        };
        let (known, size) = *first.get_or_insert((orientation, spacing));
        if known.iter().zip(orientation).any(|(a, b)| (a - b).abs() > SAME_DIRECTION) {
            let text = "mixes orientations: {1} is not parallel to {0}: keep the slices of one volume";
            return Err(fault(text.into(), [0, n]));
        }
        let differs = |a: f64, b: f64| (a - b).abs() > SAME_SIZE * a;
        if differs(size.rows, spacing.rows) || differs(size.columns, spacing.columns) {
            let text =
                "mixes pixel sizes: {1} has another PixelSpacing than {0}: keep the slices of one volume";
            return Err(fault(text.into(), [0, n]));
        }
        let [ax, ay, az, bx, by, bz] = known;
        let normal = [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx];
        places.push((position[0] * normal[0] + position[1] * normal[1] + position[2] * normal[2], n));
    }
    let Some((_, in_plane)) = first else { return Err(fault("has no slices".into(), [0, 0])) };
    places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let gap = check_gaps(&places).map_err(|(text, between)| fault(text, between))?;
    Ok(Stack { order: places.iter().map(|&(_, n)| n).collect(), gap, in_plane })
}

/// Median gap between neighbours; an error if any gap deviates too much from it. `places` are (millimetres, plane),
/// sorted.
fn check_gaps(places: &[(f64, usize)]) -> Result<f64, (String, [usize; 2])> {
    let gaps: Vec<f64> = places.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let mut sorted = gaps.clone();
    sorted.sort_by(f64::total_cmp);
    let Some(&median) = sorted.get(sorted.len() / 2) else { return Ok(0.0) };
    for (pair, gap) in places.windows(2).zip(&gaps) {
        let between = [pair[0].1, pair[1].1];
        if *gap < SAME_PLACE {
            return Err(("has two slices in one place, {0} and {1}: keep one of them".into(), between));
        }
        if (gap - median).abs() > SAME_GAP * median {
            let what = if *gap > median { "a slice is missing" } else { "a slice is too many" };
            return Err((
                format!(
                    "has a gap of {gap:.2} mm between {{0}} and {{1}} where others have {median:.2} mm: {what}, give the whole series"
                ),
                between,
            ));
        }
    }
    Ok(median)
}

#[cfg(test)]
#[path = "geometry_tests.rs"]
mod tests;
