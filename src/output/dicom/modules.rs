//! Modules that both kinds of object share: patient, study, series, equipment, references.

use std::io;
use std::path::Path;

use chrono::NaiveDateTime;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::FileMetaTableBuilder;

use super::item::{Item, limited};
use super::source::{Instance, Sources};
use super::{Algorithm, PRIVATE_SCHEME};
use crate::files::{Access, Target, write_atomically};
use crate::output::OutputError;

/// Patient and study attributes (PS3.3, C.7.1.1, C.7.2.1, C.7.2.2) copied from the sources, by which an object is filed
/// and the patient identified. The flag states whether the attribute must be present even if empty (type 2).
const COPIED: [(Tag, VR, bool); 14] = [
    (tags::STUDY_DATE, VR::DA, true),
    (tags::STUDY_TIME, VR::TM, true),
    (tags::ACCESSION_NUMBER, VR::SH, true),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN, true),
    (tags::STUDY_DESCRIPTION, VR::LO, false),
    (tags::PATIENT_NAME, VR::PN, true),
    (tags::PATIENT_ID, VR::LO, true),
    (tags::ISSUER_OF_PATIENT_ID, VR::LO, false),
    (tags::PATIENT_BIRTH_DATE, VR::DA, true),
    (tags::PATIENT_SEX, VR::CS, true),
    (tags::PATIENT_AGE, VR::AS, false),
    (tags::PATIENT_IDENTITY_REMOVED, VR::CS, false),
    (tags::DEIDENTIFICATION_METHOD, VR::LO, false),
    (tags::STUDY_ID, VR::SH, true),
];

/// Properties of a new object that do not come from its sources.
pub(super) struct Identity<'a> {
    pub class: &'a str,
    pub uid: &'a str,
    pub series: &'a str,
    pub series_number: &'a str,
    pub modality: &'a str,
    pub description: &'a str,
    pub version: &'a str,
}

