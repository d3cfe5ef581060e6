//! DICOM files decode to the same values as with pydicom (`tests/reference/make_dicom.py`).

use std::path::Path;

use image::DynamicImage;
use microraptor::input::{
    Image, InputError, ReadOptions, Region, Scan, ScanKind, Window, content_digest, dicom_samples,
};
use serde_json::Value;

use super::common::{GOLDEN, Slice, expected, hex, shared};

/// Pixel values in 0..1, one for grey and three for colour.
fn pixel(image: &Image, row: usize, column: usize) -> Vec<f64> {
    let (x, y) = (column as u32, row as u32);
    match image.pixels() {
        DynamicImage::ImageLuma8(p) => vec![f64::from(p.get_pixel(x, y).0[0]) / 255.0],
        DynamicImage::ImageLuma16(p) => vec![f64::from(p.get_pixel(x, y).0[0]) / 65535.0],
        DynamicImage::ImageRgb8(p) => p.get_pixel(x, y).0.map(|v| f64::from(v) / 255.0).to_vec(),
        other => panic!("{:?}", other.color()),
    }
}

/// Compares a file's samples and picture with pydicom's. Returns the largest difference of the picture.
pub fn compare(path: &Path, expected: &Value, lossless: bool) -> f64 {
    let name = path.display();
    let samples = dicom_samples(path).unwrap_or_else(|e| panic!("{e}"));
    let shape: Vec<u64> = samples.shape.iter().map(|&n| n as u64).filter(|&n| n > 1).collect();
    assert_eq!(serde_json::json!(shape), expected["shape"], "{name}");
    if lossless {
        assert_eq!(hex(&samples.bytes), expected["sha256"].as_str().unwrap(), "{name}");
    }
    let frames: Vec<Image> = Scan::open(path, &ReadOptions::default()).unwrap().map(Result::unwrap).collect();
    let mut worst = 0.0f64;
    for entry in expected["pixels"].as_array().unwrap() {
        let [frame, row, column] = [0, 1, 2].map(|n| entry[n].as_u64().unwrap() as usize);
        let found = pixel(&frames[frame], row, column);
        let values = entry[3].as_array().unwrap();
        assert_eq!(found.len(), values.len(), "{name}");
        for (found, value) in found.iter().zip(values) {
            worst = worst.max((found - value.as_f64().unwrap()).abs());
        }
    }
    println!("{name}: {:?}, picture within {worst:.5}", samples.shape);
    worst
}

#[test]
fn the_dicom_files_decode_to_the_recorded_arrays() {
    let Some(folder) = shared("data/dicom") else { return };
    let files = expected("dicom.json", "data");
    assert_eq!(files.len(), 11);
    for (name, expected) in files {
        // JPEG and lossy JPEG 2000 leave decoders some freedom, in rounding of the transforms and upsampling of
        // chroma.
        let (lossless, tolerance) = match name.as_str() {
            "examples_ybr_color.dcm" => (false, 3.0 / 255.0),
            "US1_J2KI.dcm" => (false, 1.0 / 255.0),
            _ => (true, 1.0 / 255.0),
        };
        let worst = compare(&folder.join(&name), &expected, lossless);
        assert!(worst <= tolerance, "{name}: {worst}");
    }
}

#[test]
fn the_small_dicom_files_decode_to_the_recorded_arrays() {
    for (name, expected) in expected("dicom.json", "golden") {
        let path = Path::new(GOLDEN).join("dicom").join(&name);
        if name.starts_with("jpegls") && !cfg!(feature = "jpeg-ls") {
            let message = dicom_samples(&path).unwrap_err().to_string();
            assert!(message.contains("use one with the feature jpeg-ls"), "{message}");
            continue;
        }
        // pydicom converts YBR_FULL itself; our samples stay as stored until they become a picture.
        let jpeg = name.starts_with("jpeg_");
        let worst = compare(&path, &expected, !name.contains("ybr") && !jpeg);
        assert!(worst <= if jpeg { 5.0 } else { 1.0 } / 255.0, "{name}: {worst}");
    }
}

#[test]
fn a_cine_loop_is_a_clip_and_comes_out_the_same_twice() {
    let Some(folder) = shared("data/dicom") else { return };
    let path = folder.join("examples_ybr_color.dcm");
    let options = ReadOptions::default();
    let read = || Scan::open(&path, &options).unwrap().collect::<Result<Vec<Image>, _>>().unwrap();
    let scan = Scan::open(&path, &options).unwrap();
    let info = scan.info();
    assert_eq!((info.kind, info.frames, info.size), (ScanKind::Clip, Some(30), Some((240, 320))));
    assert_eq!(info.files, std::slice::from_ref(&path));
    let dicom = info.dicom.as_ref().unwrap();
    assert_eq!((dicom.modality.as_str(), dicom.frames_per_file.as_slice()), ("US", [30].as_slice()));
    assert!(dicom.sop_instance_uids[0].starts_with("1."));
    // The region is that of a larger picture, which was scaled down, so its spacing is not reliable.
    assert_eq!(info.spacing, None);
    let frames = read();
    assert_eq!(frames.len(), 30);
    assert!(frames == read());
    assert_eq!(content_digest(&path, &options), content_digest(&path, &options));
}

