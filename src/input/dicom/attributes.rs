//! Reads attribute values of a data set, provided that they conform to the standard.

use dicom_core::Tag;
use dicom_core::header::HasLength;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// Number of frames that the header announces; `None` if it does not state one.
pub(super) fn frames(object: &InMemDicomObject) -> Result<Option<usize>, String> {
    Ok(whole(object, tags::NUMBER_OF_FRAMES, "NumberOfFrames")?.map(|frames| frames as usize))
}

pub(super) fn missing(name: &str) -> String {
    format!("lacks {name}: it is no image, or damaged")
}

/// A non-negative integer; `None` if the element is absent or empty.
pub(super) fn whole(object: &InMemDicomObject, tag: Tag, name: &str) -> Result<Option<u32>, String> {
    let Some(element) = object.get(tag).filter(|e| !e.is_empty()) else { return Ok(None) };
    element
        .to_int()
        .map(Some)
        .map_err(|_| format!("has a {name} that is no whole number from 0 on: the file is damaged"))
}

/// Text without padding; `None` if it is absent or empty.
pub(super) fn string(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let text = object.get(tag)?.to_str().ok()?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// Numbers; `None` if the element is absent or empty or if any of them is not finite.
pub(super) fn numbers(object: &InMemDicomObject, tag: Tag) -> Option<Vec<f64>> {
    let values = object.get(tag)?.to_multi_float64().ok()?;
    (!values.is_empty() && values.iter().all(|v| v.is_finite())).then_some(values)
}

/// Exactly `N` numbers; `None` otherwise.
pub(super) fn exactly<const N: usize>(object: &InMemDicomObject, tag: Tag) -> Option<[f64; N]> {
    numbers(object, tag)?.try_into().ok()
}

/// The items of a sequence; empty if the sequence is absent.
pub(super) fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(|e| e.items()).unwrap_or_default()
}

/// Looks up an attribute of frame `frame` in the functional groups of that frame, then in those shared by all frames,
/// then in the data set itself (PS3.3 C.7.6.16). `group` is the sequence within the functional groups that holds the
/// attribute.
pub(super) fn of_frame<T>(
    object: &InMemDicomObject,
    frame: usize,
    group: Tag,
    read: impl Fn(&InMemDicomObject) -> Option<T>,
) -> Option<T> {
    let per_frame = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).get(frame);
    let shared = items(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first();
    let groups = [per_frame, shared].into_iter().flatten();
    let found = groups.filter_map(|groups| items(groups, group).first()).find_map(&read);
    found.or_else(|| read(object))
}
