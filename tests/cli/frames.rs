//! In whatever order the frames of a source come, each result must be attributed to the frame it was computed from.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::common::*;
use crate::heads::write_clips;

const FRAMES: usize = 6;
const SIDE: usize = 48;

/// Positions of the frames along the normal: ascending, descending, and two interleaved stacks.
const ORDERS: [(&str, [i32; FRAMES]); 3] =
    [("up", [0, 2, 4, 6, 8, 10]), ("down", [0, -2, -4, -6, -8, -10]), ("interleaved", [0, 4, 8, 2, 6, 10])];

/// A bright block on noise, at a different place in each frame.
fn frame(n: usize) -> Vec<u8> {
    let pixel = |p: usize| {
        let noise = ((p * 7919 + n * 104_729) % 53) as u8;
        let (y, x) = (p / SIDE * 2 / SIDE, p % SIDE * 3 / SIDE);
        if (y, x) == (n / 3, n % 3) { 255 - noise } else { noise }
    };
    (0..SIDE * SIDE).map(pixel).collect()
}

fn element(tag: Tag, vr: VR, value: &str) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, vr, PrimitiveValue::from(value))
}

fn sequence(tag: Tag, items: Vec<Vec<DataElement<InMemDicomObject>>>) -> DataElement<InMemDicomObject> {
    let items: Vec<_> = items.into_iter().map(InMemDicomObject::from_element_iter).collect();
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// A CT image with the given frames.
fn image(path: &Path, class: &str, uid: &str, frames: &[usize], more: Vec<DataElement<InMemDicomObject>>) {
    let number = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    let pixels: Vec<u8> = frames.iter().flat_map(|&n| frame(n)).collect();
    let mut object = InMemDicomObject::from_element_iter(vec![
        element(tags::SOP_CLASS_UID, VR::UI, class),
        element(tags::SOP_INSTANCE_UID, VR::UI, uid),
        element(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3.19990131"),
        element(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4"),
        element(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.3.5"),
        element(tags::MODALITY, VR::CS, "CT"),
        element(tags::PATIENT_NAME, VR::PN, "Nobody"),
        element(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        number(tags::SAMPLES_PER_PIXEL, 1),
        number(tags::ROWS, SIDE as u16),
        number(tags::COLUMNS, SIDE as u16),
        number(tags::BITS_ALLOCATED, 8),
        number(tags::BITS_STORED, 8),
        number(tags::HIGH_BIT, 7),
        number(tags::PIXEL_REPRESENTATION, 0),
        DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.into())),
    ]);
    more.into_iter().for_each(|element| drop(object.put(element)));
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    object.with_meta(meta).unwrap().write_to_file(path).unwrap();
}

const ORIENTATION: (Tag, VR, &str) = (tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0");

/// An enhanced CT whose frame n lies at `z[n]`.
fn enhanced(path: &Path, z: &[i32]) {
    let place = |z: &i32| {
        let position = element(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("0\\0\\{z}"));
        vec![sequence(tags::PLANE_POSITION_SEQUENCE, vec![vec![position]])]
    };
    let (tag, vr, value) = ORIENTATION;
    let shared = vec![
        sequence(tags::PLANE_ORIENTATION_SEQUENCE, vec![vec![element(tag, vr, value)]]),
        sequence(tags::PIXEL_MEASURES_SEQUENCE, vec![vec![element(tags::PIXEL_SPACING, VR::DS, "1\\1")]]),
    ];
    let more = vec![
        element(tags::NUMBER_OF_FRAMES, VR::IS, &z.len().to_string()),
        sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]),
        sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, z.iter().map(place).collect()),
    ];
    let frames: Vec<usize> = (0..z.len()).collect();
    image(path, uids::ENHANCED_CT_IMAGE_STORAGE, "1.2.3.6", &frames, more);
}

/// Runs the segmentation head on `inputs` with all outputs in `out`, and returns the output lines.
fn predict(inputs: &[&Path], out: &Path, options: &[&str]) -> Vec<Value> {
    let (model, head) = (tiny_model(), golden("onnx_heads/map.onnx"));
    let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"predict", &model, &"--head", &head];
    args.extend([&"--masks" as &dyn AsRef<OsStr>, &out, &"--overlays", &out]);
    args.extend(options.iter().map(|o| o as &dyn AsRef<OsStr>));
    args.extend(inputs.iter().map(|path| path as &dyn AsRef<OsStr>));
    success(&args).lines().map(json).collect()
}

