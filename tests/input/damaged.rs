//! Files that are cut short, declare a wrong size or contradict themselves: a one-line error each, no panic, and no
//! allocation of the declared size.

use std::fs;
use std::path::{Path, PathBuf};

use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::tags;
use microraptor::input::{LabelMap, ReadOptions, Scan};

use super::common::{GOLDEN, Slice, shared};

/// Opens and reads to the end. Returns the error, if any, which must be one line that names the file.
fn outcome(path: &Path) -> Option<String> {
    let read = Scan::open(path, &ReadOptions::default()).and_then(|scan| scan.collect::<Result<Vec<_>, _>>());
    let message = read.err()?.to_string();
    assert!(!message.contains('\n') && message.len() < 600, "{message}");
    assert!(message.contains(path.file_name().unwrap().to_str().unwrap()), "{message}");
    Some(message)
}

/// Cuts a file at every `step`th byte. A cut before `whole` must give an error.
fn cut(source: &Path, step: usize, whole: impl Fn(&[u8]) -> usize) {
    let bytes = fs::read(source).unwrap();
    let whole = whole(&bytes);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(source.file_name().unwrap());
    for length in (0..bytes.len()).step_by(step) {
        fs::write(&path, &bytes[..length]).unwrap();
        let message = outcome(&path);
        assert!(
            message.is_some() || length >= whole,
            "{} cut to {length} of {}",
            path.display(),
            bytes.len()
        );
    }
}

#[test]
fn a_dicom_file_that_is_cut_anywhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.dcm");
    Slice::default().write(&path);
    cut(&path, 1, <[u8]>::len);
}

#[test]
fn compressed_dicom_files_that_are_cut_are_errors() {
    let golden = Path::new(GOLDEN).join("dicom");
    for (name, step) in
        [("rle_signed.dcm", 7), ("rle_ybr.dcm", 11), ("j2k_signed.dcm", 7), ("big_endian16.dcm", 13)]
    {
        cut(&golden.join(name), step, <[u8]>::len);
    }
    let Some(data) = shared("data/dicom") else { return };
    for name in
        ["examples_ybr_color.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm", "US1_J2KI.dcm", "OBXXXX1A_rle.dcm"]
    {
        cut(&data.join(name), 1 + fs::metadata(data.join(name)).unwrap().len() as usize / 20, <[u8]>::len);
    }
}

