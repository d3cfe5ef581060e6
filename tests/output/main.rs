//! Output and metrics of masks, against other programs and on real data.

#[cfg(feature = "dicom")]
mod dicom;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use microraptor::heads::{overlaps, surface_distances};
use microraptor::input::{Image, LabelMap};
use microraptor::output::write_overlay;
use serde_json::Value;

/// The folder of real data.
fn shared_data() -> Option<PathBuf> {
    support::shared("data")
}

/// Output folder of a test: temporary, or `MICRORAPTOR_KEEP` for inspection by a person or `check_outputs.py`.
fn output_folder() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("MICRORAPTOR_KEEP").map_or(temporary.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    (temporary, folder)
}

fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect()
}

/// Voxels where the sum of ((index - centre) / radius)^2 is at most 1, computed in integers.
fn ellipsoid(shape: &Value, one: &Value) -> LabelMap {
    let shape: Vec<usize> = numbers(shape).iter().map(|&n| n as usize).collect();
    let (centre, radii) = (numbers(&one[0]), numbers(&one[1]));
    let all: i64 = radii.iter().map(|r| r * r).product();
    let term = |axis: usize, at: usize| {
        let (from, r) = (at as i64 - centre[axis], radii[axis]);
        from * from * (all / (r * r))
    };
    let mut labels = Vec::new();
    for z in 0..shape[0] {
        for y in 0..shape[1] {
            labels.extend((0..shape[2]).map(|x| u8::from(term(0, z) + term(1, y) + term(2, x) <= all)));
        }
    }
    LabelMap::new(shape[0], shape[1], shape[2], labels).unwrap()
}

fn busi_mask(path: &Path) -> LabelMap {
    let grey = image::open(path).unwrap().into_luma8();
    let (width, height) = (grey.width() as usize, grey.height() as usize);
    let labels = grey.as_raw().iter().map(|&v| u8::from(v > 0)).collect();
    LabelMap::new(1, height, width, labels).unwrap()
}

#[cfg(feature = "nifti")]
fn nifti_labels(path: &Path) -> LabelMap {
    use nifti::{NiftiObject, NiftiVolume, ReaderOptions};
    let volume = ReaderOptions::new().read_file(path).unwrap().into_volume();
    let dims = volume.dim().to_vec();
    let [width, height, depth] = [0, 1, 2].map(|axis| usize::from(dims[axis]));
    LabelMap::new(depth, height, width, volume.into_raw_data()).unwrap()
}

/// The map shifted by `by` voxels (z, y, x), filled with zeros.
fn moved(map: &LabelMap, by: &[i64]) -> LabelMap {
    let label = |z: i64, y: i64, x: i64| {
        let inside = z >= 0 && y >= 0 && x >= 0;
        let [z, y, x] = [z, y, x].map(|v| v as usize);
        if inside && z < map.depth && y < map.height && x < map.width {
            map.labels[(z * map.height + y) * map.width + x]
        } else {
            0
        }
    };
    let mut labels = Vec::new();
    for z in 0..map.depth as i64 {
        for y in 0..map.height as i64 {
            labels.extend((0..map.width as i64).map(|x| label(z - by[0], y - by[1], x - by[2])));
        }
    }
    LabelMap { labels, ..*map }
}

fn eroded(map: &LabelMap, times: i64) -> LabelMap {
    let mut map = map.clone();
    for _ in 0..times {
        let sides = [[0, 0, 1], [0, 0, -1], [0, 1, 0], [0, -1, 0]].map(|by| moved(&map, &by));
        for side in sides {
            map.labels.iter_mut().zip(side.labels).for_each(|(label, other)| *label = (*label).min(other));
        }
    }
    map
}

/// The true and the predicted map of a case of `make_surface.py`; `None` if the data is not available.
fn maps(case: &Value, data: Option<&Path>) -> Option<(LabelMap, LabelMap)> {
    let source = &case["source"];
    let made = &source["ellipsoids"];
    if made.is_object() {
        let [truth, predicted] = ["truth", "predicted"].map(|k| ellipsoid(&made["shape"], &made[k]));
        return Some((truth, predicted));
    }
    let data = data?;
    let truth = if let Some(path) = source["busi"].as_str() {
        busi_mask(&data.join(path))
    } else {
        #[cfg(not(feature = "nifti"))]
        return None;
        #[cfg(feature = "nifti")]
        nifti_labels(&data.join(source["hippocampus"].as_str().unwrap()))
    };
    let predicted = match &case["change"]["shift"] {
        Value::Null => eroded(&truth, case["change"]["erode"].as_i64().unwrap()),
        by => moved(&truth, &numbers(by)),
    };
    Some((truth, predicted))
}

