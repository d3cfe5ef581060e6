//! Builds data sets attribute by attribute.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::Code;

/// A data set or sequence item under construction.
#[derive(Clone)]
pub(super) struct Item(pub InMemDicomObject);

impl Item {
    pub fn new() -> Item {
        Item(InMemDicomObject::new_empty())
    }

    /// Adds an attribute; text must fit its VR ([`limited`]).
    pub fn with(mut self, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) -> Item {
        self.0.put(DataElement::new(tag, vr, value.into()));
        self
    }

    /// Adds an empty attribute.
    pub fn empty(self, tag: Tag, vr: VR) -> Item {
        self.with(tag, vr, PrimitiveValue::Empty)
    }

    /// Adds a sequence.
    pub fn items(mut self, tag: Tag, items: impl IntoIterator<Item = Item>) -> Item {
        let items: Vec<_> = items.into_iter().map(|item| item.0).collect();
        self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        self
    }

    /// Adds a sequence that holds one code.
    pub fn code(self, tag: Tag, code: &Code) -> Item {
        self.items(tag, [code.item()])
    }
}

impl Code {
    /// The attributes of a code (PS3.3, 8.8).
    pub(super) fn item(&self) -> Item {
        // A code of more than 16 characters needs a different attribute.
        let (tag, vr) = match self.value.chars().count() {
            0..=16 => (tags::CODE_VALUE, VR::SH),
            _ => (tags::LONG_CODE_VALUE, VR::UC),
        };
        Item::new()
            .with(tag, vr, limited(&self.value, usize::MAX))
            .with(tags::CODING_SCHEME_DESIGNATOR, VR::SH, limited(&self.scheme, 16))
            .with(tags::CODE_MEANING, VR::LO, limited(&self.meaning, 64))
    }
}

/// Text for a VR of at most `length` characters. Backslashes, which would separate values (PS3.5, 6.1.3), and control
/// characters, which are not allowed, are replaced.
pub(super) fn limited(text: &str, length: usize) -> String {
    let clean = |c: char| match c {
        '\\' => '/',
        c if c.is_control() => ' ',
        c => c,
    };
    let text: String = text.trim().chars().map(clean).take(length).collect();
    text.trim_end().to_owned()
}

/// A number in at most 16 characters (DS, PS3.5, 6.2), rounded to nine digits if the shortest exact form is longer, and
/// whether it was rounded.
pub(super) fn decimal(value: f64) -> (String, bool) {
    let exact = format!("{value}");
    if exact.len() <= 16 { (exact, false) } else { (format!("{value:.8e}"), true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fits_its_vr() {
        assert_eq!(limited(" a\\b\n\u{e9}\u{e9} ", 5), "a/b \u{e9}");
    }

    #[test]
    fn decimals_have_sixteen_characters_at_most() {
        for value in [0.8, -1.0 / 3.0, 1e300 / 7.0, -1e-300 / 7.0, f64::MAX, 12345.0] {
            let (text, rounded) = decimal(value);
            let back: f64 = text.parse().unwrap();
            assert!(text.len() <= 16 && (back == value) != rounded, "{text}");
            assert!((back - value).abs() <= 5e-9 * value.abs(), "{text}");
        }
    }
}
