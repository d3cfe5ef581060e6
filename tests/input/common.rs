//! Shared by the tests: where data is stored, and DICOM files with given attributes.

use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

pub use super::support::shared;

pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The files of one part of a golden table, with the expectations for each.
pub fn expected(table: &str, part: &str) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(format!("{GOLDEN}/{table}")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all[part].as_object().unwrap().clone().into_iter().collect()
}

/// A slice of 16 x 16 px with 16 bits and a constant value, except for the first pixel, which is 0.
#[derive(Clone)]
pub struct Slice {
    pub modality: &'static str,
    pub class: &'static str,
    pub series: &'static str,
    pub value: u16,
    pub z: f64,
    pub orientation: [f64; 6],
    pub spacing: f64,
    pub columns: u16,
    pub window: Option<(f64, f64)>,
    pub padding: Option<u16>,
}

impl Default for Slice {
    fn default() -> Slice {
        Slice {
            modality: "CT",
            class: uids::CT_IMAGE_STORAGE,
            series: "1.2.3",
            value: 1000,
            z: 0.0,
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            spacing: 0.5,
            columns: 16,
            window: Some((1000.0, 2000.0)),
            padding: None,
        }
    }
}

impl Slice {
    pub fn write(&self, path: &Path) {
        self.write_with(path, |_| {});
    }

    /// Writes the slice after a last change.
    pub fn write_with(&self, path: &Path, change: impl FnOnce(&mut InMemDicomObject)) {
        let mut object = self.object();
        change(&mut object);
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .media_storage_sop_class_uid(self.class)
            .media_storage_sop_instance_uid("1.2.3.4");
        object.with_meta(meta).unwrap().write_to_file(path).unwrap();
    }

    fn object(&self) -> InMemDicomObject {
        let numbers = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join("\\");
        let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
        let short = |tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [value]));
        let mut pixels = vec![self.value; 16 * usize::from(self.columns)];
        pixels[0] = 0;
        let mut object = InMemDicomObject::from_element_iter([
            text(tags::SOP_CLASS_UID, VR::UI, self.class),
            text(tags::SOP_INSTANCE_UID, VR::UI, &format!("1.2.3.{}", (self.z * 100.0) as u32)),
            text(tags::STUDY_DATE, VR::DA, "20260102"),
            text(tags::MODALITY, VR::CS, self.modality),
            text(tags::PATIENT_NAME, VR::PN, "Doe^Jane"),
            text(tags::PATIENT_ID, VR::LO, "4711"),
            text(tags::SERIES_INSTANCE_UID, VR::UI, self.series),
            text(tags::IMAGE_POSITION_PATIENT, VR::DS, &numbers(&[-4.0, -4.0, self.z])),
            text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &numbers(&self.orientation)),
            text(tags::PIXEL_SPACING, VR::DS, &numbers(&[self.spacing, self.spacing])),
            short(tags::SAMPLES_PER_PIXEL, 1),
            text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
            short(tags::ROWS, 16),
            short(tags::COLUMNS, self.columns),
            short(tags::BITS_ALLOCATED, 16),
            short(tags::BITS_STORED, 16),
            short(tags::HIGH_BIT, 15),
            short(tags::PIXEL_REPRESENTATION, 0),
            DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())),
        ]);
        if let Some((center, width)) = self.window {
            object.put(text(tags::WINDOW_CENTER, VR::DS, &center.to_string()));
            object.put(text(tags::WINDOW_WIDTH, VR::DS, &width.to_string()));
        }
        if let Some(padding) = self.padding {
            object.put(short(tags::PIXEL_PADDING_VALUE, padding));
        }
        object
    }
}