/// Mask and overlay of each frame, run alone as a PNG.
fn alone(folder: &Path) -> Vec<[Vec<u8>; 2]> {
    let made = |n: usize| {
        let (path, out) = (folder.join(format!("f{n}.png")), folder.join("alone"));
        let side = SIDE as u32;
        image::save_buffer(&path, &frame(n), side, side, image::ColorType::L8).unwrap();
        let line = predict(&[&path], &out, &[]).remove(0);
        ["mask", "overlay"].map(|kind| std::fs::read(line["heads"][0][kind].as_str().unwrap()).unwrap())
    };
    let all: Vec<_> = (0..FRAMES).map(made).collect();
    for (n, one) in all.iter().enumerate() {
        assert!(all[..n].iter().all(|other| other[0] != one[0]), "the masks must tell the frames apart");
    }
    all
}

/// Class numbers of a mask.
fn labels(png: &[u8]) -> Vec<u8> {
    image::load_from_memory(png).unwrap().into_luma8().into_raw()
}

/// Label maps of a segmentation for each source frame, keyed by (SOP Instance UID, frame number).
fn segmented(path: &Path) -> BTreeMap<(String, usize), Vec<u8>> {
    let seg = dicom_object::open_file(path).unwrap();
    let bits = seg.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
    let groups = seg.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).unwrap().items().unwrap();
    let mut found = BTreeMap::new();
    for (n, group) in groups.iter().enumerate() {
        let item = |of: &InMemDicomObject, tag| of.element(tag).unwrap().items().unwrap()[0].clone();
        let segment = item(group, tags::SEGMENT_IDENTIFICATION_SEQUENCE);
        let segment: u8 = segment.element(tags::REFERENCED_SEGMENT_NUMBER).unwrap().to_int().unwrap();
        let source = item(&item(group, tags::DERIVATION_IMAGE_SEQUENCE), tags::SOURCE_IMAGE_SEQUENCE);
        let uid = source.element(tags::REFERENCED_SOP_INSTANCE_UID).unwrap().to_str().unwrap();
        let uid = uid.trim_end_matches('\0').to_owned();
        let number = source.get(tags::REFERENCED_FRAME_NUMBER).map_or(1, |n| n.to_int::<usize>().unwrap());
        let map = found.entry((uid, number)).or_insert_with(|| vec![0; SIDE * SIDE]);
        for (i, label) in map.iter_mut().enumerate() {
            let at = n * SIDE * SIDE + i;
            if bits[at / 8] >> (at % 8) & 1 == 1 {
                *label = segment;
            }
        }
    }
    found
}

/// Positions of a segmentation's frames, keyed by source frame.
fn positions(path: &Path) -> BTreeMap<usize, f64> {
    let seg = dicom_object::open_file(path).unwrap();
    let groups = seg.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).unwrap().items().unwrap();
    let item = |of: &InMemDicomObject, tag| of.element(tag).unwrap().items().unwrap()[0].clone();
    groups
        .iter()
        .map(|group| {
            let source = item(&item(group, tags::DERIVATION_IMAGE_SEQUENCE), tags::SOURCE_IMAGE_SEQUENCE);
            let number = source.element(tags::REFERENCED_FRAME_NUMBER).unwrap().to_int().unwrap();
            let place = item(group, tags::PLANE_POSITION_SEQUENCE);
            let place = place.element(tags::IMAGE_POSITION_PATIENT).unwrap().to_multi_float64().unwrap();
            (number, place[2])
        })
        .collect()
}