/// Creates an object for the patient and study of `sources`; `when` is its creation time.
pub(super) fn object(sources: &Sources, identity: &Identity, when: NaiveDateTime) -> Item {
    let first = sources.first();
    let (date, time) = (when.format("%Y%m%d").to_string(), when.format("%H%M%S").to_string());
    // The source's instance number, to distinguish the objects of several images of a series.
    let number = first.text(tags::INSTANCE_NUMBER).filter(|n| n.parse::<u32>().is_ok() && n.len() <= 9);
    let scheme = Item::new().with(tags::CODING_SCHEME_DESIGNATOR, VR::SH, PRIVATE_SCHEME).with(
        tags::CODING_SCHEME_NAME,
        VR::ST,
        "Names of a head's classes, and Microraptor's own concepts",
    );
    let mut object = Item::new();
    for (tag, vr, required) in COPIED {
        match first.text(tag).and_then(|text| current_form(vr, text)) {
            Some(text) => object = object.with(tag, vr, text),
            None if required => object = object.empty(tag, vr),
            None => {}
        }
    }
    object
        .with(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192")
        .with(tags::INSTANCE_CREATION_DATE, VR::DA, &*date)
        .with(tags::INSTANCE_CREATION_TIME, VR::TM, &*time)
        .with(tags::SOP_CLASS_UID, VR::UI, identity.class)
        .with(tags::SOP_INSTANCE_UID, VR::UI, identity.uid)
        .with(tags::CONTENT_DATE, VR::DA, date)
        .with(tags::CONTENT_TIME, VR::TM, time)
        .with(tags::MODALITY, VR::CS, identity.modality)
        .with(tags::MANUFACTURER, VR::LO, "Microraptor")
        .items(tags::CODING_SCHEME_IDENTIFICATION_SEQUENCE, [scheme])
        .with(tags::SERIES_DESCRIPTION, VR::LO, limited(identity.description, 64))
        .with(tags::MANUFACTURER_MODEL_NAME, VR::LO, "Microraptor")
        .with(tags::DEVICE_SERIAL_NUMBER, VR::LO, "none")
        .with(tags::SOFTWARE_VERSIONS, VR::LO, limited(identity.version, 64))
        .with(tags::STUDY_INSTANCE_UID, VR::UI, &*first.study)
        .with(tags::SERIES_INSTANCE_UID, VR::UI, identity.series)
        .with(tags::SERIES_NUMBER, VR::IS, identity.series_number)
        .with(tags::INSTANCE_NUMBER, VR::IS, number.unwrap_or_else(|| "1".into()))
}

/// Converts dates and times in the form used before 1993, 1997.04.24 and 14:04:38 (PS3.5, 6.2), to the current form;
/// `None` if the text is malformed. Text of other VRs is returned unchanged.
fn current_form(vr: VR, text: String) -> Option<String> {
    let separator = match vr {
        VR::DA => '.',
        VR::TM => ':',
        _ => return Some(text),
    };
    let text = text.replace(separator, "");
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let valid = match vr {
        VR::DA => text.len() == 8 && is_digits(&text),
        _ => match text.split_once('.') {
            Some((whole, fraction)) => {
                whole.len() == 6
                    && (1..=6).contains(&fraction.len())
                    && is_digits(whole)
                    && is_digits(fraction)
            }
            None => matches!(text.len(), 2 | 4 | 6) && is_digits(&text),
        },
    };
    valid.then_some(text)
}

/// A reference to a source instance (PS3.3, 10.8).
pub(super) fn reference(instance: &Instance) -> Item {
    Item::new().with(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &*instance.class).with(
        tags::REFERENCED_SOP_INSTANCE_UID,
        VR::UI,
        &*instance.uid,
    )
}

/// The source instances grouped by series, in order of appearance; `tag` is the sequence that holds the instances.
pub(super) fn referenced_series(sources: &Sources, tag: Tag) -> Vec<Item> {
    let mut series: Vec<(&str, Vec<Item>)> = Vec::new();
    for instance in &sources.instances {
        match series.iter_mut().find(|(uid, _)| *uid == instance.series) {
            Some((_, references)) => references.push(reference(instance)),
            None => series.push((&instance.series, vec![reference(instance)])),
        }
    }
    let item =
        |(uid, references)| Item::new().with(tags::SERIES_INSTANCE_UID, VR::UI, uid).items(tag, references);
    series.into_iter().map(item).collect()
}

/// Writes the object to a file that only its owner can read, because it names the patient.
pub(super) fn write(path: &Path, object: Item) -> Result<(), OutputError> {
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    Ok(write_atomically(Target { path, access: Access::Owner }, |file| {
        let object = object.0.with_meta(meta).map_err(io::Error::other)?;
        object.write_all(file).map_err(io::Error::other)
    })?)
}

/// UIDs of a new series and its object. The series UID is derived from the source study and series and from the
/// algorithms; the object UID also depends on the source instances and on the results.
pub(super) fn new_uids(
    kind: &str,
    sources: &Sources,
    algorithms: &[&Algorithm],
    found: &[u8],
) -> [String; 2] {
    let first = sources.first();
    let makers = algorithms.iter().flat_map(|algorithm| algorithm.identity());
    let mut parts = vec![kind.as_bytes(), first.study.as_bytes(), first.series.as_bytes()];
    parts.extend(makers);
    let series = super::uid::derive(&parts);
    parts.extend(sources.instances.iter().map(|instance| instance.uid.as_bytes()));
    parts.push(found);
    [series, super::uid::derive(&parts)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_dates_are_written_anew_and_wrong_ones_left_out() {
        let form = |vr, text: &str| current_form(vr, text.into());
        for (text, expected) in [
            ("19970424", Some("19970424")),
            ("1997.04.24", Some("19970424")),
            ("1997", None),
            ("24.04.1997 ca", None),
        ] {
            assert_eq!(form(VR::DA, text).as_deref(), expected);
        }
        for (text, expected) in [
            ("14:04:38", Some("140438")),
            ("140438.125", Some("140438.125")),
            ("14", Some("14")),
            ("14.5", None),
            ("140438.", None),
            ("140438x", None),
            ("noon", None),
        ] {
            assert_eq!(form(VR::TM, text).as_deref(), expected, "{text}");
        }
        assert_eq!(form(VR::LO, "a.b:c").as_deref(), Some("a.b:c"));
    }
}
