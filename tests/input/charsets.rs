//! Text of DICOM in each character set of PS3.3 C.12.1.1.2, as Python's codecs encode it, and bytes that are no text. The
//! crate `encoding`, which decodes it below dicom-rs, is not maintained (packaging/anomalies.toml).

use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use microraptor::input::{Image, InputError, ReadOptions, Scan};

use super::common::Slice;

/// Specific Character Set, bytes, text.
#[rustfmt::skip]
const TEXTS: [(&str, &[u8], &str); 13] = [
    ("ISO_IR 100", b"\xc4neas^R\xfcdiger", "Äneas^Rüdiger"),
    ("ISO_IR 101", b"\xa3o\xb6^\xafaneta", "Łoś^Żaneta"),
    ("ISO_IR 144", b"\xbb\xee\xdace\xdc\xd1yp\xd3", "Люкceмбypг"),
    ("ISO_IR 126", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
    ("ISO_IR 127", b"\xe2\xc8\xc7\xe6\xea^\xe6\xd2\xc7\xd1", "قباني^نزار"),
    ("ISO_IR 138", b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
    ("ISO_IR 166", b"\xca\xc1\xaa\xd2\xc2", "สมชาย"),
    ("ISO_IR 149", b"\xb1\xe8^\xc8\xf1\xc1\xdf", "김^희중"),
    ("ISO_IR 13", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    ("ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "山田^太郎"),
    ("GB18030", b"\xcd\xf5^\xd0\xa1\xb6\xab", "王^小东"),
    ("GBK", b"\xcd\xf5^\xd0\xa1\xb6\xab", "王^小东"),
    ("ISO_IR 192", "王^小東".as_bytes(), "王^小東"),
];

/// Writes a slice whose texts of every kind are these bytes.
fn write(path: &Path, set: &str, bytes: &[u8]) {
    let mut even = bytes.to_vec();
    even.resize(bytes.len().next_multiple_of(2), b' ');
    Slice::default().write_with(path, |object| {
        object.put(DataElement::new(tags::SPECIFIC_CHARACTER_SET, VR::CS, PrimitiveValue::from(set)));
        for (tag, vr) in [
            (tags::PATIENT_NAME, VR::PN),
            (tags::INSTITUTION_NAME, VR::LO),
            (tags::STATION_NAME, VR::SH),
            (tags::INSTITUTION_ADDRESS, VR::ST),
            (tags::ADDITIONAL_PATIENT_HISTORY, VR::LT),
            (tags::LONG_CODE_VALUE, VR::UC),
            (tags::TEXT_VALUE, VR::UT),
        ] {
            object.put(DataElement::new(tag, vr, PrimitiveValue::U8(even.clone().into())));
        }
    });
}

fn read(path: &Path) -> Result<(Option<String>, Vec<Image>), InputError> {
    let scan = Scan::open(path, &ReadOptions::default())?;
    let name = scan.info().identifiers.as_ref().and_then(|identifiers| identifiers.patient_name.clone());
    Ok((name, scan.collect::<Result<_, _>>()?))
}

#[test]
fn names_are_those_of_other_decoders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.dcm");
    for (set, bytes, text) in TEXTS {
        write(&path, set, bytes);
        let (name, _) = read(&path).unwrap();
        assert_eq!(name.as_deref().map(str::trim_end), Some(text), "{set}");
    }
}

#[test]
fn text_of_every_character_set_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.dcm");
    Slice::default().write(&path);
    let right = read(&path).unwrap().1;
    let mut state = 1u64;
    let mut random = || {
        // Knuth's MMIX generator: any would do, as long as it is the same each time.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    // No set, sets that do not exist, and several, by escape sequences.
    let others = ["", "ISO_IR 999", "\\ISO 2022 IR 87\\ISO 2022 IR 149", "ISO 2022 IR 58"];
    let mut whole = 0;
    for set in TEXTS.iter().map(|(set, ..)| *set).chain(others) {
        for length in [1, 2, 3, 7, 64, 1000, 4096] {
            for _ in 0..4 {
                // Every other one begins with a change to Kanji or Hangul, which changes how all that follows is read.
                let mut bytes: Vec<u8> = (0..length).map(|_| random()).collect();
                if random() % 2 == 0 {
                    bytes.splice(..0, if random() % 2 == 0 { *b"\x1b$B" } else { *b"\x1b$)" });
                }
                write(&path, set, &bytes);
                match read(&path) {
                    Ok((_, frames)) => {
                        assert_eq!(frames, right, "{set}: text changes the pixels");
                        whole += 1;
                    }
                    Err(problem) => {
                        let message = problem.to_string();
                        assert!(message.contains("slice.dcm") && !message.contains('\n'), "{set}: {message}");
                        assert!(!message.contains("decoder gave up"), "{set}: a decoder panicked");
                    }
                }
            }
        }
    }
    assert!(whole > 100, "{whole}");
}