/// The reference is each frame run alone: a mask in a multi-frame object must be that of the frame to which it refers
/// (PS3.3, C.7.6.16.2.6: Referenced Frame Number counts the frames of the source as they are stored).
#[test]
fn masks_of_a_multi_frame_object_name_the_frame_that_they_were_made_from() {
    let folder = tempdir().unwrap();
    let truth = alone(folder.path());
    for (name, z) in ORDERS {
        let path = folder.path().join(format!("{name}.dcm"));
        enhanced(&path, &z);
        let out = folder.path().join(name);
        let line = predict(&[&path], &out, &["--dicom", out.to_str().unwrap()]).remove(0);
        let numbers: Vec<Value> = (1..=FRAMES).map(|n| json!({"frame": n})).collect();
        assert_eq!(line["source_frames"], json!(numbers), "{name}");
        assert!(line.get("sop_instance_uid").is_none(), "its UIDs are identifiers: {line}");
        let seg = out.join(format!("{name}.seg.dcm"));
        let found = segmented(&seg);
        for (n, [mask, overlay]) in truth.iter().enumerate() {
            for (kind, file, expected) in [("mask", "", mask), ("overlay", ".overlay", overlay)] {
                let path = out.join(format!("{name}{file}-{:03}.png", n + 1));
                assert_eq!(line["heads"][0][kind][n], path.to_str().unwrap());
                assert!(std::fs::read(&path).unwrap() == *expected, "{}", path.display());
            }
            let of_frame = found.get(&("1.2.3.6".to_owned(), n + 1)).cloned();
            assert!(
                of_frame.unwrap_or_else(|| vec![0; SIDE * SIDE]) == labels(mask),
                "{name} frame {}",
                n + 1
            );
        }
        for (number, place) in positions(&seg) {
            assert_eq!(place, f64::from(z[number - 1]), "{name} frame {number}");
        }
    }
}

/// File names do not show the positions of the slices, but the output line does.
#[test]
fn masks_of_a_series_name_the_file_that_they_were_made_from() {
    let folder = tempdir().unwrap();
    let truth = alone(folder.path());
    let series = folder.path().join("series");
    std::fs::create_dir(&series).unwrap();
    let names = ["d.dcm", "a.dcm", "f.dcm", "b.dcm", "e.dcm", "c.dcm"];
    for (n, name) in names.iter().enumerate() {
        let (tag, vr, value) = ORIENTATION;
        let more = vec![
            element(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("0\\0\\{}", 3 * n)),
            element(tag, vr, value),
            element(tags::PIXEL_SPACING, VR::DS, "1\\1"),
        ];
        image(&series.join(name), uids::CT_IMAGE_STORAGE, &format!("1.2.3.7.{n}"), &[n], more);
    }
    let out = folder.path().join("out");
    let line = predict(&[&series], &out, &["--bags", "--dicom", out.to_str().unwrap()]).remove(0);
    let found = segmented(&out.join("series.seg.dcm"));
    for (n, name) in names.iter().enumerate() {
        assert_eq!(line["source_frames"][n], json!({"file": name, "frame": 1}));
        let mask = line["heads"][0]["mask"][n].as_str().unwrap();
        assert!(mask.ends_with(&format!("series-{:03}.png", n + 1)));
        assert!(std::fs::read(mask).unwrap() == truth[n][0], "{name}");
        let of_frame = found.get(&(format!("1.2.3.7.{n}"), 1)).cloned();
        assert!(of_frame.unwrap_or_else(|| vec![0; SIDE * SIDE]) == labels(&truth[n][0]), "{name}");
    }
}

#[test]
fn masks_of_a_clip_name_the_picture_that_they_were_made_from() {
    let folder = tempdir().unwrap();
    let truth = alone(folder.path());
    let clip = folder.path().join("clip");
    std::fs::create_dir(&clip).unwrap();
    let names = ["frame1.png", "frame2.png", "frame10.png"];
    for (n, name) in names.iter().enumerate() {
        std::fs::copy(folder.path().join(format!("f{n}.png")), clip.join(name)).unwrap();
    }
    let line = predict(&[&clip], &folder.path().join("out"), &["--bags"]).remove(0);
    for (n, name) in names.iter().enumerate() {
        assert_eq!(line["source_frames"][n], json!({"file": name, "frame": 1}));
        for (kind, expected) in ["mask", "overlay"].iter().zip(&truth[n]) {
            assert!(std::fs::read(line["heads"][0][kind][n].as_str().unwrap()).unwrap() == *expected);
        }
    }
}

