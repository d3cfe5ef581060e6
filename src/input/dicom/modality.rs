//! Modalities on which frozen DINOv3 features are known to fail.
//!
//! arXiv 2509.06467 reports that the features are strong on X-ray, CT, MR and ultrasound, but fail on whole-slide
//! pathology, electron microscopy and PET. Electron microscopy is not a DICOM modality; the other two are recognised by
//! their modality and SOP class.

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::attributes::string;

/// SOP classes of whole-slide images and PET, for files with a different modality.
const SLIDES: [&str; 2] =
    [uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE, uids::VL_SLIDE_COORDINATES_MICROSCOPIC_IMAGE_STORAGE];
const PET: [&str; 3] = [
    uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE,
    uids::ENHANCED_PET_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_PET_IMAGE_STORAGE,
];

/// Why a file of this kind is refused; `None` if it is not.
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
