//! Segmentations and reports: what is written is read back with dicom-object and compared bit by bit.
//!
//! With `MICRORAPTOR_KEEP=FOLDER` the objects are kept there, and `tests/reference/check_outputs.py FOLDER` validates
//! them with dciodvfy, pydicom and highdicom.

use std::path::{Path, PathBuf};

use dicom_core::value::{C, DataSetSequence};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, FileMetaTableBuilder, InMemDicomObject, open_file};
use microraptor::input::LabelMap;
use microraptor::output::OutputError;
use microraptor::output::dicom::{
    Algorithm, Code, Finding, Measurement, OutOfDistribution, Segment, Sources, write_report,
    write_segmentation,
};
use serde_json::json;

use super::{output_folder, shared_data};

fn when() -> chrono::NaiveDateTime {
    chrono::NaiveDate::from_ymd_opt(2026, 11, 24).unwrap().and_hms_opt(8, 5, 9).unwrap()
}

fn algorithm() -> Algorithm {
    Algorithm {
        name: "lesion.head".into(),
        version: "0.1.0".into(),
        model_sha256: "1f".repeat(32),
        head_sha256: "2e".repeat(32),
    }
}

fn findings() -> [Finding; 2] {
    let malignant = Code::private("malignant");
    let classification = Finding {
        name: "birads".into(),
        algorithm: algorithm(),
        finding: Some(malignant.clone()),
        probabilities: vec![(malignant, 2.0 / 3.0), (Code::private("not malignant, or nothing"), 1.0 / 3.0)],
        measurements: vec![],
        out_of_distribution: Some(OutOfDistribution { score: 1.25, threshold: 2.5, outside: false }),
    };
    let areas = Finding {
        name: "lesion".into(),
        finding: None,
        probabilities: vec![],
        measurements: vec![Measurement::area("lesion", 12.5), Measurement::volume("lesion", 1234.5)],
        out_of_distribution: None,
        ..classification.clone()
    };
    [classification, areas]
}

/// Two classes in patches that differ from frame to frame; every third frame is empty.
fn mask(depth: usize, height: usize, width: usize) -> LabelMap {
    let label = |z: usize, y: usize, x: usize| {
        let near = (y + 3 * z) % height < height / 3 && x > width / 4 && x < width / 2 + z;
        match (z % 3 == 2, near) {
            (true, _) => 0,
            (_, true) => 1,
            _ if x + y + z > (height + width) * 3 / 4 && z.is_multiple_of(2) => 2,
            _ => 0,
        }
    };
    let mut labels = Vec::new();
    for z in 0..depth {
        for y in 0..height {
            labels.extend((0..width).map(|x| label(z, y, x)));
        }
    }
    LabelMap::new(depth, height, width, labels).unwrap()
}

fn text(object: &InMemDicomObject, tag: Tag) -> String {
    object.element(tag).unwrap().to_str().unwrap().trim_end_matches(['\0', ' ']).to_owned()
}

fn item(object: &InMemDicomObject, tag: Tag) -> &InMemDicomObject {
    &object.element(tag).unwrap().items().unwrap()[0]
}

/// The label map of a segmentation, assembled through its references to source frames.
fn shown(seg: &DefaultDicomObject, sources: &[String], frames: usize) -> LabelMap {
    let in_each = frames / sources.len();
    let number = |tag| seg.element(tag).unwrap().to_int::<usize>().unwrap();
    let (height, width) = (number(tags::ROWS), number(tags::COLUMNS));
    let area = height * width;
    let bytes = seg.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
    let mut labels = vec![0; frames * area];
    let groups = seg.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).unwrap().items().unwrap();
    assert_eq!(groups.len(), number(tags::NUMBER_OF_FRAMES));
    assert_eq!(bytes.len(), (groups.len() * area).div_ceil(16) * 2);
    for (n, group) in groups.iter().enumerate() {
        let segment = item(group, tags::SEGMENT_IDENTIFICATION_SEQUENCE);
        let segment: u8 = segment.element(tags::REFERENCED_SEGMENT_NUMBER).unwrap().to_int().unwrap();
        let source = item(item(group, tags::DERIVATION_IMAGE_SEQUENCE), tags::SOURCE_IMAGE_SEQUENCE);
        let uid = text(source, tags::REFERENCED_SOP_INSTANCE_UID);
        let file = sources.iter().position(|source| *source == uid).unwrap();
        let frame = source.get(tags::REFERENCED_FRAME_NUMBER).map_or(1, |n| n.to_int::<usize>().unwrap());
        assert_eq!(source.get(tags::REFERENCED_FRAME_NUMBER).is_some(), in_each > 1);
        for i in 0..area {
            let at = n * area + i;
            if bytes[at / 8] >> (at % 8) & 1 == 1 {
                labels[(file * in_each + frame - 1) * area + i] = segment;
            }
        }
    }
    LabelMap::new(frames, height, width, labels).unwrap()
}

