//! Kinds of NIfTI other than one gzipped volume of version 1, compared with nibabel voxel by voxel
//! (`tests/reference/make_nifti_kinds.py`), and refused files.

use std::fs;
use std::path::{Path, PathBuf};

use image::DynamicImage;
use microraptor::input::{LabelMap, ReadOptions, Scan, Window, content_digest, expand};

use super::common::{GOLDEN, expected, hex};

fn golden(name: &str) -> PathBuf {
    Path::new(GOLDEN).join("nifti_kinds").join(name)
}

/// A window that maps `low` to 0 and each integer above it to a 16-bit grey value, in steps of one.
fn from(low: f64) -> Option<Window> {
    Some(Window { center: low + 32767.5, width: 65535.0 })
}

fn bytes(scan: Scan) -> Vec<u8> {
    scan.flat_map(|frame| match frame.unwrap().pixels() {
        DynamicImage::ImageLuma16(pixels) => pixels.as_raw().iter().flat_map(|v| v.to_le_bytes()).collect(),
        other => other.as_bytes().to_vec(),
    })
    .collect()
}

fn refusal(path: &Path, options: &ReadOptions) -> String {
    let message = Scan::open(path, options).unwrap_err().to_string();
    assert!(message.starts_with(&path.display().to_string()) && !message.contains('\n'), "{message}");
    message
}

/// A file of `bytes` in its own folder.
fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn inflated(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let zipped = fs::File::open(golden(name)).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(zipped), &mut bytes).unwrap();
    bytes
}

#[test]
fn voxels_are_those_of_nibabel() {
    let files = expected("nifti_kinds.json", "golden");
    assert_eq!(files.len(), 23);
    for (name, expected) in files {
        let volume = expected["volume"].as_u64().map(|volume| volume as usize);
        let options =
            ReadOptions { window: from(expected["low"].as_f64().unwrap()), volume, ..ReadOptions::default() };
        let scan = Scan::open(golden(&name), &options).unwrap();
        let info = scan.info().clone();
        let (rows, columns) = info.size.unwrap();
        let shape: Vec<u64> =
            expected["shape"].as_array().unwrap().iter().map(|side| side.as_u64().unwrap()).collect();
        assert_eq!([info.frames.unwrap(), rows, columns].map(|side| side as u64), shape[..3], "{name}");
        assert_eq!(hex(&bytes(scan)), expected["sha256"].as_str().unwrap(), "{name}");
        let affine = info.nifti.unwrap().affine;
        for (value, theirs) in affine
            .iter()
            .flatten()
            .zip(expected["affine"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap()))
        {
            assert!((value - theirs.as_f64().unwrap()).abs() < 1e-4, "{name} {affine:?}");
        }
    }
}

#[test]
fn one_of_several_volumes_is_chosen() {
    let message = refusal(&golden("four.nii.gz"), &ReadOptions::default());
    assert!(
        message
            .contains("holds 3 volumes of 8 x 9 x 10 voxels: choose one by the option `volume`, from 0 to 2"),
        "{message}"
    );
    let at = |volume| ReadOptions { window: from(0.0), volume: Some(volume), ..ReadOptions::default() };
    assert!(refusal(&golden("four.nii.gz"), &at(3)).contains("has no volume 3: it holds 3"));
    assert!(refusal(&golden("rgb.nii.gz"), &at(1)).contains("has no volume 1: it holds 1"));
    // The file's own order: volume after volume, uint16 from byte 352 on.
    let file = inflated("four.nii.gz");
    for volume in 0..3 {
        let scan = Scan::open(golden("four.nii.gz"), &at(volume)).unwrap();
        let mut read: Vec<[u8; 2]> = bytes(scan).chunks(2).map(|pair| [pair[0], pair[1]]).collect();
        let mut theirs: Vec<[u8; 2]> =
            file[352 + volume * 1440..][..1440].chunks(2).map(|pair| [pair[0], pair[1]]).collect();
        read.sort();
        theirs.sort();
        assert_eq!(read, theirs, "{volume}");
    }
    let digest = |options| content_digest(golden("four.nii.gz"), &options).unwrap();
    assert_ne!(digest(at(0)), digest(at(1)));
    let picture = Path::new(GOLDEN).join("pixels_rgb8.png");
    assert!(refusal(&picture, &at(0)).contains("is not NIfTI"));
    let message = LabelMap::open(golden("four.nii.gz"), None).unwrap_err().to_string();
    assert!(message.contains("holds 3 volumes"), "{message}");
}

#[test]
fn a_pair_is_one_volume() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["pair.hdr", "pair.img"] {
        fs::copy(golden(name), folder.path().join(name)).unwrap();
    }
    let header = folder.path().join("pair.hdr");
    assert_eq!(expand(&[folder.path().to_owned()]).unwrap().paths, std::slice::from_ref(&header));
    let digest = |path: &Path| content_digest(path, &ReadOptions::default()).unwrap();
    let before = digest(&header);
    assert_eq!(before, digest(&header.with_extension("img")));
    fs::write(header.with_extension("img"), [1; 1440]).unwrap();
    assert_ne!(before, digest(&header));

    fs::write(header.with_extension("img"), [1; 1439]).unwrap();
    assert!(refusal(&header, &ReadOptions::default()).contains("in a file of 1439 bytes are refused"));
    fs::remove_file(header.with_extension("img")).unwrap();
    assert!(refusal(&header, &ReadOptions::default()).contains("put the .img file of the same name there"));
    let (_folder, voxels) = file("x.img", &[0; 1440]);
    assert!(refusal(&voxels, &ReadOptions::default()).contains("its .hdr file is not beside it"));
}