/// The attention of a frame does not depend on its position (arXiv 1802.04712, section 2.4), so three objects with
/// the same frames must have the same attention for each.
#[test]
fn attention_is_told_of_the_frame_that_got_it() {
    let folder = tempdir().unwrap();
    write_clips(&folder.path().join("clips"));
    let head = folder.path().join("head.safetensors");
    let clips = folder.path().join("clips");
    success(&[
        &"train",
        &tiny_model(),
        &"--data",
        &clips,
        &"--head",
        &"abmil",
        &"--size",
        &"32",
        &"--epochs",
        &"3",
        &"-o",
        &head,
    ]);
    let weights = ORDERS.map(|(name, z)| {
        let path = folder.path().join(format!("{name}.dcm"));
        enhanced(&path, &z);
        let line = json(&success(&[&"predict", &tiny_model(), &"--head", &head, &path]));
        let weights = line["heads"][0]["attention"].as_array().unwrap().clone();
        weights.iter().map(|w| w.as_f64().unwrap()).collect::<Vec<f64>>()
    });
    for other in &weights[1..] {
        for (a, b) in weights[0].iter().zip(other) {
            assert!((a - b).abs() < 1e-6, "{weights:?}");
        }
    }
    let unequal = weights[0].windows(2).any(|pair| (pair[0] - pair[1]).abs() > 1e-4);
    assert!(unequal, "the weights must tell the frames apart: {weights:?}");
}

/// `las_int16.nii.gz` runs to the patient's left, against the direction of the slices' columns. `psr_int32.nii.gz`
/// has its axes in another order (written by nibabel, `tests/reference/make_nifti.py`).
#[cfg(feature = "nifti")]
#[test]
fn masks_of_nifti_lie_on_the_volume_and_pictures_name_its_index() {
    use microraptor::input::{ReadOptions, Scan};
    let folder = tempdir().unwrap();
    for name in ["las_int16", "psr_int32", "oblique_float32"] {
        let path: PathBuf = golden(&format!("nifti/{name}.nii.gz"));
        let out = folder.path().join(name);
        let line = predict(&[&path], &out, &[]).remove(0);
        let mask = out.join(format!("{name}.nii.gz"));
        assert_eq!(line["heads"][0]["nifti"], mask.to_str().unwrap());
        // If the mask is read in the same way as the source, each slice is the mask of the source's slice.
        let scan = Scan::open(&path, &ReadOptions::default()).unwrap();
        let info = scan.info().clone();
        let written = microraptor::input::LabelMap::open(&mask, None).unwrap();
        for (z, slice) in scan.enumerate() {
            let picture = folder.path().join("slice.png");
            slice.unwrap().pixels().save(&picture).unwrap();
            let alone = predict(&[&picture], &folder.path().join("alone"), &[]).remove(0);
            let [mask, overlay] = ["mask", "overlay"]
                .map(|kind| std::fs::read(alone["heads"][0][kind].as_str().unwrap()).unwrap());
            assert!(labels(&mask) == written.slice(z), "{name} slice {z}");
            let nifti = info.nifti.as_ref().unwrap();
            let depth = nifti.dims[nifti.axes[0]];
            let number = if nifti.flips[0] { depth - z } else { z + 1 };
            let named = out.join(format!("{name}.overlay-{number:03}.png"));
            assert!(std::fs::read(&named).unwrap() == overlay, "{}", named.display());
            assert_eq!(line["source_frames"][number - 1], json!({"frame": number}));
            assert_eq!(line["heads"][0]["overlay"][number - 1], named.to_str().unwrap());
        }
    }
}