#[test]
fn ultrasound_is_cropped_to_its_largest_region() {
    let Some(folder) = shared("data/dicom") else { return };
    let options = ReadOptions { crop_us: true, ..ReadOptions::default() };
    let mut scan = Scan::open(folder.join("JPGLosslessP14SV1_1s_1f_8b.dcm"), &options).unwrap();
    let region = Region { top: 38, left: 14, height: 721, width: 997 };
    assert_eq!((scan.info().crop, scan.info().size), (Some(region), Some((768, 1024))));
    let spacing = scan.info().spacing.unwrap();
    assert!((spacing.rows - 0.254_766_966).abs() < 1e-8 && spacing.slices.is_none(), "{spacing:?}");
    let frame = scan.next().unwrap().unwrap();
    assert_eq!((frame.height(), frame.width()), (721, 997));
    let whole = Scan::open(&scan.info().files[0], &ReadOptions::default()).unwrap().next().unwrap().unwrap();
    assert_eq!(pixel(&frame, 0, 0), pixel(&whole, 38, 14));
    assert_eq!(pixel(&frame, 720, 996), pixel(&whole, 758, 1010));
    // The region has one column too many, as some devices write it.
    let scan = Scan::open(folder.join("OBXXXX1A.dcm"), &options).unwrap();
    assert_eq!(scan.info().crop, Some(Region { top: 60, left: 120, height: 459, width: 680 }));

    let message = |name: &str| Scan::open(folder.join(name), &options).unwrap_err().to_string();
    assert!(
        message("US1_UNCR.dcm").contains("no two-dimensional ultrasound region"),
        "{}",
        message("US1_UNCR.dcm")
    );
    let outside = message("examples_ybr_color.dcm");
    assert!(outside.contains("region") && outside.contains("320x240"), "{outside}");
}

#[test]
fn the_window_that_is_asked_for_counts_before_the_files() {
    let path = Path::new(GOLDEN).join("dicom/monochrome1.dcm");
    let options =
        ReadOptions { window: Some(Window { center: 2000.0, width: 3000.0 }), ..ReadOptions::default() };
    let first = |options: &ReadOptions| Scan::open(&path, options).unwrap().next().unwrap().unwrap();
    assert_eq!(first(&options), first(&ReadOptions::default()));
    let narrow =
        ReadOptions { window: Some(Window { center: 2000.0, width: 1.0 }), ..ReadOptions::default() };
    let frame = first(&narrow);
    assert!((0..48).all(|x| [0.0, 1.0].contains(&pixel(&frame, 5, x)[0])));
    assert_ne!(content_digest(&path, &narrow), content_digest(&path, &options));
}

#[test]
fn slides_and_pet_are_refused_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.dcm");
    for (modality, class) in [("SM", "1.2.3"), ("PT", "1.2.3"), ("OT", "1.2.840.10008.5.1.4.1.1.77.1.6")] {
        Slice { modality, class, ..Slice::default() }.write(&path);
        let refused = Scan::open(&path, &ReadOptions::default()).unwrap_err();
        assert!(matches!(refused, InputError::Modality { .. }));
        let message = refused.to_string();
        assert!(
            message.contains("arXiv 2509.06467") && message.contains("allow_unsupported_modality"),
            "{message}"
        );
        let allowed = ReadOptions { allow_unsupported_modality: true, ..ReadOptions::default() };
        let mut scan = Scan::open(&path, &allowed).unwrap();
        let caution = scan.info().caution.clone().unwrap();
        assert!(message.contains(&caution) && !caution.contains("--allow"), "{caution}");
        scan.next().unwrap().unwrap();
    }
    Slice::default().write(&path);
    assert_eq!(Scan::open(&path, &ReadOptions::default()).unwrap().info().caution, None);
}

#[test]
fn identifiers_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.dcm");
    Slice::default().write(&path);
    let scan = Scan::open(&path, &ReadOptions::default()).unwrap();
    let identifiers = scan.info().identifiers.as_ref().unwrap();
    assert_eq!(identifiers.patient_name.as_deref(), Some("Doe^Jane"));
    assert_eq!(identifiers.study_date.as_deref(), Some("20260102"));
    let shown = format!("{scan:?}");
    assert!(!shown.contains("Doe") && !shown.contains("20260102") && !shown.contains("4711"), "{shown}");
}

#[test]
fn without_a_window_the_range_of_all_frames_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    // Slices of constant value 100, 200, 300; 0 is padding.
    for n in 1..4 {
        let slice =
            Slice { value: 100 * n, z: f64::from(n), window: None, padding: Some(0), ..Slice::default() };
        slice.write(&folder.path().join(format!("{n}.dcm")));
    }
    let frames: Vec<Image> =
        Scan::open(folder.path(), &ReadOptions::default()).unwrap().map(Result::unwrap).collect();
    let values: Vec<f64> = frames.iter().map(|f| pixel(f, 9, 9)[0]).collect();
    // 100 is black and 300 white. The first pixel of each slice is 0.
    assert!(values[0] == 0.0 && (values[1] - 0.5).abs() < 1e-4 && values[2] == 1.0, "{values:?}");
    assert_eq!(pixel(&frames[1], 0, 0), [0.0]);
}
