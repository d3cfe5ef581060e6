//! NIfTI volumes are sliced in the same way as with nibabel (`tests/reference/make_nifti.py`).

use std::io::Read;
use std::path::Path;

use image::DynamicImage;
use microraptor::input::{Axis, Image, LabelMap, ReadOptions, Scan, ScanKind, Window};
use serde_json::Value;

use super::common::{GOLDEN, expected, hex, shared};

/// A window that maps each integer from 0 to 65535 to the same 16-bit grey value.
const AS_IT_IS: Window = Window { center: 32767.5, width: 65535.0 };

const AXES: [(&str, Axis); 3] =
    [("axial", Axis::Axial), ("coronal", Axis::Coronal), ("sagittal", Axis::Sagittal)];

fn grey16(image: &Image) -> &[u16] {
    let DynamicImage::ImageLuma16(pixels) = image.pixels() else { panic!("{image:?}") };
    pixels.as_raw()
}

fn compare(path: &Path, expected: &Value) {
    for (name, axis) in AXES {
        let options = ReadOptions { window: Some(AS_IT_IS), axis: Some(axis), ..ReadOptions::default() };
        let scan = Scan::open(path, &options).unwrap();
        let info = scan.info().clone();
        assert_eq!((info.kind, info.files.as_slice()), (ScanKind::Volume, [path.to_owned()].as_slice()));
        let (rows, columns) = info.size.unwrap();
        let shape = serde_json::json!([info.frames.unwrap(), rows, columns]);
        assert_eq!(shape, expected[name]["shape"], "{} {name}", path.display());
        let bytes: Vec<u8> =
            scan.flat_map(|frame| grey16(&frame.unwrap()).to_vec()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(hex(&bytes), expected[name]["sha256"].as_str().unwrap(), "{} {name}", path.display());

        let nifti = info.nifti.unwrap();
        for (row, theirs) in nifti.affine.iter().zip(expected["affine"].as_array().unwrap()) {
            for (value, theirs) in row.iter().zip(theirs.as_array().unwrap()) {
                assert!(
                    (value - theirs.as_f64().unwrap()).abs() < 1e-5,
                    "{} {:?}",
                    path.display(),
                    nifti.affine
                );
            }
        }
        for (size, theirs) in nifti.spacing.iter().zip(expected["sizes"].as_array().unwrap()) {
            assert!((size - theirs.as_f64().unwrap()).abs() < 1e-5, "{} {:?}", path.display(), nifti.spacing);
        }
        let spacing = info.spacing.unwrap();
        let along = nifti.axes.map(|axis| nifti.spacing[axis]);
        assert_eq!([spacing.slices.unwrap(), spacing.rows, spacing.columns], along);
    }
}

#[test]
fn volumes_in_every_orientation_are_sliced_alike() {
    let files = expected("nifti.json", "golden");
    assert_eq!(files.len(), 10);
    for (name, expected) in files {
        compare(&Path::new(GOLDEN).join("nifti").join(name), &expected);
    }
}

#[test]
fn hippocampus_volumes_are_sliced_alike() {
    let Some(folder) = shared("data/hippocampus") else { return };
    for (name, expected) in expected("nifti.json", "data") {
        compare(&folder.join(name), &expected);
    }
}

#[test]
fn labels_go_back_to_the_files_order() {
    let Some(folder) = shared("data/hippocampus") else { return };
    let path = folder.join("labels/hippocampus_006.nii.gz");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
    for (_, axis) in AXES {
        let map = LabelMap::open(&path, Some(axis)).unwrap();
        assert!(map.labels.iter().all(|&l| l < 3) && map.labels.contains(&2));
        let options = ReadOptions { axis: Some(axis), ..ReadOptions::default() };
        let scan = Scan::open(folder.join("images/hippocampus_006.nii.gz"), &options).unwrap();
        let (height, width) = scan.info().size.unwrap();
        map.check_size("the image", scan.info().frames.unwrap(), height, width).unwrap();
        // uint8 from byte 352 on.
        assert!(scan.info().nifti.as_ref().unwrap().restore(&map).unwrap() == bytes[352..]);
    }
    let other = LabelMap::open(folder.join("labels/hippocampus_093.nii.gz"), None).unwrap();
    let message = other.check_size("volume.nii", 34, 52, 35).unwrap_err().to_string();
    assert!(
        message.contains("34x53 px and 37 slices") && message.contains("35x52 px and 34 slices"),
        "{message}"
    );
}

#[test]
fn without_a_window_the_percentiles_are_black_and_white() {
    let path = Path::new(GOLDEN).join("nifti/ras_uint16.nii.gz");
    let values: Vec<u16> = Scan::open(&path, &ReadOptions::default())
        .unwrap()
        .flat_map(|f| grey16(&f.unwrap()).to_vec())
        .collect();
    // 9 * 11 * 13 voxels: seven at each end are at or beyond the 0.5th or the 99.5th percentile.
    let count = |value| values.iter().filter(|&&v| v == value).count();
    assert_eq!((values.len(), count(0), count(65535)), (1287, 7, 7));
}

/// The number of a slice is the index of its voxels along the file's axis, in whichever direction the slices run.
#[test]
fn slices_are_numbered_by_the_files_own_index() {
    for (name, _) in expected("nifti.json", "golden") {
        for (axis_name, axis) in AXES {
            let path = Path::new(GOLDEN).join("nifti").join(&name);
            let options = ReadOptions { axis: Some(axis), ..ReadOptions::default() };
            let info = Scan::open(&path, &options).unwrap().info().clone();
            let nifti = info.nifti.as_ref().unwrap();
            let [depth, height, width] = nifti.shape();
            // Every voxel holds the index of its slice.
            let labels = (0..depth).flat_map(|z| vec![z as u8; height * width]).collect();
            let restored = nifti.restore(&LabelMap::new(depth, height, width, labels).unwrap()).unwrap();
            let [nx, ny, _] = nifti.dims;
            for (at, &z) in restored.iter().enumerate() {
                let index = [at % nx, at / nx % ny, at / (nx * ny)][nifti.axes[0]];
                assert_eq!(info.source_frame(z.into()).frame, index + 1, "{name} {axis_name}");
            }
            assert_eq!(info.source_order(depth).len(), depth);
            let first = info.source_order(depth)[0];
            assert_eq!((info.number_of(first), info.source_frame(first).file), (1, 0));
        }
    }
}

/// A mask of the bright voxels, computed slice by slice, equals the mask of the bright voxels of the file, read in
/// the layout of `nifti1.h`: `las_int16` is flipped, `psr_int32` has its axes in another order (nibabel wrote both).
#[test]
fn a_mask_goes_back_to_the_voxels_that_it_was_made_from() {
    for (name, size) in [("las_int16", 2), ("psr_int32", 4), ("ras_uint16", 2)] {
        let path = Path::new(GOLDEN).join(format!("nifti/{name}.nii.gz"));
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
        let value = |voxel: &[u8]| match *voxel {
            [a, b] if name == "ras_uint16" => i64::from(u16::from_le_bytes([a, b])),
            [a, b] => i64::from(i16::from_le_bytes([a, b])),
            [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
            _ => unreachable!(),
        };
        let values: Vec<i64> = bytes[352..].chunks_exact(size).map(value).collect();
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let middle = sorted[sorted.len() / 2];
        let bright: Vec<u8> = values.iter().map(|&v| u8::from(v > middle)).collect();
        for (axis_name, axis) in AXES {
            // Values above the median are white, the others black.
            let window = Window { center: middle as f64 + 0.5, width: 1.0 };
            let options = ReadOptions { window: Some(window), axis: Some(axis), ..ReadOptions::default() };
            let scan = Scan::open(&path, &options).unwrap();
            let info = scan.info().clone();
            let labels =
                scan.flat_map(|f| grey16(&f.unwrap()).iter().map(|&v| u8::from(v > 0)).collect::<Vec<_>>());
            let (rows, columns) = info.size.unwrap();
            let map = LabelMap::new(info.frames.unwrap(), rows, columns, labels.collect()).unwrap();
            assert!(info.nifti.unwrap().restore(&map).unwrap() == bright, "{name} {axis_name}");
        }
    }
}
