//! Whether the pixels may show text, such as the patient's name.

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::attributes::string;

/// SOP classes of screenshots, scanned paper, photographs and video, whatever their modality is.
const CAPTURES: [&str; 10] = [
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_SINGLE_BIT_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_BYTE_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::VIDEO_ENDOSCOPIC_IMAGE_STORAGE,
    uids::VIDEO_MICROSCOPIC_IMAGE_STORAGE,
    uids::VIDEO_PHOTOGRAPHIC_IMAGE_STORAGE,
    uids::VL_PHOTOGRAPHIC_IMAGE_STORAGE,
    uids::RT_IMAGE_STORAGE,
];

/// SOP classes of images that a scanner computes and writes no text on.
const COMPUTED: [&str; 8] = [
    uids::CT_IMAGE_STORAGE,
    uids::ENHANCED_CT_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE,
    uids::MR_IMAGE_STORAGE,
    uids::ENHANCED_MR_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_MR_IMAGE_STORAGE,
    uids::ENHANCED_MR_COLOR_IMAGE_STORAGE,
    uids::MR_SPECTROSCOPY_STORAGE,
];

/// Values of ImageType (0008,0008) that vendors use for screenshots: reports, dose sheets, localisers with lines.
const SCREENS: [&str; 7] =
    ["SCREEN SAVE", "SCREENSAVE", "SCREEN", "SECONDARY CAPTURE", "REPORT", "PROTOCOL", "GRAPHIC"];

/// Whether the pixels may show text. They are assumed to, unless BurnedInAnnotation (0028,0301) is NO, or it is absent
/// and the file is a CT or MR image as the scanner computes it. A CT or MR image that is a derived secondary image, was
/// converted from a workstation or film (ConversionType) or is in colour is often a screenshot, so it may show text.
pub(super) fn may_show_text(object: &InMemDicomObject) -> bool {
    let text = |tag| string(object, tag).map(|text| text.to_uppercase());
    // Recognisable facial features are another reason to check the image (PS3.3 C.7.6.1.1.5). They are not text, but a
    // file that declares them was not de-identified.
    if text(tags::RECOGNIZABLE_VISUAL_FEATURES).as_deref() == Some("YES") {
        return true;
    }
    match text(tags::BURNED_IN_ANNOTATION).as_deref() {
        Some("NO") => return false,
        None => {}
        Some(_) => return true,
    }
    let class = string(object, tags::SOP_CLASS_UID).unwrap_or_default();
    let modality = text(tags::MODALITY).unwrap_or_default();
    if !matches!(modality.as_str(), "CT" | "MR") || CAPTURES.contains(&class.as_str()) {
        return true;
    }
    let kind = text(tags::IMAGE_TYPE).unwrap_or_default();
    let parts: Vec<&str> = kind.split('\\').map(str::trim).collect();
    let screen = parts.iter().any(|part| SCREENS.contains(part));
    let secondary = parts.first() == Some(&"DERIVED") && parts.get(1) == Some(&"SECONDARY");
    // A SOP class in neither list is treated as a capture; a file without a SOP class is not.
    let computed = class.is_empty() || COMPUTED.contains(&class.as_str());
    let converted = string(object, tags::CONVERSION_TYPE).is_some();
    let colour = string(object, tags::PHOTOMETRIC_INTERPRETATION)
        .is_some_and(|photometric| !photometric.starts_with("MONOCHROME"));
    !computed || screen || secondary && !reformatted(&parts) || converted || colour
}

/// Whether the ImageType of a derived image states that it was computed from other images: a reformation, a projection
/// or a map.
fn reformatted(parts: &[&str]) -> bool {
    const KINDS: [&str; 10] = [
        "MPR",
        "REFORMATTED",
        "PROJECTION IMAGE",
        "MIP",
        "MINIP",
        "AVERAGE",
        "ADC",
        "FA",
        "TRACEW",
        "SUBTRACTION",
    ];
    parts.iter().any(|part| KINDS.contains(part))
}

#[cfg(test)]
mod tests {
    use dicom_core::{DataElement, PrimitiveValue, VR};

    use super::*;

    /// Whether a CT image of the SOP class `class` with the additional attributes `more` may show text.
    fn ct(class: &str, more: &[(dicom_core::Tag, &str)]) -> bool {
        let text = |tag, value: &str| DataElement::new(tag, VR::CS, PrimitiveValue::from(value));
        let mut object = InMemDicomObject::from_element_iter([
            text(tags::MODALITY, "CT"),
            text(tags::SOP_CLASS_UID, class),
            text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2"),
        ]);
        for &(tag, value) in more {
            object.put(text(tag, value));
        }
        may_show_text(&object)
    }

    #[test]
    fn captures_of_ct_and_mr_are_treated_as_ultrasound_is() {
        let image = uids::CT_IMAGE_STORAGE;
        assert!(!ct(image, &[]));
        assert!(!ct(image, &[(tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\AXIAL")]));
        assert!(!ct(image, &[(tags::IMAGE_TYPE, "DERIVED\\SECONDARY\\MPR")]));
        assert!(ct(image, &[(tags::BURNED_IN_ANNOTATION, "YES")]));
        assert!(ct(image, &[(tags::IMAGE_TYPE, "DERIVED\\SECONDARY")]));
        assert!(ct(image, &[(tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\SCREEN SAVE")]));
        assert!(ct(image, &[(tags::CONVERSION_TYPE, "WSD")]));
        assert!(ct(image, &[(tags::PHOTOMETRIC_INTERPRETATION, "RGB")]));
        assert!(ct(
            image,
            &[(tags::RECOGNIZABLE_VISUAL_FEATURES, "YES"), (tags::BURNED_IN_ANNOTATION, "NO")]
        ));
        assert!(ct(image, &[(tags::MODALITY, "US")]));
        let capture = uids::SECONDARY_CAPTURE_IMAGE_STORAGE;
        assert!(ct(capture, &[]));
        assert!(!ct(capture, &[(tags::BURNED_IN_ANNOTATION, "NO")]));
        assert!(ct(uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE, &[]));
    }
}