/// Damaged contents must give an error or a picture, never a panic.
#[test]
fn dicom_files_with_wrong_bytes_do_not_panic() {
    let golden = fs::read_dir(Path::new(GOLDEN).join("dicom")).unwrap();
    let mut files: Vec<(PathBuf, usize)> = golden.map(|entry| (entry.unwrap().path(), 60)).collect();
    files.sort();
    if let Some(data) = shared("data/dicom") {
        let large =
            ["examples_ybr_color.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm", "US1_J2KI.dcm", "OBXXXX1A_rle.dcm"];
        files.extend(large.map(|name| (data.join(name), 12)));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut state = 1u64;
    let mut random = |below: usize| {
        // Knuth's MMIX generator: any would do, as long as it is the same each time.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut errors = 0;
    for (source, rounds) in files {
        let bytes = fs::read(&source).unwrap();
        let path = folder.path().join(source.file_name().unwrap());
        for _ in 0..rounds {
            let mut changed = bytes.clone();
            for _ in 0..1 + random(4) {
                let at = 132 + random(bytes.len() - 132);
                changed[at] = random(256) as u8;
            }
            fs::write(&path, &changed).unwrap();
            errors += usize::from(outcome(&path).is_some());
        }
    }
    assert!(errors > 10, "{errors}");
}

#[test]
fn dicom_headers_that_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.dcm");
    let with = |elements: &[DataElement<dicom_object::InMemDicomObject>]| {
        Slice::default().write_with(&path, |object| {
            for element in elements {
                object.put(element.clone());
            }
        });
        outcome(&path).unwrap()
    };
    let short = |tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [value]));
    let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));

    let message = with(&[short(tags::ROWS, 65535), short(tags::COLUMNS, 65535)]);
    assert!(message.contains("65535x65535 px, which are refused"), "{message}");
    let message = with(&[short(tags::ROWS, 4000)]);
    assert!(message.contains("1 frames of 16x4000 px but holds 512 bytes"), "{message}");
    let message = with(&[text(tags::NUMBER_OF_FRAMES, VR::IS, "2000000000")]);
    assert!(message.contains("2000000000 frames"), "{message}");
    let message = with(&[text(tags::NUMBER_OF_FRAMES, VR::IS, "1000")]);
    assert!(message.contains("1000 frames of 16x16 px but holds 512 bytes"), "{message}");
    let message = with(&[short(tags::ROWS, 0), text(tags::NUMBER_OF_FRAMES, VR::IS, "200000")]);
    assert!(message.contains("0 rows"), "{message}");
    let message = with(&[text(tags::ROWS, VR::IS, "1000000000")]);
    assert!(message.contains("1000000000 rows"), "{message}");
    let message = with(&[text(tags::NUMBER_OF_FRAMES, VR::IS, "1000000000000")]);
    assert!(message.contains("NumberOfFrames"), "{message}");
    let message = with(&[text(tags::NUMBER_OF_FRAMES, VR::IS, "0")]);
    assert!(message.contains("0 frames"), "{message}");
    let message = with(&[short(tags::BITS_ALLOCATED, 32)]);
    assert!(message.contains("32 bits"), "{message}");
    let message = with(&[short(tags::BITS_STORED, 17)]);
    assert!(message.contains("stores 17 bits"), "{message}");
    let message = with(&[short(tags::SAMPLES_PER_PIXEL, 3)]);
    assert!(message.contains("3 samples"), "{message}");
    let message = with(&[text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "HSV")]);
    assert!(message.contains("'HSV'"), "{message}");
    let message = with(&[text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "PALETTE COLOR")]);
    assert!(message.contains("lookup table"), "{message}");
    let pixels = DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(vec![0; 16].into()));
    let message = with(&[short(tags::ROWS, 4), short(tags::COLUMNS, 4), pixels]);
    assert!(message.contains("4x4 px leave nothing to see"), "{message}");

    for tag in
        [tags::ROWS, tags::COLUMNS, tags::BITS_ALLOCATED, tags::PHOTOMETRIC_INTERPRETATION, tags::PIXEL_DATA]
    {
        Slice::default().write_with(&path, |object| {
            object.take(tag).unwrap();
        });
        let message = outcome(&path).unwrap();
        assert!(message.contains("lacks") || message.contains("holds no pixel data"), "{message}");
    }
}

/// Replaces the first `from` by `to`, which has the same length.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
}

#[test]
fn a_wrong_transfer_syntax_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.dcm");
    Slice::default().write(&path);
    let bytes = fs::read(&path).unwrap();
    let said = |uid: &[u8]| {
        let mut changed = bytes.clone();
        replace(&mut changed, b"1.2.840.10008.1.2.1\0", uid);
        fs::write(&path, changed).unwrap();
        outcome(&path)
    };
    let as_syntax = |uid: &[u8]| said(uid).unwrap();
    // Implicit VR: the elements themselves show that they are explicit.
    assert_eq!(said(b"1.2.840.10008.1.2\0\0\0"), None);
    let message = as_syntax(b"1.2.840.10008.1.2.2\0");
    assert!(message.contains("other byte order"), "{message}");
    let message = as_syntax(b"1.2.840.10008.1.2.5\0");
    assert!(message.contains("its pixels are not compressed"), "{message}");
    let message = as_syntax(b"1.2.840.10008.1.2.9\0");
    assert!(message.contains("unknown transfer syntax"), "{message}");
}

#[test]
fn element_lengths_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.dcm");
    // An element of four gigabytes, in the data set and in the meta group; OB has 32-bit lengths.
    let meta = |syntax: &[u8]| {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM\x02\0\0\0UL\x04\0");
        bytes.extend((syntax.len() as u32).to_le_bytes());
        bytes.extend(syntax);
        bytes
    };
    let syntax = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0";
    let mut bytes = meta(syntax);
    bytes.extend(b"\x09\0\x10\x10OB\0\0\xf0\xff\xff\xff");
    bytes.extend([0; 64]);
    fs::write(&path, &bytes).unwrap();
    let message = outcome(&path).unwrap();
    assert!(message.contains("announces 4294967280 bytes for (0009,1010)"), "{message}");

    let bytes = meta(b"\x02\0\x10\0OB\0\0\xf0\xff\xff\xff1.2.840.10008.1.2.1\0");
    fs::write(&path, &bytes).unwrap();
    let message = outcome(&path).unwrap();
    assert!(message.contains("damaged file meta group"), "{message}");

    // A million nested sequences.
    let mut bytes = meta(syntax);
    for _ in 0..1_000_000 {
        bytes.extend(b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff");
    }
    fs::write(&path, &bytes).unwrap();
    let message = outcome(&path).unwrap();
    assert!(message.contains("nests sequences more than 64 deep"), "{message}");
}