/// Writes both objects for `files`, compares them with the input, and returns the segmentation.
fn check(
    folder: &Path,
    name: &str,
    files: &[PathBuf],
    mask: impl Fn(usize, usize, usize) -> LabelMap,
) -> DefaultDicomObject {
    let sources = Sources::open(files).unwrap();
    let originals: Vec<_> = files.iter().map(|file| open_file(file).unwrap()).collect();
    let uids: Vec<String> = originals.iter().map(|object| text(object, tags::SOP_INSTANCE_UID)).collect();
    let size = |tag| originals[0].element(tag).unwrap().to_int::<usize>().unwrap();
    let map = mask(sources.frames(), size(tags::ROWS), size(tags::COLUMNS));
    let segments = [Segment::new("lesion"), Segment::new("shadow \\ of \u{fc}bel")];
    let [seg_path, sr_path] = ["seg", "sr"].map(|kind| folder.join(format!("{name}.{kind}.dcm")));
    write_segmentation(&seg_path, &sources, &map, &segments, &algorithm(), when()).unwrap();
    write_report(&sr_path, &sources, &findings(), when()).unwrap();
    let seg = open_file(&seg_path).unwrap();
    assert_eq!(shown(&seg, &uids, map.depth), map, "{name}");
    let sr = open_file(&sr_path).unwrap();
    for object in [&seg, &sr] {
        for tag in [tags::STUDY_INSTANCE_UID, tags::PATIENT_ID, tags::PATIENT_NAME] {
            let original = originals[0].get(tag).map(|e| e.to_str().unwrap().trim().to_owned());
            assert_eq!(text(object, tag).trim(), original.unwrap_or_default(), "{name} {tag}");
        }
        assert!(text(object, tags::SOP_INSTANCE_UID).starts_with("2.25."));
        assert_ne!(text(object, tags::SERIES_INSTANCE_UID), text(&originals[0], tags::SERIES_INSTANCE_UID));
    }
    let bytes = std::fs::read(&seg_path).unwrap();
    write_segmentation(&seg_path, &sources, &map, &segments, &algorithm(), when()).unwrap();
    assert!(bytes == std::fs::read(&seg_path).unwrap(), "{name}: the same run gives the same bytes");

    std::fs::write(folder.join(format!("{name}.mask")), &map.labels).unwrap();
    let case = json!({"sources": files, "shape": [map.depth, map.height, map.width]});
    std::fs::write(folder.join(format!("{name}.json")), case.to_string()).unwrap();
    seg
}

#[test]
fn real_ultrasound() {
    let Some(data) = shared_data() else { return };
    let (_temporary, folder) = output_folder();
    let mut files: Vec<PathBuf> = std::fs::read_dir(data.join("dicom"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "dcm"))
        .collect();
    files.sort();
    for file in &files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let seg = check(&folder, name, std::slice::from_ref(file), mask);
        assert!(seg.get(tags::FRAME_OF_REFERENCE_UID).is_none(), "ultrasound has no place in the patient");
    }
    println!("{} files", files.len());
}

type Element = DataElement<InMemDicomObject>;

fn element(tag: Tag, vr: VR, value: &str) -> Element {
    DataElement::new(tag, vr, value)
}

