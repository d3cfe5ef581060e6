//! The regions of an ultrasound image (SequenceOfUltrasoundRegions, PS3.3 C.8.5.5).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::attributes::{exactly, items, whole};
use super::layout::Layout;
use crate::input::{Region, Spacing};

/// RegionSpatialFormat of a two-dimensional tissue image; others are spectra, M-mode and curves.
const TWO_DIMENSIONAL: u32 = 1;

/// PhysicalUnitsXDirection for centimetres.
const CENTIMETRES: u32 = 3;

/// First column, first row, last column and last row (inclusive) of a two-dimensional region.
fn bounds(item: &InMemDicomObject) -> Option<[u32; 4]> {
    let number = |tag| whole(item, tag, "").ok()?;
    if number(tags::REGION_SPATIAL_FORMAT)? != TWO_DIMENSIONAL {
        return None;
    }
    let bounds = [
        number(tags::REGION_LOCATION_MIN_X0)?,
        number(tags::REGION_LOCATION_MIN_Y0)?,
        number(tags::REGION_LOCATION_MAX_X1)?,
        number(tags::REGION_LOCATION_MAX_Y1)?,
    ];
    (bounds[0] <= bounds[2] && bounds[1] <= bounds[3]).then_some(bounds)
}

/// The largest two-dimensional region; the first one if several are equally large.
fn largest_item(object: &InMemDicomObject) -> Option<(&InMemDicomObject, [u32; 4])> {
    let mut best: Option<(_, [u32; 4], u64)> = None;
    for item in items(object, tags::SEQUENCE_OF_ULTRASOUND_REGIONS) {
        let Some(bounds) = bounds(item) else { continue };
        let [left, top, right, bottom] = bounds.map(u64::from);
        let area = (right - left + 1).saturating_mul(bottom - top + 1);
        if best.is_none_or(|(_, _, most)| area > most) {
            best = Some((item, bounds, area));
        }
    }
    best.map(|(item, bounds, _)| (item, bounds))
}

/// The crop for a region. A region may end one pixel past the edge, because some devices count that way. If it extends
/// further, it describes a different image: this one was scaled or cropped after acquisition.
fn within(bounds: [u32; 4], layout: &Layout) -> Option<Region> {
    let [left, top, right, bottom] = bounds.map(|v| v as usize);
    if left >= layout.columns || top >= layout.rows || right > layout.columns || bottom > layout.rows {
        return None;
    }
    let (right, bottom) = (right.min(layout.columns - 1), bottom.min(layout.rows - 1));
    Some(Region { top, left, height: bottom - top + 1, width: right - left + 1 })
}

/// The largest two-dimensional region.
pub(super) fn largest(object: &InMemDicomObject, layout: &Layout) -> Result<Region, String> {
    let (_, bounds) = largest_item(object).ok_or(
        "has no two-dimensional ultrasound region to crop to (0018,6011): leave the option `crop_us` out",
    )?;
    within(bounds, layout).ok_or_else(|| {
        let [left, top, right, bottom] = bounds;
        format!(
            "has an ultrasound region (columns {left} to {right}, rows {top} to {bottom}) that is not within its {}x{} px: leave the option `crop_us` out",
            layout.columns, layout.rows
        )
    })
}

/// Pixel spacing of the largest two-dimensional region in millimetres, if it is given in centimetres.
pub(super) fn spacing(object: &InMemDicomObject, layout: &Layout) -> Option<Spacing> {
    let (item, bounds) = largest_item(object)?;
    within(bounds, layout)?;
    let along = |unit, delta| {
        let in_centimetres = whole(item, unit, "").ok()?? == CENTIMETRES;
        let [delta] = exactly(item, delta)?;
        (in_centimetres && delta != 0.0).then_some(10.0 * delta.abs())
    };
    Some(Spacing {
        slices: None,
        rows: along(tags::PHYSICAL_UNITS_Y_DIRECTION, tags::PHYSICAL_DELTA_Y)?,
        columns: along(tags::PHYSICAL_UNITS_X_DIRECTION, tags::PHYSICAL_DELTA_X)?,
    })
}
