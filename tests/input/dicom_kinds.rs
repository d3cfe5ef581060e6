//! DICOM files with unusual pixel attributes decode to the same values as with pydicom
//! (`tests/reference/make_dicom_kinds.py`), and incomplete headers are read.

use std::fs;
use std::path::{Path, PathBuf};

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use microraptor::input::{Image, ReadOptions, Scan, ScanKind, Window, dicom_samples};

use super::common::{GOLDEN, Slice, expected};
use super::dicom::compare;

#[test]
fn unusual_files_decode_to_the_recorded_arrays() {
    let files = expected("dicom_kinds.json", "kinds");
    assert!(files.len() > 20);
    for (name, expected) in files {
        let path = Path::new(GOLDEN).join("dicom_kinds").join(&name);
        let jpeg = name.starts_with("jpeg") && !name.contains("lossless");
        // JPEG leaves decoders some freedom. pydicom removes overlays from its array; our samples keep them until
        // they become a picture.
        let worst = compare(&path, &expected, !name.contains("ybr") && !name.contains("overlay") && !jpeg);
        let tolerance = if name == "jpeg_12.dcm" {
            3.0 / 4095.0
        } else if jpeg {
            5.0 / 255.0
        } else {
            1.0 / 255.0
        };
        assert!(worst <= tolerance, "{name}: {worst}");
    }
}

/// The one-line error of opening or reading.
fn problem(path: &Path) -> String {
    let read = Scan::open(path, &ReadOptions::default()).and_then(|scan| scan.collect::<Result<Vec<_>, _>>());
    read.err().unwrap().to_string()
}

fn frames(path: &Path) -> Vec<Image> {
    Scan::open(path, &ReadOptions::default()).unwrap().map(Result::unwrap).collect()
}

/// Parts of a slice's file: preamble and magic, file meta group, data set.
fn parts(path: &Path) -> [Vec<u8>; 3] {
    let bytes = fs::read(path).unwrap();
    let group = 144 + u32::from_le_bytes(*bytes[140..].first_chunk().unwrap()) as usize;
    [bytes[..132].to_vec(), bytes[132..group].to_vec(), bytes[group..].to_vec()]
}

#[test]
fn headers_that_leave_something_out_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.dcm");
    Slice::default().write(&path);
    let right = frames(&path);
    let [preamble, meta, data] = parts(&path);
    let mut wrong_length = meta.clone();
    wrong_length[8..12].copy_from_slice(&10u32.to_le_bytes());
    let files = [
        ("no group length", vec![&preamble[..], &meta[12..], &data]),
        ("a wrong group length", vec![&preamble[..], &wrong_length, &data]),
        ("no preamble", vec![&preamble[128..], &meta, &data]),
        ("no preamble and no magic", vec![&meta[..], &data]),
        ("no meta group", vec![&preamble[..], &data]),
        ("neither", vec![&data[..]]),
    ];
    for (what, parts) in files {
        // The format is recognised by content, whatever the file's name.
        for name in ["a.dcm", "a"] {
            let path = folder.path().join(name);
            fs::write(&path, parts.concat()).unwrap();
            assert!(frames(&path) == right, "{what}");
        }
    }
}

/// Writes the slice in another transfer syntax, and returns the offset of its data set.
fn write_as(syntax: &str, path: &Path) -> usize {
    let source = path.with_extension("source");
    Slice::default().write(&source);
    let object = dicom_object::open_file(&source).unwrap().into_inner();
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(syntax)
        .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
        .media_storage_sop_instance_uid("1.2.3.4");
    object.with_meta(meta).unwrap().write_to_file(path).unwrap();
    fs::remove_file(source).unwrap();
    let [preamble, meta, _] = parts(path);
    preamble.len() + meta.len()
}

#[test]
fn the_encoding_that_is_held_counts_not_the_one_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let [explicit, implicit, big] = ["explicit", "implicit", "big"].map(|name| folder.path().join(name));
    let places = [
        write_as(uids::EXPLICIT_VR_LITTLE_ENDIAN, &explicit),
        write_as(uids::IMPLICIT_VR_LITTLE_ENDIAN, &implicit),
        write_as("1.2.840.10008.1.2.2", &big),
    ];
    let right = frames(&explicit);
    let mix = |header: usize, data: usize| {
        let files = [&explicit, &implicit, &big].map(|path| fs::read(path).unwrap());
        let path = folder.path().join("mixed.dcm");
        fs::write(&path, [&files[header][..places[header]], &files[data][places[data]..]].concat()).unwrap();
        path
    };
    for (header, data) in [(0, 0), (1, 1), (2, 2), (0, 1), (1, 0)] {
        assert!(frames(&mix(header, data)) == right, "{header} {data}");
    }
    for (header, data) in [(0, 2), (2, 0), (1, 2), (2, 1)] {
        let message = problem(&mix(header, data));
        assert!(message.contains("other byte order"), "{message}");
    }
}

