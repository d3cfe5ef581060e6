use dicom_core::{DataElement, PrimitiveValue, VR};

use super::*;

/// A table of 16-bit words.
fn lut(descriptor: [i32; 3], data: &[u16], signed: bool) -> Result<Lut, String> {
    let descriptor = descriptor.map(|v| v as u16);
    let item = InMemDicomObject::from_element_iter([
        DataElement::new(tags::LUT_DESCRIPTOR, VR::US, PrimitiveValue::U16(descriptor.as_slice().into())),
        DataElement::new(tags::LUT_DATA, VR::OW, PrimitiveValue::U16(data.into())),
    ]);
    Lut::of(&item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, signed)
}

#[test]
fn values_are_looked_up_and_held_at_the_ends() {
    let found = lut([4, 10, 12], &[0, 100, 2000, 4095], false).unwrap();
    assert_eq!([0, 10, 11, 12, 13, 99].map(|v| found.value(v)), [0, 0, 100, 2000, 4095, 4095]);
    // PS3.3 C.11.2.1.1: the first input value has the signedness of the values looked up.
    let found = lut([3, -1, 8], &[1, 2, 3], true).unwrap();
    assert_eq!([-5, -1, 0, 1].map(|v| found.value(v)), [1, 1, 2, 3]);
    let found = lut([3, -1, 8], &[1, 2, 3], false).unwrap();
    assert_eq!([0, 65535, 65536].map(|v| found.value(v)), [1, 1, 2]);
}

#[test]
fn white_is_that_of_the_bits_that_are_used() {
    let white = |bits, most| lut([2, 0, bits], &[0, most], false).unwrap().white();
    assert_eq!(white(12, 4095), Ok(4095.0));
    assert_eq!(white(12, 2048), Ok(4095.0));
    assert_eq!(white(16, 60000), Ok(65535.0));
    // dcm4che 413, dicom-rs 825: the descriptor states 16 bits, but 12 are used, or 8.
    assert_eq!(white(16, 4095), Ok(4095.0));
    assert_eq!(white(16, 2048), Ok(4095.0));
    assert_eq!(white(16, 255), Ok(255.0));
    assert_eq!(white(14, 4000), Ok(4095.0));
    for (bits, most) in [(16, 5000), (16, 100), (12, 255)] {
        assert!(white(bits, most).unwrap_err().contains("white is not known: give a window"));
    }
    assert!(lut([2, 0, 12], &[0, 4096], false).unwrap_err().contains("12 bits that holds 4096"));
}

#[test]
fn a_table_must_be_whole() {
    assert!(lut([0, 0, 16], &[7, 255], false).is_err());
    assert!(lut([2, 0, 40], &[7, 255], false).is_err());
    // 8-bit entries, packed into words.
    assert_eq!(lut([4, 0, 8], &[0x0201, 0x0403], false).unwrap().data, [1, 2, 3, 4]);
}

#[test]
fn a_palette_is_mislabelled_only_as_a_whole() {
    let palette = |most: [u16; 3]| {
        let luts = most.map(|most| lut([2, 0, 16], &[0, most], false).unwrap());
        in_bytes(luts).map(|lut| lut.data[1])
    };
    assert_eq!(palette([0xFFFF, 0x8000, 0x0700]), [255, 128, 7]);
    // Blue is almost black.
    assert_eq!(palette([0xFFFF, 0x8000, 200]), [255, 128, 0]);
    assert_eq!(palette([255, 128, 7]), [255, 128, 7]);
}

#[test]
fn segments_are_expanded() {
    // PS3.3 C.7.9.2: discrete, linear and indirect segments. The data is made up; pydicom 3.0.2's
    // `_expand_segmented_lut` gives the same result.
    let words = [0, 2, 10, 20, 1, 5, 45, 0, 1, 7, 2, 2, 0, 0];
    let whole = [10, 20, 25, 30, 35, 40, 45, 7, 10, 20, 25, 30, 35, 40, 45];
    assert_eq!(expand(&words, 2, 15).as_deref(), Some(whole.as_slice()));
    assert_eq!(expand(&[0, 1, 0, 1, 4, 2], 2, 5), Some(vec![0, 0, 1, 2, 2]));
    let bytes = [0, 2, 10, 20, 2, 1, 0, 0, 0, 0, 0];
    assert_eq!(expand(&bytes, 1, 4), Some(vec![10, 20, 10, 20]));
    for wrong in [&words[..13], &[1, 5, 45], &[2, 1, 0, 0], &[3, 1, 0], &[0, 16]] {
        assert_eq!(expand(wrong, 2, 15), None, "{wrong:?}");
    }
    assert_eq!(expand(&words, 2, 14), None);
}
