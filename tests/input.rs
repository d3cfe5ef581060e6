//! Pixels in: DICOM, NIfTI and clips as other programs write them, compared with what other programs read.

#![cfg(all(feature = "dicom", feature = "nifti"))]

use std::path::{Path, PathBuf};

use image::DynamicImage;
use microraptor::input::{Image, ReadOptions, Scan, dicom_samples};
use serde_json::Value;
use sha2::{Digest, Sha256};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

/// A folder of real data, if it is there.
fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MICRORAPTOR_SHARED").map_or_else(
        || Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")).to_owned(),
        PathBuf::from,
    );
    let path = root.join(path);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

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

/// Compares a file's samples and picture with what pydicom makes of it; the largest difference of the picture.
fn compare(path: &Path, expected: &Value, lossless: bool) -> f64 {
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

fn expected(part: &str) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(format!("{GOLDEN}/dicom.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all[part].as_object().unwrap().clone().into_iter().collect()
}

#[test]
fn the_dicom_files_decode_to_the_recorded_arrays() {
    let Some(folder) = shared("data/dicom") else { return };
    let files = expected("data");
    assert_eq!(files.len(), 11);
    for (name, expected) in files {
        // JPEG and lossy JPEG 2000 leave the decoder some freedom: rounding of the transforms, and upsampling of chroma.
        let (lossless, tolerance) = match name.as_str() {
            "examples_ybr_color.dcm" => (false, 0.1),
            "US1_J2KI.dcm" => (false, 2.0 / 255.0),
            _ => (true, 1.0 / 255.0),
        };
        let worst = compare(&folder.join(&name), &expected, lossless);
        assert!(worst <= tolerance, "{name}: {worst}");
    }
}

#[test]
fn the_small_dicom_files_decode_to_the_recorded_arrays() {
    for (name, expected) in expected("golden") {
        let path = Path::new(GOLDEN).join("dicom").join(&name);
        if name.starts_with("jpegls") && !cfg!(feature = "jpeg-ls") {
            let message = dicom_samples(&path).unwrap_err().to_string();
            assert!(message.contains("use one with the feature jpeg-ls"), "{message}");
            continue;
        }
        // pydicom converts YBR_FULL by itself, ours stays as stored until it is a picture.
        let worst = compare(&path, &expected, !name.contains("ybr"));
        assert!(worst <= 1.0 / 255.0, "{name}: {worst}");
    }
}
