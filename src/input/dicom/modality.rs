//! Modalities on which frozen DINOv3 features are known to fail.
//!
//! arXiv 2509.06467 finds them strong on X-ray, CT, MR and ultrasound, but failing on whole-slide pathology, electron
//! microscopy and PET. The second is no DICOM modality; the others are known by their modality and SOP class.

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::attributes::string;

/// SOP classes of slides and PET, for files whose modality says something else.
const SLIDES: [&str; 2] =
    [uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE, uids::VL_SLIDE_COORDINATES_MICROSCOPIC_IMAGE_STORAGE];
const PET: [&str; 3] = [
    uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE,
    uids::ENHANCED_PET_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_PET_IMAGE_STORAGE,
];

/// Why a file of this kind is refused; none if it is not.
pub(super) fn caution(object: &InMemDicomObject) -> Option<String> {
    let modality = string(object, tags::MODALITY).unwrap_or_default();
    let class = string(object, tags::SOP_CLASS_UID).unwrap_or_default();
    let is = |code: &str, classes: &[&str]| modality == code || classes.contains(&class.as_str());
    let kind = if is("SM", &SLIDES) {
        "whole-slide microscopy (SM)"
    } else if is("PT", &PET) {
        "PET (PT)"
    } else {
        return None;
    };
    Some(format!("is {kind}, on which DINOv3 features were found to fail (arXiv 2509.06467)"))
}
