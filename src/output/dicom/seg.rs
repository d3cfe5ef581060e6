//! Writes label maps as DICOM Segmentation objects (PS3.3, A.51): binary, one segment per class.

use std::path::Path;

use chrono::NaiveDateTime;
use dicom_core::value::C;
use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};

use super::item::{Item, decimal, limited};
use super::modules::{self, Identity};
use super::source::{Instance, Place, Sources, spacing_between};
use super::{Algorithm, Code, uid};
use crate::input::LabelMap;
use crate::output::{ContentError, OutputError, colour};

/// Meaning of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Name of the class.
    pub label: String,
    /// Segmented property category, from CID 7150 if a code fits.
    pub category: Code,
    /// Segmented property type, from CID 7151 if a code fits.
    pub property: Code,
}

impl Segment {
    /// A class of which only the name is known. Category and type are both "Tissue", which claims nothing specific; the
    /// name is the segment's label.
    pub fn new(label: &str) -> Segment {
        let tissue = Code::new("85756007", "SCT", "Tissue");
        Segment { label: label.into(), category: tissue.clone(), property: tissue }
    }
}

/// A frame of the segmentation: the pixels of one segment in one source frame.
#[derive(Clone, Copy)]
struct Frame {
    /// Segment number, from 1.
    segment: u16,
    /// Index of the source frame, from 0.
    source: usize,
}

/// Writes a label map as a Segmentation that refers to each source frame.
///
/// Slice z of `map` belongs to frame z of `sources` (for a scan, the z-th frame that it yielded), pixel for pixel; a
/// mask of a cropped image must first be padded to the full size. Class 1 is the first of `segments`, and so on; the
/// background has no segment. Only frames that hold pixels of a segment are written, or one empty frame if there are
/// none. If the sources share a frame of reference and an orientation, each frame gets its position; otherwise
/// (ultrasound) it is identified by its source frame. `when` is local time; the UIDs do not depend on it.
///
/// # Errors
/// [`OutputError`] names the path: the map's size differs from that of the sources, a class has no segment, there are
/// no segments or more than 255, or the system reported an error.
pub fn write_segmentation(
    path: &Path,
    sources: &Sources,
    map: &LabelMap,
    segments: &[Segment],
    algorithm: &Algorithm,
    when: NaiveDateTime,
) -> Result<(), OutputError> {
    check(sources, map, segments)
        .map_err(|problem| OutputError::Content { path: path.to_owned(), problem })?;
    let frames = frames(map, segments.len());
    let named: Vec<&str> = segments.iter().map(|segment| segment.label.as_str()).collect();
    let found = [named.join("\n").as_bytes(), &map.labels].concat();
    let [series, uid] = modules::new_uids("segmentation", sources, &[algorithm], &found);
    let identity = Identity {
        class: uids::SEGMENTATION_STORAGE,
        uid: &uid,
        series: &series,
        series_number: "901",
        modality: "SEG",
        description: &format!("Segmentation by {}", algorithm.name),
        version: &algorithm.version,
    };
    let object = modules::object(sources, &identity, when);
    let object = image(object, sources, map, frames.len());
    let object = object.items(
        tags::SEGMENT_SEQUENCE,
        segments.iter().enumerate().map(|(i, segment)| described(i + 1, segment, algorithm, &uid)),
    );
    let object = functional_groups(object, sources, &frames, &uid);
    modules::write(path, object.with(tags::PIXEL_DATA, VR::OB, packed(map, &frames)))
}

fn check(sources: &Sources, map: &LabelMap, segments: &[Segment]) -> Result<(), ContentError> {
    let mask = [map.depth, map.width, map.height];
    let source_size = [sources.frames, sources.columns, sources.rows];
    if mask != source_size {
        return Err(ContentError::SourceSize { mask, source_size });
    }
    if !(1..=255).contains(&segments.len()) {
        return Err(ContentError::Segments(segments.len()));
    }
    if let Some(index) = segments.iter().position(|segment| limited(&segment.label, 64).is_empty()) {
        return Err(ContentError::UnnamedSegment(index + 1));
    }
    match map.labels.iter().max() {
        Some(&class) if usize::from(class) > segments.len() => {
            Err(ContentError::NoSegment { class, segments: segments.len() })
        }
        _ => Ok(()),
    }
}

