//! Folders of DICOM slices: sorted by position, and refused if they do not form a volume.

use std::path::Path;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use image::DynamicImage;
#[cfg(feature = "nifti")]
use microraptor::input::LabelMap;
use microraptor::input::{ReadOptions, Scan, ScanKind};

use super::common::Slice;

/// Writes slices so that the order of their names differs from that of their positions.
fn write(folder: &Path, slices: &[Slice]) {
    for (n, slice) in slices.iter().enumerate() {
        slice.write(&folder.join(format!("{}.dcm", slices.len() - n)));
    }
}

fn at(z: f64) -> Slice {
    Slice { z, value: (100.0 + z) as u16, ..Slice::default() }
}

fn message(slices: &[Slice]) -> String {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), slices);
    let message = Scan::open(folder.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn slices_are_sorted_by_position() {
    let folder = tempfile::tempdir().unwrap();
    // A gap that is off by 5% counts as measurement error.
    write(folder.path(), &[at(20.0), at(0.0), at(10.5), at(30.0)]);
    // Files that are not DICOM are skipped, and so is the index.
    std::fs::write(folder.path().join("notes.txt"), "notes").unwrap();
    std::fs::copy(folder.path().join("1.dcm"), folder.path().join("DICOMDIR")).unwrap();
    let scan = Scan::open(folder.path(), &ReadOptions::default()).unwrap();
    let info = scan.info().clone();
    assert_eq!((info.kind, info.frames, info.size), (ScanKind::Volume, Some(4), Some((16, 16))));
    let spacing = info.spacing.unwrap();
    assert_eq!((spacing.slices, spacing.rows, spacing.columns), (Some(10.0), 0.5, 0.5));
    let dicom = info.dicom.unwrap();
    assert_eq!(dicom.positions.iter().map(|p| p[2]).collect::<Vec<_>>(), [0.0, 10.5, 20.0, 30.0]);
    assert_eq!(dicom.sop_instance_uids, ["1.2.3.0", "1.2.3.1050", "1.2.3.2000", "1.2.3.3000"]);
    let names: Vec<_> = info.files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["3.dcm", "2.dcm", "4.dcm", "1.dcm"]);
    let values: Vec<u16> = scan
        .map(|frame| {
            let frame = frame.unwrap();
            let DynamicImage::ImageLuma16(pixels) = frame.pixels() else { panic!("{frame:?}") };
            pixels.get_pixel(5, 5).0[0]
        })
        .collect();
    assert!(values.is_sorted() && values[0] < values[3], "{values:?}");
}

#[test]
fn what_is_no_volume_is_refused() {
    let missing = message(&[at(0.0), at(10.0), at(20.0), at(40.0), at(50.0)]);
    assert!(
        missing.contains(
            "gap of 20.00 mm between 3.dcm and 2.dcm where others have 10.00 mm: a slice is missing"
        ),
        "{missing}"
    );

    let twice = message(&[at(0.0), at(10.0), at(10.0), at(20.0)]);
    assert!(twice.contains("two slices in one place, 2.dcm and 3.dcm"), "{twice}");

    let tilted = Slice { orientation: [1.0, 0.0, 0.0, 0.0, 0.0, -1.0], ..at(10.0) };
    let mixed = message(&[at(0.0), tilted]);
    assert!(mixed.contains("mixes orientations"), "{mixed}");

    let sizes = message(&[at(0.0), Slice { spacing: 0.6, ..at(10.0) }]);
    assert!(sizes.contains("mixes pixel sizes"), "{sizes}");

    let shapes = message(&[at(0.0), Slice { columns: 20, ..at(10.0) }]);
    assert!(shapes.contains("16x16 px") && shapes.contains("20x16 px"), "{shapes}");

    let series = message(&[at(0.0), at(10.0), Slice { series: "1.2.9", ..at(20.0) }]);
    assert!(
        series.contains("holds 2 series") && series.contains("(1 files)") && !series.contains("1.2.9"),
        "{series}"
    );
}

#[test]
fn pictures_beside_slices_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[at(0.0), at(1.0)]);
    image::GrayImage::new(16, 16).save(folder.path().join("a.png")).unwrap();
    let message = Scan::open(folder.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("both DICOM files and pictures"), "{message}");
}

#[test]
fn frames_with_positions_are_a_volume_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("enhanced.dcm");
    let item = |tag, vr, text: &str| {
        InMemDicomObject::from_element_iter([DataElement::new(tag, vr, PrimitiveValue::from(text))])
    };
    let sequence =
        |tag, items: Vec<InMemDicomObject>| DataElement::new(tag, VR::SQ, DataSetSequence::from(items));
    let write = |places: [f64; 3]| {
        Slice::default().write_with(&path, |object| {
            object.take(tags::IMAGE_POSITION_PATIENT).unwrap();
            object.take(tags::PIXEL_SPACING).unwrap();
            let frames = places.map(|z| {
                let position = item(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("0\\0\\{z}"));
                InMemDicomObject::from_element_iter([sequence(tags::PLANE_POSITION_SEQUENCE, vec![position])])
            });
            object.put(sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames.to_vec()));
            let measures = item(tags::PIXEL_SPACING, VR::DS, "0.5\\0.25");
            let shared = InMemDicomObject::from_element_iter([sequence(
                tags::PIXEL_MEASURES_SEQUENCE,
                vec![measures],
            )]);
            object.put(sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]));
            object.put(DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, PrimitiveValue::from("3")));
            let pixels: Vec<u16> = [500, 1000, 1500].iter().flat_map(|&v| vec![v; 256]).collect();
            object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())));
        });
        Scan::open(&path, &ReadOptions::default())
    };
    let scan = write([4.0, 0.0, 2.0]).unwrap();
    let info = scan.info().clone();
    assert_eq!((info.kind, info.frames), (ScanKind::Volume, Some(3)));
    let spacing = info.spacing.unwrap();
    assert_eq!((spacing.slices, spacing.rows, spacing.columns), (Some(2.0), 0.5, 0.25));
    let grey = |frame: Result<microraptor::input::Image, _>| {
        frame.unwrap().pixels().as_luma16().unwrap().as_raw()[9]
    };
    let values: Vec<u16> = scan.map(grey).collect();
    assert!(values[0] < values[1] && values[2] < values[0], "{values:?}");

    let message = write([0.0, 2.0, 6.0]).unwrap_err().to_string();
    assert!(
        message.contains("between frame 1 and frame 2") || message.contains("between frame 2 and frame 3"),
        "{message}"
    );
}

