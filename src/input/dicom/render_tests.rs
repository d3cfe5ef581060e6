use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};

use super::*;

fn layout(stored: u32, signed: bool) -> Layout {
    Layout { rows: 1, columns: 4, allocated: 16, stored, high: stored - 1, signed, ..Layout::grey() }
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
fn a_window_fills_the_table() {
    let voi = Voi::Function(Function::Linear, Window { center: 2048.0, width: 4096.0 });
    let rescale = |slope, intercept| Modality::Rescale { slope, intercept };
    let table = table(&layout(12, false), rescale(1.0, 0.0), &voi, [0.0, 1.0], false);
    assert_eq!((table[0], table[1365], table[4095], table.len()), (0, 21845, 65535, 4096));
    let rescaled = super::table(&layout(12, false), rescale(2.0, -2048.0), &voi, [0.0, 1.0], true);
    assert_eq!((rescaled[0], rescaled[1024], rescaled[4095]), (65535, 65535, 0));
}

/// A table of 16-bit words.
fn lut(descriptor: [u16; 3], data: &[u16]) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        DataElement::new(tags::LUT_DESCRIPTOR, VR::US, PrimitiveValue::U16(descriptor.as_slice().into())),
        DataElement::new(tags::LUT_DATA, VR::OW, PrimitiveValue::U16(data.into())),
    ])
}

fn grey(object: &InMemDicomObject, layout: &Layout, window: Option<Window>) -> Result<Grey, String> {
    match Rendering::of(object, layout, window)? {
        Rendering::Grey(grey) => Ok(grey),
        _ => panic!("no grey"),
    }
}

#[test]
fn modality_and_voi_luts_are_looked_up_in_turn() {
    let mut object = InMemDicomObject::new_empty();
    object.put(DataElement::new(
        tags::MODALITY_LUT_SEQUENCE,
        VR::SQ,
        DataSetSequence::from(vec![lut([3, 0, 16], &[10, 11, 12])]),
    ));
    object.put(DataElement::new(
        tags::VOILUT_SEQUENCE,
        VR::SQ,
        DataSetSequence::from(vec![lut([4, 10, 12], &[0, 100, 2000, 4095])]),
    ));
    let layout = layout(8, false);
    let grey = grey(&object, &layout, None).unwrap();
    let (modality, voi) = grey.voi(&object, &layout, 0).unwrap();
    let table = table(&layout, modality, &voi, [0.0, 1.0], false);
    // 100 and 2000 of 4095, scaled to 65535.
    assert_eq!((table[0], table[1], table[2], table[200]), (0, 1600, 32007, 32007));

    let text = |tag, value: &str| DataElement::new(tag, VR::DS, PrimitiveValue::from(value));
    object.put(text(tags::RESCALE_SLOPE, "2"));
    assert!(grey.voi(&object, &layout, 0).err().unwrap().contains("both a modality LUT and a rescale"));
    object.put(text(tags::RESCALE_SLOPE, "0"));
    assert!(grey.voi(&object, &layout, 0).err().unwrap().contains("RescaleSlope of 0"));
    object.put(text(tags::RESCALE_SLOPE, "one"));
    assert!(grey.voi(&object, &layout, 0).err().unwrap().contains("no number"));
}

#[test]
fn a_window_that_shows_nothing_is_refused() {
    let text = |tag, value: &str| DataElement::new(tag, VR::DS, PrimitiveValue::from(value));
    let voi = |center: &str, width: &str, window| {
        let object = InMemDicomObject::from_element_iter([
            text(tags::WINDOW_CENTER, center),
            text(tags::WINDOW_WIDTH, width),
        ]);
        let grey = grey(&object, &layout(12, false), window).unwrap();
        grey.voi(&object, &layout(12, false), 0).map(|(_, voi)| matches!(voi, Voi::Function(..)))
    };
    assert_eq!(voi("10", "20", None), Ok(true));
    assert_eq!(voi("", "", None), Ok(false));
    assert!(voi("10", "0", None).unwrap_err().contains("width 0"));
    assert!(voi("10", "", None).unwrap_err().contains("only one of"));
    assert!(voi("10", "wide", None).unwrap_err().contains("no number"));
    assert_eq!(voi("10", "0", Some(Window { center: 1.0, width: 2.0 })), Ok(true));
}

#[test]
fn padding_is_a_value_or_a_range_of_the_samples_type() {
    let found = |vr, value: PrimitiveValue, limit: Option<PrimitiveValue>, signed| {
        let mut object =
            InMemDicomObject::from_element_iter([DataElement::new(tags::PIXEL_PADDING_VALUE, vr, value)]);
        if let Some(limit) = limit {
            object.put(DataElement::new(tags::PIXEL_PADDING_RANGE_LIMIT, vr, limit));
        }
        padding(&object, &layout(16, signed)).unwrap()
    };
    assert_eq!(found(VR::US, dicom_value!(U16, [63536]), None, true), Some([-2000, -2000]));
    assert_eq!(
        found(VR::SS, dicom_value!(I16, [-2000]), Some(dicom_value!(I16, [-1500])), true),
        Some([-2000, -1500])
    );
    assert_eq!(
        found(VR::US, dicom_value!(U16, [65535]), Some(dicom_value!(U16, [65000])), false),
        Some([65000, 65535])
    );
    assert_eq!(padding(&InMemDicomObject::new_empty(), &layout(16, true)), Ok(None));
}

#[test]
fn what_is_shown_by_colours_or_contradicts_itself_is_refused() {
    let of = |tag, value: &str, photometric| {
        let object =
            InMemDicomObject::from_element_iter([DataElement::new(tag, VR::CS, PrimitiveValue::from(value))]);
        grey(&object, &Layout { photometric, ..layout(12, false) }, None).err()
    };
    let two = Photometric::Monochrome2;
    assert!(of(tags::PIXEL_PRESENTATION, "MIXED", two).unwrap().contains("supplemental palette"));
    assert_eq!(of(tags::PIXEL_PRESENTATION, "MONOCHROME", two), None);
    assert!(of(tags::PRESENTATION_LUT_SHAPE, "INVERSE", two).unwrap().contains("MONOCHROME2"));
    assert_eq!(of(tags::PRESENTATION_LUT_SHAPE, "INVERSE", Photometric::Monochrome1), None);
    assert_eq!(of(tags::PRESENTATION_LUT_SHAPE, "IDENTITY", two), None);
}

#[test]
fn planes_and_chroma_become_rgb() {
    let layout = Layout { samples: 3, allocated: 8, columns: 2, ..layout(8, false) };
    let samples = |bytes: &[u8], planar, photometric| Samples { bytes: bytes.to_vec(), planar, photometric };
    let found = rgb(&layout, samples(&[1, 2, 3, 4, 5, 6], true, Photometric::Rgb));
    assert_eq!(found, [1, 3, 5, 2, 4, 6]);
    // Y, Y, Cb, Cr; full-range red is 76, 85, 255 (JFIF 1.02).
    let found = rgb(&layout, samples(&[76, 0, 85, 255], false, Photometric::YbrFull422));
    assert_eq!(found, [254, 0, 0, 178, 0, 0]);
}