/// An icon, as some devices put it before the picture.
fn icon(compressed: bool) -> InMemDicomObject {
    let short = |tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [value]));
    let mut icon = InMemDicomObject::from_element_iter([short(tags::ROWS, 8), short(tags::COLUMNS, 8)]);
    if compressed {
        let fragments = dicom_core::value::PixelFragmentSequence::new(vec![], vec![vec![1u8, 2, 3, 4]]);
        icon.put(DataElement::new(tags::PIXEL_DATA, VR::OB, fragments));
    } else {
        icon.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(vec![7u8; 64])));
    }
    icon
}

#[test]
fn pixels_within_a_sequence_are_not_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.dcm");
    Slice::default().write(&path);
    let right = frames(&path);
    for compressed in [false, true] {
        Slice::default().write_with(&path, |object| {
            object.put(DataElement::new(
                tags::ICON_IMAGE_SEQUENCE,
                VR::SQ,
                DataSetSequence::from(vec![icon(compressed)]),
            ));
        });
        assert!(frames(&path) == right, "{compressed}");
    }
}

fn text(tag: Tag, vr: VR, value: &str) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, vr, PrimitiveValue::from(value))
}

#[test]
fn frames_and_rows_that_are_not_announced_are_not_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.dcm");
    let with = |frames: &str, samples: usize| {
        Slice::default().write_with(&path, |object| {
            object.put(text(tags::NUMBER_OF_FRAMES, VR::IS, frames));
            let pixels = PrimitiveValue::U16(vec![500; samples].into());
            object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, pixels));
        });
        path.clone()
    };
    assert_eq!(frames(&with("3", 3 * 256)).len(), 3);
    // Less than a row is padding.
    assert_eq!(frames(&with("1", 256 + 15)).len(), 1);
    for (announced, samples) in [("", 3 * 256), ("2", 3 * 256), ("1", 256 + 16)] {
        let message = problem(&with(announced, samples));
        assert!(
            message.contains("NumberOfFrames") && message.contains("correct what it announces"),
            "{message}"
        );
    }
    let golden = Path::new(GOLDEN).join("dicom_kinds/jpeg_not_announced.dcm");
    let scan = Scan::open(&golden, &ReadOptions::default()).unwrap();
    assert_eq!((scan.info().kind, scan.info().frames), (ScanKind::Clip, Some(3)));
}

#[test]
fn a_narrow_window_that_is_asked_for_is_taken_as_it_is() {
    let path = Path::new(GOLDEN).join("dicom_kinds/window_narrow.dcm");
    let window = Some(Window { center: 0.4565, width: 0.513 });
    let asked = Scan::open(&path, &ReadOptions { window, ..ReadOptions::default() }).unwrap();
    assert!(asked.map(Result::unwrap).collect::<Vec<_>>() == frames(&path));
}

#[test]
fn what_is_not_read_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.dcm");
    let with = |change: &dyn Fn(&mut InMemDicomObject)| {
        Slice::default().write_with(&path, change);
        problem(&path)
    };
    let short = |tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [value]));
    let message = with(&|object| {
        object.take(tags::PIXEL_DATA);
        let pixels = PrimitiveValue::F32(vec![0.5; 256].into());
        object.put(DataElement::new(tags::FLOAT_PIXEL_DATA, VR::OF, pixels));
    });
    assert!(message.contains("floating-point pixels"), "{message}");
    let message = with(&|object| drop(object.put(short(tags::BITS_ALLOCATED, 1))));
    assert!(message.contains("1 bits"), "{message}");
    let message = with(&|object| drop(object.put(short(tags::PIXEL_REPRESENTATION, 2))));
    assert!(message.contains("PixelRepresentation"), "{message}");
    let message = with(&|object| {
        object.put(text(tags::WINDOW_WIDTH, VR::DS, "0"));
    });
    assert!(message.contains("width 0"), "{message}");
    let message = with(&|object| {
        object.put(text(tags::VOILUT_FUNCTION, VR::CS, "CURVE"));
    });
    assert!(message.contains("'CURVE'"), "{message}");
    let message = with(&|object| {
        object.put(short(tags::SAMPLES_PER_PIXEL, 3));
        object.put(short(tags::BITS_ALLOCATED, 8));
        object.put(short(tags::BITS_STORED, 8));
        object.put(short(tags::HIGH_BIT, 7));
        object.put(text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_ICT"));
    });
    assert!(message.contains("transformed as in JPEG 2000"), "{message}");
}

/// A sequence of 8 MB whose items are not needed is skipped.
#[test]
fn nested_sequences_are_stepped_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.dcm");
    Slice::default().write(&path);
    let right = frames(&path);
    let bytes = fs::read(&path).unwrap();
    // Before (0008,0016): a private sequence of 500,000 items.
    let at = bytes.windows(4).position(|w| w == b"\x08\0\x16\0").unwrap();
    let mut sequence = b"\x07\0\x10\x10SQ\0\0\xff\xff\xff\xff".to_vec();
    for _ in 0..500_000 {
        sequence.extend(b"\xfe\xff\0\xe0\x08\0\0\0\x08\0\x16\0UI\0\0");
    }
    sequence.extend(b"\xfe\xff\xdd\xe0\0\0\0\0");
    fs::write(&path, [&bytes[..at], &sequence, &bytes[at..]].concat()).unwrap();
    assert!(frames(&path) == right);
    // A similar sequence that must be read is refused before it fills the memory.
    let mut sequence = b"\x08\0\x15\0SQ\0\0\xff\xff\xff\xff".to_vec();
    sequence[..4].copy_from_slice(b"\x28\0\0\x30");
    for _ in 0..100_000 {
        sequence.extend(b"\xfe\xff\0\xe0\x08\0\0\0\x08\0\x16\0UI\0\0");
    }
    sequence.extend(b"\xfe\xff\xdd\xe0\0\0\0\0");
    fs::write(&path, [&bytes[..at], &sequence, &bytes[at..]].concat()).unwrap();
    assert!(problem(&path).contains("more elements"), "{}", problem(&path));
}

