//! `embed` takes the same inputs as `train` and `predict`, and records the source of each row.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

#[cfg(feature = "dicom")]
use super::common::microraptor;
use super::common::{failure, golden, json, success, tiny_model, write_image};

/// Metadata of a feature file, and its CLS tokens.
fn read(path: &Path) -> (Value, Vec<Vec<u8>>) {
    let bytes = fs::read(path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let about = json(&metadata.metadata().as_ref().unwrap()["microraptor"]);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let cls = tensors.tensor("cls").unwrap();
    let row = 4 * cls.shape()[1];
    assert_eq!(tensors.tensor("patch").unwrap().shape()[0], cls.shape()[0]);
    (about, cls.data().chunks(row).map(<[u8]>::to_vec).collect())
}

fn names(about: &Value) -> Vec<(String, u64)> {
    let names = about["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    names.zip(about["frames"].as_array().unwrap().iter().map(|frame| frame.as_u64().unwrap())).collect()
}

/// A clip with the same pixels as the grey pictures that `write_image` makes.
fn clip(path: &Path, pictures: &[&Path]) {
    let mut bytes = b"YUV4MPEG2 W40 H36 F25:1 Cmono XCOLORRANGE=FULL\n".to_vec();
    for picture in pictures {
        bytes.extend(b"FRAME\n");
        bytes.extend(image::open(picture).unwrap().into_luma8().into_raw());
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_frame_is_a_row_that_can_be_traced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let bag = at("bag");
    fs::create_dir(&bag).unwrap();
    // In natural order, f9 comes before f10.
    for (n, name) in ["f9.png", "f10.png"].iter().enumerate() {
        write_image(&bag.join(name), 0, n);
    }
    write_image(&at("one.png"), 1, 7);
    let [first, second] = ["f9.png", "f10.png"].map(|name| bag.join(name));
    clip(&at("clip.y4m"), &[&first, &second]);

    let output = at("features.safetensors");
    let volume = golden("nifti_kinds/fourth_of_one.nii.gz");
    let said = success(&[
        &"embed",
        &tiny_model(),
        &at("one.png"),
        &at("clip.y4m"),
        &bag,
        &volume,
        &"--bags",
        &"--axis",
        &"sagittal",
        &"--size",
        &"32",
        &"--json",
        &"-o",
        &output,
    ]);
    let (about, rows) = read(&output);
    let text = |path: &Path| path.display().to_string();
    let mut expected = vec![
        (text(&at("one.png")), 1),
        (text(&at("clip.y4m")), 1),
        (text(&at("clip.y4m")), 2),
        (text(&first), 1),
        (text(&second), 1),
    ];
    // Ten slices: the file's third axis runs to the right, so the slices are sagittal.
    expected.extend((1..=10).map(|slice| (text(&volume), slice)));
    assert_eq!(names(&about), expected);
    assert_eq!(json(&said)["images"], 4);
    assert_eq!(json(&said)["frames"], rows.len());
    // The clip has the same pixels as the pictures.
    assert!(rows[1] == rows[3] && rows[2] == rows[4] && rows[1] != rows[2]);

    // The same pictures, given as a list, give the same rows.
    success(&[&"embed", &tiny_model(), &first, &second, &"--size", &"32", &"-o", &output]);
    assert!(read(&output).1 == rows[3..5]);
}

#[cfg(feature = "dicom")]
#[test]
fn folders_are_read_by_content_and_what_is_passed_over_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["IM0001", "IM0002.IMA", "IM0003.dcm"] {
        fs::copy(golden("dicom/exact.dcm"), at(name)).unwrap();
    }
    fs::write(at("notes.txt"), "notes").unwrap();
    fs::write(at(".hidden"), "hidden").unwrap();
    let output = tempfile::tempdir().unwrap();
    let file = output.path().join("f.safetensors");
    let run = microraptor(&[&"embed", &tiny_model(), &folder.path(), &"--size", &"32", &"-o", &file]);
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success(), "{stderr}");
    assert!(stderr.contains("1 file passed over (first: notes.txt)"), "{stderr}");
    let (about, rows) = read(&file);
    assert_eq!(rows.len(), 3);
    assert!(rows[0] == rows[1] && rows[0] == rows[2]);
    assert!(names(&about)[1].0.ends_with("IM0002.IMA"));
}

#[test]
fn several_volumes_are_refused_without_a_choice() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("f.npz");
    let volume = golden("nifti_kinds/four.nii.gz");
    let message = failure(&[&"embed", &tiny_model(), &volume, &"--size", &"32", &"-o", &output]);
    assert!(
        message.contains("holds 3 volumes of 8 x 9 x 10 voxels: choose one by the option `volume`"),
        "{message}"
    );
    assert!(!output.exists());
    let said =
        success(&[&"embed", &tiny_model(), &volume, &"--volume", &"2", &"--size", &"32", &"-o", &output]);
    assert!(said.contains("cls [9, "), "{said}");
}
