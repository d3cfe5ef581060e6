//! Asks an archive whether it has an object (C-FIND: PS3.7, 9.1.2; PS3.4, C.6.2).

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::{FileDicomObject, InMemDicomObject};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::classes::trimmed;
use super::connection::chain;
use crate::guarded::guarded;

/// Statuses of an answer after which others follow (PS3.4, C.4.1.1.4).
pub(super) const PENDING: [u16; 2] = [0xFF00, 0xFF01];

/// The unique keys of an object, which together name it at the level of images.
const KEYS: [Tag; 3] = [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID];

/// What is asked of an archive to find `object`, in the transfer syntax `syntax`.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn identifier(
    object: &FileDicomObject<InMemDicomObject>,
    syntax: &str,
) -> Result<Vec<u8>, String> {
    let mut asked = InMemDicomObject::new_empty();
    asked.put(DataElement::new(tags::QUERY_RETRIEVE_LEVEL, VR::CS, PrimitiveValue::from("IMAGE")));
    for tag in KEYS {
        let value = object.element(tag).map_err(|error| chain(&error))?;
        let text = value.to_str().map_err(|error| chain(&error))?;
        asked.put(DataElement::new(tag, VR::UI, PrimitiveValue::from(trimmed(&text))));
    }
    let known =
        TransferSyntaxRegistry.get(syntax).ok_or_else(|| format!("unknown transfer syntax {syntax}"))?;
    let mut bytes = Vec::new();
    asked.write_dataset_with_ts(&mut bytes, known).map_err(|error| chain(&error))?;
    Ok(bytes)
}

/// Whether an answer of an archive, in the transfer syntax `syntax`, is about the object `uid`: some archives answer with
/// more than was asked for.
pub(super) fn names(answer: &[u8], syntax: &str, uid: &str) -> bool {
    let Some(known) = TransferSyntaxRegistry.get(syntax) else { return false };
    let read = || InMemDicomObject::read_dataset_with_ts(answer, known).map_err(|error| chain(&error));
    let found = guarded(read, str::to_owned);
    let named = found.ok().and_then(|object| {
        let element = object.get(tags::SOP_INSTANCE_UID)?.to_str().ok()?;
        Some(trimmed(&element).to_owned())
    });
    named.as_deref() == Some(uid)
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;
    use dicom_object::FileMetaTableBuilder;

    use super::*;

    #[test]
    fn an_answer_names_the_object_that_was_asked_for() {
        let mut object = InMemDicomObject::new_empty();
        for (tag, uid) in KEYS.into_iter().zip(["1.2.1", "1.2.2", "1.2.3"]) {
            object.put(DataElement::new(tag, VR::UI, PrimitiveValue::from(uid)));
        }
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(uids::SEGMENTATION_STORAGE)
            .media_storage_sop_instance_uid("1.2.3")
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let file = object.with_meta(meta).unwrap();
        for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN] {
            let asked = identifier(&file, syntax).unwrap();
            assert!(names(&asked, syntax, "1.2.3"));
            assert!(!names(&asked, syntax, "1.2.2"));
            assert!(!names(&asked[..asked.len() - 1], syntax, "1.2.3"));
            assert!(!names(b"", syntax, ""));
        }
        assert!(!names(&[0xFF; 64], uids::IMPLICIT_VR_LITTLE_ENDIAN, "1.2.3"));
        assert!(identifier(&file, "1.2.3").is_err());
    }
}
