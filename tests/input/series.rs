//! Folders of DICOM slices: sorted, and refused where they are no volume.

use std::path::Path;

use image::DynamicImage;
use microraptor::input::{ReadOptions, Scan, ScanKind};

use super::common::Slice;

/// Writes slices named so that the order of names is not that of positions.
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
    // A gap that is 5% off is measurement.
    write(folder.path(), &[at(20.0), at(0.0), at(10.5), at(30.0)]);
    // What is no DICOM is left out; so is the index.
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
    assert!(series.contains("holds 2 series") && series.contains("1.2.9 (1 files)"), "{series}");
}

#[test]
fn pictures_beside_slices_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[at(0.0), at(1.0)]);
    image::GrayImage::new(16, 16).save(folder.path().join("a.png")).unwrap();
    let message = Scan::open(folder.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("both DICOM files and pictures"), "{message}");
}
