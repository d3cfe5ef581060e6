use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};

use super::*;

fn layout(stored: u32, signed: bool) -> Layout {
    Layout {
        rows: 1,
        columns: 4,
        frames: 1,
        samples: 1,
        allocated: 16,
        stored,
        high: stored - 1,
        signed,
        planar: false,
        photometric: Photometric::Monochrome2,
    }
}

#[test]
fn stored_bits_are_cut_out_and_signed() {
    let bytes = [0xFF, 0xFF, 0x00, 0x08, 0xFF, 0xF7, 0x01, 0x00];
    assert_eq!(values(&layout(12, true), &bytes).collect::<Vec<_>>(), [-1, -2048, 2047, 1]);
    assert_eq!(values(&layout(12, false), &bytes).collect::<Vec<_>>(), [4095, 2048, 2047, 1]);
    let high = Layout { high: 15, ..layout(12, false) };
    assert_eq!(values(&high, &bytes).collect::<Vec<_>>(), [4095, 128, 3967, 0]);
}

#[test]
fn a_window_is_that_of_the_standard() {
    // PS3.3 C.11.2.1.2.1: centre 2048 and width 4096 map 0 to black and 4095 to white.
    let voi = Voi::Function(VoiLutFunction::Linear, Window { center: 2048.0, width: 4096.0 });
    let table = table(&layout(12, false), Rescale::new(1.0, 0.0), &voi, [0.0, 1.0], false);
    assert_eq!((table[0], table[4095], table.len()), (0, 65535, 4096));
    assert_eq!(table[1365], 21845);
    let rescaled = super::table(&layout(12, false), Rescale::new(2.0, -2048.0), &voi, [0.0, 1.0], true);
    assert_eq!((rescaled[0], rescaled[1024], rescaled[4095]), (65535, 65535, 0));
}

#[test]
fn a_voi_lut_is_looked_up() {
    let item = InMemDicomObject::from_element_iter([
        DataElement::new(tags::LUT_DESCRIPTOR, VR::US, dicom_value!(U16, [4, 10, 12])),
        DataElement::new(tags::LUT_DATA, VR::US, dicom_value!(U16, [0, 100, 2000, 4095])),
    ]);
    let lut = Lut::of(&item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, false).unwrap();
    assert_eq!([0, 10, 11, 12, 13, 99].map(|v| lut.value(v)), [0, 0, 100, 2000, 4095, 4095]);
    let table = table(&layout(8, false), Rescale::new(1.0, 0.0), &Voi::Lut(lut), [0.0, 1.0], false);
    assert_eq!((table[10], table[12], table[200]), (0, 32007, 65535));
}

#[test]
fn palettes_of_8_bits_may_be_packed_or_mislabelled() {
    let lut = |descriptor: [u16; 3], data: PrimitiveValue| {
        let item = InMemDicomObject::from_element_iter([
            DataElement::new(tags::LUT_DESCRIPTOR, VR::US, PrimitiveValue::U16(descriptor.as_slice().into())),
            DataElement::new(tags::LUT_DATA, VR::OW, data),
        ]);
        Lut::of(&item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, false).map(|lut| lut.in_bytes().data)
    };
    assert_eq!(lut([4, 0, 8], dicom_value!(U16, [0x0201, 0x0403])), Ok(vec![1, 2, 3, 4]));
    assert_eq!(lut([2, 0, 16], dicom_value!(U16, [7, 255])), Ok(vec![7, 255]));
    assert_eq!(lut([2, 0, 16], dicom_value!(U16, [0x0700, 0xFFFF])), Ok(vec![7, 255]));
    assert!(lut([0, 0, 16], dicom_value!(U16, [7, 255])).is_err());
    assert!(lut([2, 0, 40], dicom_value!(U16, [7, 255])).is_err());
}

#[test]
fn planes_and_chroma_become_rgb() {
    let layout = Layout { samples: 3, allocated: 8, columns: 2, ..layout(8, false) };
    let samples = |bytes: &[u8], planar, photometric| Samples { bytes: bytes.to_vec(), planar, photometric };
    let found = rgb(&layout, samples(&[1, 2, 3, 4, 5, 6], true, Photometric::Rgb));
    assert_eq!(found, [1, 3, 5, 2, 4, 6]);
    // Y, Y, Cb, Cr of red in full range (JFIF 1.02): 76, 85, 255.
    let found = rgb(&layout, samples(&[76, 0, 85, 255], false, Photometric::YbrFull422));
    assert_eq!(found, [254, 0, 0, 178, 0, 0]);
}