/// Files of the golden folders with compressed pixels.
pub fn compressed() -> Vec<PathBuf> {
    let names = ["dicom/rle_ybr.dcm", "dicom/rle_signed.dcm", "dicom/j2k_signed.dcm", "dicom/jpeg_rgb.dcm"];
    let kinds = ["j2k_lrcp", "j2k_rlcp", "j2k_rpcl", "j2k_pcrl", "j2k_cprl", "jpeg_12", "jpeg_lossless_16"];
    let kinds = kinds.map(|name| format!("dicom_kinds/{name}.dcm"));
    names.map(String::from).into_iter().chain(kinds).map(|name| Path::new(GOLDEN).join(name)).collect()
}

/// A file's bytes, and the start and end of the item that holds its first fragment.
fn fragment(path: &Path) -> (Vec<u8>, usize, usize) {
    let bytes = fs::read(path).unwrap();
    let start = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff";
    let table = bytes.windows(12).position(|window| window == start).unwrap() + 12;
    let length = |at: usize| u32::from_le_bytes(*bytes[at + 4..].first_chunk().unwrap()) as usize;
    let item = table + 8 + length(table);
    (bytes.clone(), item, item + 8 + length(item))
}

/// Writes the file with another first fragment.
fn with_fragment(path: &Path, bytes: &[u8], item: usize, end: usize, fragment: &[u8]) {
    let mut fragment = fragment.to_vec();
    fragment.resize(fragment.len().next_multiple_of(2), 0);
    let length = (fragment.len() as u32).to_le_bytes();
    fs::write(path, [&bytes[..item + 4], &length, &fragment, &bytes[end..]].concat()).unwrap();
}

/// Cuts the first frame's stream at nineteen places and appends its end marker (RLE has none). None of these may be
/// accepted as a picture.
#[test]
fn a_stream_that_is_cut_and_closed_again_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.dcm");
    let mut files = compressed();
    if let Some(data) = super::common::shared("data/dicom") {
        let names = [
            "examples_ybr_color",
            "examples_jpeg2k",
            "US1_J2KI",
            "JPGLosslessP14SV1_1s_1f_8b",
            "OBXXXX1A_rle",
        ];
        files.extend(names.map(|name| data.join(format!("{name}.dcm"))));
    }
    for source in files {
        let (bytes, item, end) = fragment(&source);
        let stream = &bytes[item + 8..end];
        let rle = source.to_string_lossy().contains("rle");
        let j2k = stream.starts_with(&[0xFF, 0x4F]);
        for n in 1..20 {
            let cut = stream.len() * n / 20;
            let mut short = stream[..cut].to_vec();
            if !rle {
                short.extend([0xFF, 0xD9]);
            }
            with_fragment(&path, &bytes, item, end, &short);
            assert!(dicom_samples(&path).is_err(), "{} cut at {n} twentieths", source.display());
            // The length of the last tile-part is corrected.
            let part = short.windows(4).rposition(|window| window == [0xFF, 0x90, 0, 10]);
            if let Some(part) = part.filter(|part| j2k && part + 12 < cut) {
                short[part + 6..part + 10].copy_from_slice(&((cut - part) as u32).to_be_bytes());
                with_fragment(&path, &bytes, item, end, &short);
                assert!(dicom_samples(&path).is_err(), "{} closed at {n} twentieths", source.display());
            }
        }
    }
}

/// Some of fifty changed bytes decode to a picture, because a code-block, an RLE literal or a Huffman code of the
/// same length has no checksum. If the format has structure, some of the changes must be detected.
#[test]
fn changed_bytes_are_seen_where_the_format_can_know() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.dcm");
    for source in compressed() {
        let (bytes, item, end) = fragment(&source);
        let right = dicom_samples(&source).unwrap();
        let mut unseen = 0;
        for n in 0..50 {
            let mut changed = bytes.clone();
            let at = item + 8 + (end - item - 8) * n / 50;
            changed[at] = if n % 2 == 0 { 0 } else { changed[at] ^ 0x10 };
            fs::write(&path, changed).unwrap();
            unseen += usize::from(dicom_samples(&path).is_ok_and(|found| found != right));
        }
        println!("{}: {unseen} of 50 unseen", source.display());
        // RLE hardly compresses noise: nearly all of it is literals.
        let rle = source.to_string_lossy().contains("rle");
        assert!(rle || unseen < 48, "{}: {unseen}", source.display());
    }
}