#[test]
fn analyze_is_refused_for_what_it_does_not_say() {
    let mut header = fs::read(golden("pair.hdr")).unwrap();
    header[344..348].fill(0);
    let (_folder, path) = file("a.hdr", &header);
    fs::copy(golden("pair.img"), path.with_extension("img")).unwrap();
    for path in [&path, &path.with_extension("img")] {
        let message = refusal(path, &ReadOptions::default());
        assert!(
            message.contains("is Analyze 7.5, which does not say which side is the patient's left"),
            "{message}"
        );
    }
}

/// RFC 1952, 2.3.1: a member ends with the CRC-32 and the length of its contents.
#[test]
fn damage_to_a_gzipped_file_is_an_error_wherever_it_is() {
    let whole = fs::read(golden("second.nii.gz")).unwrap();
    let end = whole.len();
    for at in [end - 8, end - 4, end / 2] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let (_folder, path) = file("a.nii.gz", &bytes);
        assert!(refusal(&path, &ReadOptions::default()).contains("the file is damaged or cut short"), "{at}");
    }
    for kept in [end - 1, end - 8, end - 9, end / 2] {
        let (_folder, path) = file("a.nii.gz", &whole[..kept]);
        refusal(&path, &ReadOptions::default());
    }
    // The last volume is cut off, and the first is requested.
    let (_folder, path) = file("a.nii", &inflated("four.nii.gz")[..352 + 3 * 1440 - 1]);
    let first = ReadOptions { volume: Some(0), ..ReadOptions::default() };
    assert!(refusal(&path, &first).contains("give at most 256 million, and a whole file"));
    // Zeros after the last member are padding; anything else there must be a member.
    let read = |bytes: &[u8]| {
        let (_folder, path) = file("a.nii.gz", bytes);
        Scan::open(path, &ReadOptions::default()).map(|_| ())
    };
    assert!(read(&[whole.as_slice(), &[0; 100]].concat()).is_ok());
    let message = read(&[whole.as_slice(), b"garbage"].concat()).unwrap_err().to_string();
    assert!(message.contains("damaged"), "{message}");
    // A second member with a wrong checksum is an error although the voxels were in the first.
    let mut second = fs::read(golden("int8.nii.gz")).unwrap();
    let last = second.len() - 5;
    second[last] ^= 0x80;
    assert!(read(&[whole.as_slice(), &second].concat()).is_err());
}

#[test]
fn voxels_behind_which_something_shows_are_refused() {
    let mut bytes = inflated("rgba.nii.gz");
    let (_folder, path) = file("a.nii", &bytes);
    assert!(Scan::open(&path, &ReadOptions::default()).is_ok());
    bytes[352 + 3] = 254;
    fs::write(&path, &bytes).unwrap();
    assert!(refusal(&path, &ReadOptions::default()).contains("not opaque"));
    let message = LabelMap::open(&path, None).unwrap_err().to_string();
    assert!(message.contains("is in colour"), "{message}");
}

#[test]
fn without_a_window_the_display_range_is_black_and_white() {
    let mut bytes = inflated("extended.nii.gz");
    bytes[124..128].copy_from_slice(&40000f32.to_le_bytes());
    bytes[128..132].copy_from_slice(&10000f32.to_le_bytes());
    let (_folder, path) = file("a.nii", &bytes);
    let open = |window| {
        let options = ReadOptions { window, ..ReadOptions::default() };
        self::bytes(Scan::open(&path, &options).unwrap())
    };
    let display = open(None);
    assert_eq!(display, open(Some(Window { center: 25000.0, width: 30000.0 })));
    let black = display.chunks(2).filter(|value| **value == [0, 0]).count();
    assert!((60..180).contains(&black), "a sixth of 720: {black}");
}

#[test]
fn values_that_are_no_numbers_are_black_unless_all_are() {
    let mut bytes = inflated("second_big.nii.gz");
    // float32, big-endian, from byte 544 on.
    bytes[544..548].copy_from_slice(&f32::NAN.to_be_bytes());
    bytes[548..552].copy_from_slice(&f32::INFINITY.to_be_bytes());
    let (_folder, path) = file("a.nii", &bytes);
    let options = ReadOptions { window: Some(Window { center: -1.0, width: 1.0 }), ..ReadOptions::default() };
    let greys = self::bytes(Scan::open(&path, &options).unwrap());
    assert_eq!(greys.chunks(2).filter(|value| **value == [0, 0]).count(), 2);
    for voxel in bytes[544..].chunks_exact_mut(4) {
        voxel.copy_from_slice(&f32::NAN.to_be_bytes());
    }
    fs::write(&path, &bytes).unwrap();
    assert!(refusal(&path, &ReadOptions::default()).contains("holds no finite value"));
}

/// Integers above 2^24 that differ by less than the precision of f32 stay distinct.
#[test]
fn percentiles_tell_large_numbers_apart() {
    let scan = Scan::open(golden("uint32_high.nii.gz"), &ReadOptions::default()).unwrap();
    let values: Vec<u16> = bytes(scan).chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let mut different = values.clone();
    different.sort_unstable();
    different.dedup();
    // 720 random values in 2^31..2^31 + 60000, of which the percentiles clip 4 at each end: nearly all differ. f32,
    // with a spacing of 256 there, would leave fewer than 240 distinct values.
    assert!(different.len() > 650, "{}", different.len());
}