fn sequence(tag: Tag, items: Vec<Vec<Element>>) -> Element {
    let items: Vec<_> = items.into_iter().map(InMemDicomObject::from_element_iter).collect();
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// An image of 10 x 12 pixels with the given attributes in addition to those of every image.
fn image(path: &Path, class: &str, uid: &str, more: Vec<Element>) {
    let number = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    let mut object = InMemDicomObject::from_element_iter([
        element(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100"),
        element(tags::SOP_CLASS_UID, VR::UI, class),
        element(tags::SOP_INSTANCE_UID, VR::UI, uid),
        element(tags::MODALITY, VR::CS, if class == uids::CT_IMAGE_STORAGE { "CT" } else { "MR" }),
        element(tags::PATIENT_NAME, VR::PN, "M\u{fc}ller^J\u{f8}rgen"),
        element(tags::PATIENT_ID, VR::LO, "4711"),
        element(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3"),
        element(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4"),
        element(tags::STUDY_DATE, VR::DA, "20200102"),
        element(tags::STUDY_TIME, VR::TM, "030405"),
        element(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.3.5"),
        number(tags::ROWS, 10),
        number(tags::COLUMNS, 12),
    ]);
    more.into_iter().for_each(|element| drop(object.put(element)));
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    object.with_meta(meta).unwrap().write_to_file(path).unwrap();
}

const ORIENTATION: &str = "0.8\\0.6\\0\\0\\0\\-1";

/// A coronal series, 2.5 mm apart along its normal (-0.6, 0.8, 0).
fn series(folder: &Path, slices: usize) -> Vec<PathBuf> {
    (0..slices)
        .map(|z| {
            let path = folder.join(format!("slice{z}.dcm"));
            let along = 2.5 * z as f64;
            let position = format!("{}\\{}\\30", -10.0 - 0.6 * along, 20.0 + 0.8 * along);
            image(
                &path,
                uids::CT_IMAGE_STORAGE,
                &format!("1.2.3.4.{}", z + 1),
                vec![
                    element(tags::IMAGE_POSITION_PATIENT, VR::DS, &position),
                    element(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, ORIENTATION),
                    element(tags::PIXEL_SPACING, VR::DS, "0.7\\0.8"),
                    element(tags::SLICE_THICKNESS, VR::DS, "2.0"),
                    element(tags::INSTANCE_NUMBER, VR::IS, &(z + 1).to_string()),
                ],
            );
            path
        })
        .collect()
}

#[test]
fn a_series_lies_where_its_slices_lie() {
    let (_temporary, folder) = output_folder();
    let files = series(&folder, 5);
    let seg = check(&folder, "series", &files, mask);
    assert_eq!(text(&seg, tags::FRAME_OF_REFERENCE_UID), "1.2.3.5");
    // The source is Latin-1, the object UTF-8.
    assert_eq!(text(&seg, tags::PATIENT_NAME), "M\u{fc}ller^J\u{f8}rgen");
    assert_eq!(text(&seg, tags::SPECIFIC_CHARACTER_SET), "ISO_IR 192");
    let shared = item(&seg, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let orientation = item(shared, tags::PLANE_ORIENTATION_SEQUENCE);
    assert_eq!(text(orientation, tags::IMAGE_ORIENTATION_PATIENT), ORIENTATION);
    let measures = item(shared, tags::PIXEL_MEASURES_SEQUENCE);
    assert_eq!(text(measures, tags::PIXEL_SPACING), "0.7\\0.8");
    let between: f64 = text(measures, tags::SPACING_BETWEEN_SLICES).parse().unwrap();
    assert!((between - 2.5).abs() < 1e-8, "{between}");
    let frames = seg.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).unwrap().items().unwrap();
    // Class 1 in slices 0, 1, 3 and 4, class 2 in 0 and 4; slice 2 is empty.
    assert_eq!(frames.len(), 6);
    let position = |frame: usize| {
        text(item(&frames[frame], tags::PLANE_POSITION_SEQUENCE), tags::IMAGE_POSITION_PATIENT)
    };
    assert_eq!((position(0), position(4)), ("-10\\20\\30".into(), "-10\\20\\30".into()));
    let order = item(&frames[3], tags::FRAME_CONTENT_SEQUENCE).element(tags::DIMENSION_INDEX_VALUES);
    assert_eq!(order.unwrap().to_multi_int::<u32>().unwrap(), [1, 5]);
}

#[test]
fn a_multi_frame_volume_gives_its_places_in_groups() {
    let (_temporary, folder) = output_folder();
    let path = folder.join("enhanced-source.dcm");
    let frame = |z: i32| {
        let position = element(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("0\\0\\{}", 3 * z));
        vec![sequence(tags::PLANE_POSITION_SEQUENCE, vec![vec![position]])]
    };
    let shared = vec![
        sequence(
            tags::PLANE_ORIENTATION_SEQUENCE,
            vec![vec![element(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0")]],
        ),
        sequence(tags::PIXEL_MEASURES_SEQUENCE, vec![vec![element(tags::PIXEL_SPACING, VR::DS, "1\\1")]]),
    ];
    image(
        &path,
        uids::ENHANCED_MR_IMAGE_STORAGE,
        "1.2.3.4.9",
        vec![
            element(tags::NUMBER_OF_FRAMES, VR::IS, "4"),
            sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]),
            sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, (0..4).map(frame).collect()),
        ],
    );
    let seg = check(&folder, "enhanced", &[path], mask);
    let frames = seg.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).unwrap().items().unwrap();
    let positions: Vec<String> = frames
        .iter()
        .map(|f| text(item(f, tags::PLANE_POSITION_SEQUENCE), tags::IMAGE_POSITION_PATIENT))
        .collect();
    assert_eq!(positions, ["0\\0\\0", "0\\0\\3", "0\\0\\9", "0\\0\\0"]);
}

#[test]
fn several_clips_follow_each_other() {
    let (_temporary, folder) = output_folder();
    let files = [("clip-a", "1.2.3.4.21"), ("clip-b", "1.2.3.4.22")].map(|(name, uid)| {
        let path = folder.join(format!("{name}-source.dcm"));
        let frames = element(tags::NUMBER_OF_FRAMES, VR::IS, "4");
        image(&path, uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE, uid, vec![frames]);
        path
    });
    check(&folder, "clips", &files, mask);
}

#[test]
fn nothing_found_is_one_empty_frame() {
    let (_temporary, folder) = output_folder();
    let nothing = |d, h, w| LabelMap::new(d, h, w, vec![0; d * h * w]).unwrap();
    let slices = folder.join("slices");
    std::fs::create_dir_all(&slices).unwrap();
    let seg = check(&folder, "empty", &series(&slices, 3), nothing);
    assert_eq!(text(&seg, tags::NUMBER_OF_FRAMES), "1");
}

#[test]
fn other_findings_have_other_uids() {
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources::open(&series(folder.path(), 2)).unwrap();
    let path = folder.path().join("a.dcm");
    let mut uids = Vec::new();
    for labels in [vec![0; 240], vec![1; 240]] {
        let map = LabelMap::new(2, 10, 12, labels).unwrap();
        write_segmentation(&path, &sources, &map, &[Segment::new("all")], &algorithm(), when()).unwrap();
        let seg = open_file(&path).unwrap();
        assert_eq!(shown(&seg, &["1.2.3.4.1".into(), "1.2.3.4.2".into()], 2), map);
        uids.push((text(&seg, tags::SERIES_INSTANCE_UID), text(&seg, tags::SOP_INSTANCE_UID)));
    }
    assert_eq!(uids[0].0, uids[1].0, "one series for one source series, model and head");
    assert_ne!(uids[0].1, uids[1].1);
}

/// Collects the numbers of a report: the meaning of the concept, the value and the unit.
fn numbers(object: &InMemDicomObject, found: &mut Vec<(String, f64, String)>) {
    let meaning = |object, tag| text(item(object, tag), tags::CODE_MEANING);
    if object.get(tags::VALUE_TYPE).is_some() && text(object, tags::VALUE_TYPE) == "NUM" {
        let value = item(object, tags::MEASURED_VALUE_SEQUENCE);
        let number =
            value.get(tags::FLOATING_POINT_VALUE).unwrap_or(value.element(tags::NUMERIC_VALUE).unwrap());
        let unit = text(item(value, tags::MEASUREMENT_UNITS_CODE_SEQUENCE), tags::CODE_VALUE);
        let name = meaning(object, tags::CONCEPT_NAME_CODE_SEQUENCE);
        found.push((name, number.to_float64().unwrap(), unit));
    }
    let children = object.get(tags::CONTENT_SEQUENCE).and_then(|e| e.items()).unwrap_or_default();
    children.iter().for_each(|child| numbers(child, found));
}

#[test]
fn a_report_holds_the_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources::open(&series(folder.path(), 1)).unwrap();
    let path = folder.path().join("sr.dcm");
    write_report(&path, &sources, &findings(), when()).unwrap();
    let mut found = Vec::new();
    numbers(&open_file(&path).unwrap(), &mut found);
    let expected = [
        ("Probability", 2.0 / 3.0, "1"),
        ("Probability of not malignant, or nothing", 1.0 / 3.0, "1"),
        ("Out-of-distribution score", 1.25, "1"),
        ("Out-of-distribution threshold", 2.5, "1"),
        ("Area of lesion", 12.5, "mm2"),
        ("Volume of lesion", 1234.5, "mm3"),
    ];
    assert_eq!(found, expected.map(|(name, value, unit)| (name.into(), value, unit.into())));
    let [mut finding, _] = findings();
    finding.probabilities[0].1 = f64::NAN;
    let error = write_report(&path, &sources, &[finding], when()).unwrap_err().to_string();
    assert!(error.contains("'Probability' of birads is NaN"), "{error}");
    assert!(write_report(&path, &sources, &[], when()).is_err());
}

#[test]
fn says_what_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let files = series(folder.path(), 3);
    let sources = Sources::open(&files).unwrap();
    let out = folder.path().join("seg.dcm");
    let write = |map: &LabelMap, segments: &[Segment]| {
        write_segmentation(&out, &sources, map, segments, &algorithm(), when()).unwrap_err().to_string()
    };
    let segments = [Segment::new("lesion")];
    let error = write(&LabelMap::new(3, 10, 11, vec![0; 330]).unwrap(), &segments);
    assert!(error.contains("the mask has 3 slices of 11x10 px and the DICOM source 3 of 12x10"), "{error}");
    let map = LabelMap::new(3, 10, 12, vec![2; 360]).unwrap();
    assert!(write(&map, &segments).contains("class number 2, and there are 1 segments"));
    assert!(write(&map, &[]).contains("give 1 to 255"));
    assert!(write(&map, &[Segment::new("a"), Segment::new(" ")]).contains("segment 2 has no name"));

    let open = |files: &[PathBuf]| match Sources::open(files) {
        Err(error @ OutputError::Source { .. }) => error.to_string(),
        other => panic!("{}", other.err().map_or("accepted".to_owned(), |error| error.to_string())),
    };
    let other = folder.path().join("other.dcm");
    let with = |more| image(&other, uids::CT_IMAGE_STORAGE, "1.2.3.4.7", more);
    let pair = [files[0].clone(), other.clone()];
    with(vec![element(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.4")]);
    assert!(open(&pair).contains("another study"));
    with(vec![DataElement::new(tags::ROWS, VR::US, PrimitiveValue::U16(C::from_slice(&[11])))]);
    assert!(open(&pair).contains("has 12x11 px"));
    with(vec![element(tags::NUMBER_OF_FRAMES, VR::IS, "-1")]);
    assert!(open(&pair[1..]).contains("where a count is expected"));
    with(vec![element(tags::SERIES_INSTANCE_UID, VR::UI, "")]);
    assert!(open(&pair[1..]).contains("has no valid Series Instance UID"));
    let whole = std::fs::read(&files[0]).unwrap();
    for length in [0, 100, 140, whole.len() - 7] {
        std::fs::write(&other, &whole[..length]).unwrap();
        let error = open(&pair[1..]);
        assert!(error.starts_with(&*other.to_string_lossy()) && !error.contains('\n'), "{error}");
    }
    let error = Sources::open(&[]).map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("no source files"), "{error}");
}