/// The frames that hold pixels of a segment, sorted by segment.
fn frames(map: &LabelMap, segments: usize) -> Vec<Frame> {
    let mut present = vec![vec![false; map.depth]; segments + 1];
    for (source, labels) in map.labels.chunks_exact(map.height * map.width).enumerate() {
        labels.iter().for_each(|&label| present[usize::from(label)][source] = true);
    }
    let mut frames = Vec::new();
    for (segment, present) in present.iter().enumerate().skip(1) {
        let sources = (0..map.depth).filter(|&source| present[source]);
        frames.extend(sources.map(|source| Frame { segment: segment as u16, source }));
    }
    if frames.is_empty() {
        // An image has at least one frame (PS3.3, C.7.6.6).
        frames.push(Frame { segment: 1, source: 0 });
    }
    frames
}

/// One bit per pixel, least significant bit first, with no gap between frames (PS3.5, 8.2), padded to an even number of
/// bytes.
fn packed(map: &LabelMap, frames: &[Frame]) -> PrimitiveValue {
    let area = map.height * map.width;
    let mut bytes = vec![0u8; (frames.len() * area).div_ceil(16) * 2];
    for (n, frame) in frames.iter().enumerate() {
        for (i, &label) in map.slice(frame.source).iter().enumerate() {
            let at = n * area + i;
            bytes[at / 8] |= u8::from(u16::from(label) == frame.segment) << (at % 8);
        }
    }
    PrimitiveValue::U8(bytes.into())
}