/// Writes a NIfTI mask of uint8 in which only the first voxel is set. `rows` are its sform, unless the code is 0.
#[cfg(feature = "nifti")]
fn mask(path: &Path, dims: [i16; 3], rows: [[f32; 4]; 3], code: i16) {
    let mut bytes = vec![0; 352];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &348i32.to_le_bytes());
    for (n, side) in [3].into_iter().chain(dims).enumerate() {
        put(40 + 2 * n, &side.to_le_bytes());
    }
    put(70, &2i16.to_le_bytes());
    for n in 1..4 {
        put(76 + 4 * n, &1f32.to_le_bytes());
    }
    put(254, &code.to_le_bytes());
    for (n, value) in rows.into_iter().flatten().enumerate() {
        put(280 + 4 * n, &value.to_le_bytes());
    }
    put(344, b"n+1\0");
    bytes.resize(352 + dims.iter().map(|&n| n as usize).product::<usize>(), 0);
    bytes[352] = 1;
    std::fs::write(path, bytes).unwrap();
}

/// The position of the set voxel follows from DICOM's equation (PS3.3 C.7.6.2.1.1), with x and y negated as in NIfTI.
#[cfg(feature = "nifti")]
#[test]
fn a_nifti_mask_must_lie_where_its_dicom_image_does() {
    let folder = tempfile::tempdir().unwrap();
    let (series, path) = (folder.path().join("series"), folder.path().join("mask.nii"));
    std::fs::create_dir(&series).unwrap();
    write(&series, &[at(0.0), at(10.0), at(20.0)]);
    let open = |image: &Path| {
        let map = LabelMap::open_for(&path, image, &ReadOptions::default()).map_err(|e| e.to_string())?;
        let at = map.labels.iter().position(|&label| label == 1).unwrap();
        let area = map.height * map.width;
        Ok::<_, String>((
            [map.depth, map.height, map.width],
            [at / area, at % area / map.width, at % map.width],
        ))
    };
    // From right to left, back to front and down: the first voxel belongs to the last slice, row 15, column 0.
    let (x, y, z) = ([-0.5, 0.0, 0.0, 4.0], [0.0, 0.5, 0.0, -3.5], [0.0, 0.0, -10.0, 20.0]);
    mask(&path, [16, 16, 3], [x, y, z], 1);
    assert_eq!(open(&series), Ok(([3, 16, 16], [2, 15, 0])));
    // The axes in another order.
    mask(&path, [3, 16, 16], [[0.0, -0.5, 0.0, 4.0], [0.0, 0.0, 0.5, -3.5], [-10.0, 0.0, 0.0, 20.0]], 1);
    assert_eq!(open(&series), Ok(([3, 16, 16], [2, 15, 0])));
    // Left and right swapped: the same size, another position.
    mask(&path, [16, 16, 3], [[0.5, 0.0, 0.0, 4.0], y, z], 1);
    let message = open(&series).unwrap_err();
    assert!(
        message.contains("mask.nii: lies up to 7.5 mm away from") && !message.contains('\n'),
        "{message}"
    );
    // No position is given: the mask is placed by its size alone, along the patient's axes that nibabel assumes.
    mask(&path, [16, 16, 3], [x, y, z], 0);
    assert!(open(&series).is_ok());
    // One slice; then a coronal series, whose slices run to the back.
    mask(&path, [16, 16, 1], [x, y, [0.0, 0.0, 10.0, 10.0]], 1);
    let middle = series.join("2.dcm");
    assert_eq!(open(&middle), Ok(([1, 16, 16], [0, 15, 0])));
    let coronal = folder.path().join("coronal");
    std::fs::create_dir(&coronal).unwrap();
    for (n, depth) in [-4.0, -1.0].into_iter().enumerate() {
        let slice = Slice { orientation: [1.0, 0.0, 0.0, 0.0, 0.0, -1.0], z: 5.0, ..Slice::default() };
        slice.write_with(&coronal.join(format!("{n}.dcm")), |object| {
            let place = PrimitiveValue::from(format!("-4\\{depth}\\5").as_str());
            object.put(DataElement::new(tags::IMAGE_POSITION_PATIENT, VR::DS, place));
        });
    }
    // Along the patient's left, front and head: the first voxel is at the right, in the back slice, in the lowest
    // row.
    mask(&path, [16, 2, 16], [x, [0.0, 3.0, 0.0, 1.0], [0.0, 0.0, 0.5, -2.5]], 1);
    assert_eq!(open(&coronal), Ok(([2, 16, 16], [1, 15, 0])));
}