#[test]
fn overlap_and_distances_are_those_of_monai() {
    let data = shared_data();
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../golden/surface.json")).expect("the golden file is JSON");
    let mut compared = 0;
    for case in &cases {
        let Some((truth, predicted)) = maps(case, data.as_deref()) else { continue };
        let class = case["class"].as_u64().unwrap() as u8;
        let spacing = [0, 1, 2].map(|axis| case["spacing"][axis].as_f64().unwrap());
        let overlap = overlaps(&truth, &predicted, 3).unwrap()[usize::from(class)];
        let distances = surface_distances(&truth, &predicted, class, spacing).unwrap();
        let found = [
            ("dice", overlap.dice().unwrap()),
            ("iou", overlap.iou().unwrap()),
            ("hd95", distances.hd95),
            ("assd", distances.assd),
        ];
        for (name, found) in found {
            let expected = case[name].as_f64().unwrap();
            // MONAI's values are f32, and its mean is a sum of up to 10^4 of them: 2^-24 * sqrt(10^4) relative to
            // each.
            assert!((found - expected).abs() <= 6e-6 * expected.max(1.0), "{name} {found} in {case}");
        }
        compared += 1;
    }
    println!("{compared} of {} cases compared", cases.len());
    assert!(compared >= 3);
}

#[test]
fn an_overlay_of_a_real_image_shows_its_mask() {
    let Some(data) = shared_data() else { return };
    let (_temporary, folder) = output_folder();
    for name in ["benign/benign_10", "malignant/malignant_100"] {
        let image = Image::open(data.join(format!("busi/images/{name}.png"))).unwrap();
        let mask = busi_mask(&data.join(format!("busi/masks/{name}_mask.png")));
        let path = folder.join(format!("{}.png", name.replace('/', "_")));
        write_overlay(&path, &image, &mask, 0).unwrap();
        let overlay = image::open(&path).unwrap().into_rgb8();
        let original = image.pixels().to_rgb8();
        for ((after, before), &label) in overlay.pixels().zip(original.pixels()).zip(&mask.labels) {
            assert!(label == 1 || after == before, "outside the mask nothing changes");
        }
        let changed = overlay.pixels().zip(original.pixels()).filter(|(a, b)| a != b).count();
        let area = mask.labels.iter().filter(|&&label| label == 1).count();
        assert!(changed * 100 >= area * 99, "{changed} of {area} pixels are tinted");
    }
}

/// With `MICRORAPTOR_KEEP`, `check_outputs.py` compares the affine and the voxels in nibabel.
#[cfg(feature = "nifti")]
#[test]
fn a_label_volume_lies_on_its_source() {
    use microraptor::output::write_nifti_labels;
    use nifti::{NiftiObject, NiftiVolume, ReaderOptions};
    let Some(data) = shared_data() else { return };
    let (_temporary, folder) = output_folder();
    let source = data.join("hippocampus/labels/hippocampus_033.nii.gz");
    let object = ReaderOptions::new().read_file(&source).unwrap();
    let header = object.header().clone();
    let affine = [header.srow_x, header.srow_y, header.srow_z].map(|row| row.map(f64::from));
    let volume = object.into_volume();
    let dims = [0, 1, 2].map(|axis| usize::from(volume.dim()[axis]));
    let labels = volume.into_raw_data();
    for name in ["labels.nii.gz", "labels.nii"] {
        let path = folder.join(name);
        write_nifti_labels(&path, dims, &affine, &labels).unwrap();
        let back = ReaderOptions::new().read_file(&path).unwrap();
        let found = [back.header().srow_x, back.header().srow_y, back.header().srow_z];
        assert_eq!(found, [header.srow_x, header.srow_y, header.srow_z]);
        assert_eq!(back.into_volume().into_raw_data(), labels);
        std::fs::write(folder.join(format!("{name}.source")), source.to_str().unwrap()).unwrap();
    }
}