/// Attributes of the image and of the segmentation as a whole (PS3.3, C.7.6.1, C.7.6.3, C.8.20.2).
fn image(object: Item, sources: &Sources, map: &LabelMap, frames: usize) -> Item {
    let image_type = PrimitiveValue::Strs(["DERIVED", "PRIMARY"].map(String::from).into_iter().collect());
    // An object derived from a lossy image is lossy too (C.7.6.1.1.5).
    let lossy =
        sources.instances.iter().find(|i| i.text(tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01"));
    let mut object = object
        .with(tags::IMAGE_TYPE, VR::CS, image_type)
        .with(tags::SAMPLES_PER_PIXEL, VR::US, 1u16)
        .with(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2")
        .with(tags::NUMBER_OF_FRAMES, VR::IS, frames.to_string())
        .with(tags::ROWS, VR::US, map.height as u16)
        .with(tags::COLUMNS, VR::US, map.width as u16)
        .with(tags::BITS_ALLOCATED, VR::US, 1u16)
        .with(tags::BITS_STORED, VR::US, 1u16)
        .with(tags::HIGH_BIT, VR::US, 0u16)
        .with(tags::PIXEL_REPRESENTATION, VR::US, 0u16)
        .with(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, if lossy.is_some() { "01" } else { "00" })
        .with(tags::SEGMENTATION_TYPE, VR::CS, "BINARY")
        .with(tags::SEGMENTS_OVERLAP, VR::CS, "NO")
        .with(tags::CONTENT_LABEL, VR::CS, "SEGMENTATION")
        .empty(tags::CONTENT_DESCRIPTION, VR::LO)
        .empty(tags::CONTENT_CREATOR_NAME, VR::PN)
        .items(
            tags::REFERENCED_SERIES_SEQUENCE,
            modules::referenced_series(sources, tags::REFERENCED_INSTANCE_SEQUENCE),
        );
    for (tag, vr) in
        [(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS), (tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS)]
    {
        if let Some(text) = lossy.and_then(|instance| instance.text(tag)) {
            object = object.with(tag, vr, text);
        }
    }
    object
}

/// The item that describes a segment (PS3.3, C.8.20.4); `number` starts at 1.
fn described(number: usize, segment: &Segment, algorithm: &Algorithm, object: &str) -> Item {
    let parameters = algorithm.parameters().join("; ");
    let identification = Item::new()
        .code(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, &Code::new("123110", "DCM", "Artificial Intelligence"))
        .with(tags::ALGORITHM_NAME, VR::LO, limited(&algorithm.name, 64))
        .with(tags::ALGORITHM_VERSION, VR::LO, limited(&algorithm.version, 64))
        .with(tags::ALGORITHM_PARAMETERS, VR::LT, parameters)
        .with(tags::ALGORITHM_SOURCE, VR::LO, "Microraptor");
    let tracking = uid::derive(&[b"segment", object.as_bytes(), &number.to_le_bytes()]);
    let mut item = Item::new()
        .code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, &segment.category)
        .with(tags::SEGMENT_NUMBER, VR::US, number as u16)
        .with(tags::SEGMENT_LABEL, VR::LO, limited(&segment.label, 64))
        .items(tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE, [identification])
        .with(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC")
        .with(tags::SEGMENT_ALGORITHM_NAME, VR::LO, limited(&algorithm.name, 64))
        .code(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, &segment.property)
        .with(tags::TRACKING_ID, VR::UT, limited(&segment.label, 64))
        .with(tags::TRACKING_UID, VR::UI, tracking);
    if let Some(colour) = colour(number as u8) {
        let lab = PrimitiveValue::U16(C::from_slice(&cielab(colour)));
        item = item.with(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, VR::US, lab);
    }
    item
}

/// Converts sRGB to PCS-encoded CIELab (PS3.3, C.10.7.1.1): L* of 0..100 and a*, b* of -128..127 are scaled to 16 bits.
/// The white point is D50, with Bradford adaptation (IEC 61966-2-1; matrix and white point as on brucelindbloom.com).
fn cielab(rgb: [u8; 3]) -> [u16; 3] {
    let linear = rgb.map(|value| {
        let v = f64::from(value) / 255.0;
        if v <= 0.04045 { v / 12.92 } else { libm::pow((v + 0.055) / 1.055, 2.4) }
    });
    let to_xyz = [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ];
    let white = [0.96422, 1.0, 0.82521];
    let [x, y, z] = [0, 1, 2].map(|i| {
        let value: f64 = to_xyz[i].iter().zip(linear).map(|(m, v)| m * v).sum();
        let t = value / white[i];
        if t > 216.0 / 24389.0 { libm::cbrt(t) } else { (24389.0 / 27.0 * t + 16.0) / 116.0 }
    });
    let (l, a, b) = (116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z));
    [l / 100.0, (a + 128.0) / 255.0, (b + 128.0) / 255.0]
        .map(|v| (v.clamp(0.0, 1.0) * 65535.0).round() as u16)
}

/// Description and order of the frames (PS3.3, C.7.6.16 and C.7.6.17).
fn functional_groups(object: Item, sources: &Sources, frames: &[Frame], uid: &str) -> Item {
    let places = sources.places();
    let organisation = uid::derive(&[b"dimensions", uid.as_bytes()]);
    let index = |pointer: Tag, group: Tag, label: &str| {
        Item::new()
            .with(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &*organisation)
            .with(tags::DIMENSION_INDEX_POINTER, VR::AT, PrimitiveValue::Tags(C::from_slice(&[pointer])))
            .with(tags::FUNCTIONAL_GROUP_POINTER, VR::AT, PrimitiveValue::Tags(C::from_slice(&[group])))
            .with(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label)
    };
    let segment = index(tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE, "Segment");
    let frame = match places {
        Some(_) => index(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Position"),
        None => index(tags::FRAME_LABEL, tags::FRAME_CONTENT_SEQUENCE, "Source frame"),
    };
    let mut shared = Item::new();
    let mut object = object;
    match &places {
        Some((reference, places)) => {
            object = object
                .with(tags::FRAME_OF_REFERENCE_UID, VR::UI, &**reference)
                .empty(tags::POSITION_REFERENCE_INDICATOR, VR::LO);
            let orientation =
                Item::new().with(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &*places[0].orientation);
            shared = shared.items(tags::PLANE_ORIENTATION_SEQUENCE, [orientation]);
            if same_measures(places) {
                shared = shared.items(tags::PIXEL_MEASURES_SEQUENCE, [measures(places, 0)]);
            }
        }
        // Type 2C, required if the orientation in the patient is unknown.
        None => object = object.empty(tags::PATIENT_ORIENTATION, VR::CS),
    }
    let places = places.map(|(_, places)| places);
    let origins = sources.each_frame();
    object
        .items(
            tags::DIMENSION_ORGANIZATION_SEQUENCE,
            [Item::new().with(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &*organisation)],
        )
        .items(tags::DIMENSION_INDEX_SEQUENCE, [segment, frame])
        .items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, [shared])
        .items(
            tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
            frames.iter().map(|&frame| of_frame(origins[frame.source], frame, places.as_deref())),
        )
}

fn of_frame((instance, number): (&Instance, Option<usize>), frame: Frame, places: Option<&[Place]>) -> Item {
    let mut source =
        modules::reference(instance).with(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES").code(
            tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
            &Code::new("121322", "DCM", "Source image for image processing operation"),
        );
    if let Some(number) = number {
        source = source.with(tags::REFERENCED_FRAME_NUMBER, VR::IS, number.to_string());
    }
    let derivation = Item::new()
        .items(tags::SOURCE_IMAGE_SEQUENCE, [source])
        .code(tags::DERIVATION_CODE_SEQUENCE, &Code::new("113076", "DCM", "Segmentation"));
    let order = [u32::from(frame.segment), frame.source as u32 + 1];
    let mut content =
        Item::new().with(tags::DIMENSION_INDEX_VALUES, VR::UL, PrimitiveValue::U32(C::from_slice(&order)));
    let segment = Item::new().with(tags::REFERENCED_SEGMENT_NUMBER, VR::US, frame.segment);
    let mut groups = Item::new()
        .items(tags::DERIVATION_IMAGE_SEQUENCE, [derivation])
        .items(tags::SEGMENT_IDENTIFICATION_SEQUENCE, [segment]);
    if let Some(places) = places {
        let position =
            Item::new().with(tags::IMAGE_POSITION_PATIENT, VR::DS, &*places[frame.source].position);
        groups = groups.items(tags::PLANE_POSITION_SEQUENCE, [position]);
        if !same_measures(places) {
            groups = groups.items(tags::PIXEL_MEASURES_SEQUENCE, [measures(places, frame.source)]);
        }
    } else {
        let label = number.unwrap_or(frame.source + 1);
        content = content.with(tags::FRAME_LABEL, VR::LO, label.to_string());
    }
    groups.items(tags::FRAME_CONTENT_SEQUENCE, [content])
}

/// Whether all frames share their pixel spacing and slice thickness.
fn same_measures(places: &[Place]) -> bool {
    places.iter().all(|p| (&p.spacing, &p.thickness) == (&places[0].spacing, &places[0].thickness))
}

/// Pixel measures of a frame. They include the distance between slices, which cannot be derived from the frames because
/// slices without a segment are omitted.
fn measures(places: &[Place], frame: usize) -> Item {
    let between = spacing_between(places).map(|mm| decimal(mm).0);
    let mut item = Item::new().with(tags::PIXEL_SPACING, VR::DS, &*places[frame].spacing);
    if let Some(thickness) = places[frame].thickness.as_ref().or(between.as_ref()) {
        item = item.with(tags::SLICE_THICKNESS, VR::DS, &**thickness);
    }
    if let Some(between) = between {
        item = item.with(tags::SPACING_BETWEEN_SLICES, VR::DS, between);
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_run_on_from_frame_to_frame() {
        let map = LabelMap::new(2, 3, 3, vec![0, 1, 2, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 2]).unwrap();
        let frames = frames(&map, 2);
        let order: Vec<(u16, usize)> = frames.iter().map(|f| (f.segment, f.source)).collect();
        assert_eq!(order, [(1, 0), (1, 1), (2, 0), (2, 1)]);
        let PrimitiveValue::U8(bytes) = packed(&map, &frames) else { panic!("bytes") };
        // Ones at 1, 3, 8; 9; 18 + 2; 27 + 8.
        assert_eq!(bytes[..], [0b1010, 0b11, 0b1_0000, 0, 0b1000, 0]);
    }

    #[test]
    fn an_empty_mask_has_one_frame() {
        let map = LabelMap::new(3, 1, 1, vec![0; 3]).unwrap();
        assert_eq!(frames(&map, 4).len(), 1);
    }

    #[test]
    fn white_and_black_are_the_ends_of_the_scale() {
        // The white point has a* = b* = 0, which is 128 / 255 of 65535; the matrix has seven digits.
        let [l, a, b] = cielab([255; 3]);
        assert!(l >= 65534 && a.abs_diff(32896) <= 3 && b.abs_diff(32896) <= 3, "{l} {a} {b}");
        assert_eq!(cielab([0; 3])[0], 0);
    }
}