#[test]
fn nifti_files_that_lie_or_are_cut_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume.nii");
    let mut header = vec![0u8; 352];
    header[0..4].copy_from_slice(&348i32.to_le_bytes());
    let short =
        |header: &mut [u8], at: usize, value: i16| header[at..at + 2].copy_from_slice(&value.to_le_bytes());
    for (at, value) in [(40, 3), (42, 16), (44, 16), (46, 4), (70, 4), (72, 16)] {
        short(&mut header, at, value);
    }
    header[108..112].copy_from_slice(&352f32.to_le_bytes());
    for at in [80, 84, 88] {
        header[at..at + 4].copy_from_slice(&1f32.to_le_bytes());
    }
    header[344..348].copy_from_slice(b"n+1\0");
    let mut whole = header.clone();
    whole.extend(vec![1; 2 * 16 * 16 * 4]);
    fs::write(&path, &whole).unwrap();
    assert_eq!(outcome(&path), None);
    cut(&path, 7, <[u8]>::len);

    let with = |changes: &[(usize, i16)]| {
        let mut changed = whole.clone();
        changes.iter().for_each(|&(at, value)| short(&mut changed, at, value));
        fs::write(&path, changed).unwrap();
        outcome(&path).unwrap()
    };
    // 3.5e13 voxels, and 6.4e10 in no more than the maximum number of slices.
    let message = with(&[(42, 32767), (44, 32767), (46, 32767)]);
    assert!(message.contains("has 32767 frames or slices, of at most 4096"), "{message}");
    let message = with(&[(42, 4000), (44, 4000), (46, 4000)]);
    assert!(message.contains("4000 x 4000 x 4000 voxels"), "{message}");
    assert!(with(&[(46, 5)]).contains("in a file of 2400 bytes"));
    assert!(with(&[(42, 0)]).contains("dimensions [0, 16, 4]"));
    assert!(with(&[(42, -16)]).contains("dimensions [-16, 16, 4]"));
    assert!(with(&[(40, 4), (48, 7)]).contains("holds 7 volumes"));
    assert!(with(&[(40, 9)]).contains("damaged"));
    assert!(with(&[(70, 32), (72, 64)]).contains("complex"));
    assert!(with(&[(70, 128), (72, 24)]).contains("in a file of 2400 bytes"));
    assert!(with(&[(70, 99)]).contains("unknown type 99"));
    assert!(with(&[(254, 1)]).contains("affine"));

    // A similar declaration in a gzipped file, whose length tells less about the size of its contents.
    let mut lying = whole.clone();
    [(42, 600), (44, 600), (46, 600)].iter().for_each(|&(at, value)| short(&mut lying, at, value));
    let zipped = folder.path().join("volume.nii.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(fs::File::create(&zipped).unwrap(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &lying).unwrap();
    encoder.finish().unwrap();
    let message = outcome(&zipped).unwrap();
    assert!(message.contains("600 x 600 x 600 voxels"), "{message}");
    cut(&Path::new(GOLDEN).join("nifti/ras_uint16.nii.gz"), 5, |bytes| bytes.len() - 8);
}

#[test]
fn masks_that_are_none_are_refused() {
    let message =
        LabelMap::open(Path::new(GOLDEN).join("nifti/ras_uint16.nii.gz"), None).unwrap_err().to_string();
    assert!(message.contains("which is no class"), "{message}");
    let message = LabelMap::open(Path::new(GOLDEN).join("pixels_rgb8.png"), None).unwrap_err().to_string();
    assert!(message.contains("is in colour"), "{message}");
    let message = LabelMap::open(Path::new(GOLDEN).join("pixels_grey16.png"), None).unwrap_err().to_string();
    assert!(message.contains("above 255"), "{message}");
}
