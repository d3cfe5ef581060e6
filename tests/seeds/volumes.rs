//! DICOM and NIfTI.

use std::io::Write;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::{Seed, golden, root};

/// Of a NIfTI header, its extension flag included.
const HEADER: usize = 352;

pub(super) fn add(seeds: &mut Vec<Seed>) {
    let mut files: Vec<_> = std::fs::read_dir(root().join("tests/golden/dicom"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    for name in files {
        let bytes = golden(&format!("dicom/{name}"));
        if ["exact.dcm", "rle_ybr.dcm"].contains(&name.as_str()) {
            seeds.push(Seed::new("dicom_source", &name, identified(&bytes)));
        }
        seeds.push(Seed::new("dicom", &name, bytes));
    }
    for (name, kind, size) in [("u8", 2, 1), ("i16", 4, 2), ("f32", 16, 4), ("f64", 64, 8)] {
        let bytes = nifti(kind, size);
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        zipped.write_all(&bytes).unwrap();
        seeds.push(Seed::new("nifti", &format!("{name}.nii.gz"), zipped.finish().unwrap()));
        seeds.push(Seed::new("nifti", &format!("{name}.nii"), bytes));
    }
    let first = nifti(2, 1);
    let member = |part: &[u8]| {
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        zipped.write_all(part).unwrap();
        zipped.finish().unwrap()
    };
    let members = [member(&first[..500]), member(&first[500..]), vec![0; 8]].concat();
    seeds.push(Seed::new("nifti", "members.nii.gz", members));
    seeds.push(Seed::new("nifti", "second.nii", second()));
}

/// The DICOM file `bytes` with all that an output refers to.
fn identified(bytes: &[u8]) -> Vec<u8> {
    let mut object = dicom_object::from_reader(bytes).unwrap();
    for (n, tag) in [tags::SERIES_INSTANCE_UID, tags::STUDY_INSTANCE_UID, tags::FRAME_OF_REFERENCE_UID]
        .into_iter()
        .enumerate()
    {
        object.put_str(tag, VR::UI, format!("1.2.3.{n}"));
    }
    let mut out = Vec::new();
    object.write_all(&mut out).unwrap();
    out
}

/// A volume of 9 x 8 x 10 voxels of the type `kind` of `nifti1.h`, with `size` bytes each, turned by its sform.
fn nifti(kind: i16, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &348i32.to_le_bytes());
    for (n, side) in [3i16, 9, 8, 10, 1, 1, 1, 1].into_iter().enumerate() {
        put(40 + 2 * n, &side.to_le_bytes());
    }
    put(70, &kind.to_le_bytes());
    put(72, &(8 * size as i16).to_le_bytes());
    for (n, side) in [1f32, 0.5, 0.75, 2.0].into_iter().enumerate() {
        put(76 + 4 * n, &side.to_le_bytes());
    }
    put(108, &(HEADER as f32).to_le_bytes());
    put(112, &1f32.to_le_bytes());
    // Millimetres; a qform and an sform.
    put(123, &[2]);
    put(252, &1i16.to_le_bytes());
    put(254, &1i16.to_le_bytes());
    for (n, value) in
        [-0.5f32, 0.0, 0.0, 3.0, 0.0, 0.0, 0.75, 4.0, 0.0, 2.0, 0.0, 5.0].into_iter().enumerate()
    {
        put(280 + 4 * n, &value.to_le_bytes());
    }
    put(344, b"n+1\0");
    for voxel in 0..9 * 8 * 10u16 {
        let class = voxel % 5;
        match kind {
            16 => bytes.extend(f32::from(class).to_le_bytes()),
            64 => bytes.extend(f64::from(class).to_le_bytes()),
            _ => bytes.extend(&class.to_le_bytes()[..size]),
        }
    }
    bytes
}

/// A NIfTI-2 volume of 9 x 8 x 10 voxels of uint8, big-endian, placed by its qform.
fn second() -> Vec<u8> {
    let mut bytes = vec![0; 544];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &540i32.to_be_bytes());
    put(4, b"n+2\0\r\n\x1a\n");
    put(12, &2i16.to_be_bytes());
    put(14, &8i16.to_be_bytes());
    for (n, side) in [3i64, 9, 8, 10, 1, 1, 1, 1].into_iter().enumerate() {
        put(16 + 8 * n, &side.to_be_bytes());
    }
    for (n, size) in [-1f64, 0.5, 0.75, 2.0].into_iter().enumerate() {
        put(104 + 8 * n, &size.to_be_bytes());
    }
    put(168, &544i64.to_be_bytes());
    put(176, &1f64.to_be_bytes());
    put(344, &1i32.to_be_bytes());
    put(500, &2i32.to_be_bytes());
    bytes.extend((0..720u16).map(|voxel| (voxel % 5) as u8));
    bytes
}
