//! Recognises DICOM files, including those without the magic of PS3.10.
//!
//! PACS exports and old devices omit the preamble, or the preamble and the whole file meta group (pydicom reads such
//! files with `force=True`). A data set begins with group 0008, in which only a few elements can come first.

/// Value representations (PS3.5 6.2).
const REPRESENTATIONS: [[u8; 2]; 34] = [
    *b"AE", *b"AS", *b"AT", *b"CS", *b"DA", *b"DS", *b"DT", *b"FD", *b"FL", *b"IS", *b"LO", *b"LT", *b"OB",
    *b"OD", *b"OF", *b"OL", *b"OV", *b"OW", *b"PN", *b"SH", *b"SL", *b"SQ", *b"SS", *b"ST", *b"SV", *b"TM",
    *b"UC", *b"UI", *b"UL", *b"UN", *b"UR", *b"US", *b"UT", *b"UV",
];

/// Possible first elements of a data set: the group length, and those up to the SOP Instance UID.
const FIRST_ELEMENTS: [u16; 13] =
    [0x0000, 0x0001, 0x0005, 0x0006, 0x0008, 0x0012, 0x0013, 0x0014, 0x0015, 0x0016, 0x0017, 0x0018, 0x0020];

/// Maximum length of a value of [`FIRST_ELEMENTS`]: ImageType and UIDs stay below 200 bytes.
const LONGEST_FIRST: u32 = 1024;

/// Whether the first two bytes are a value representation.
pub(super) fn is_representation(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|vr| REPRESENTATIONS.contains(vr))
}

/// Whether a file that begins with `start` is DICOM, judging by the magic or the first element.
pub(super) fn is_dicom(start: &[u8]) -> bool {
    start.get(128..132) == Some(b"DICM") || start.starts_with(b"DICM") || is_data_set(start)
}

/// Whether the bytes begin with the first element of a data set or of a file meta group, in any uncompressed encoding.
pub(super) fn is_data_set(start: &[u8]) -> bool {
    let Some(&[g0, g1, e0, e1, v0, v1, l0, l1]) = start.first_chunk() else { return false };
    let explicit = is_representation(&[v0, v1]);
    let first = |group: u16, element: u16| group == 8 && FIRST_ELEMENTS.contains(&element);
    let little = first(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
    let big = first(u16::from_be_bytes([g0, g1]), u16::from_be_bytes([e0, e1]));
    let length = u32::from_le_bytes([v0, v1, l0, l1]);
    let meta = [g0, g1, e1] == [2, 0, 0] && e0 <= 0x10;
    explicit && (little || big || meta) || little && (2..=LONGEST_FIRST).contains(&length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_without_magic_is_known_by_its_first_element() {
        // ImageType: explicit, implicit, big-endian; group length; file meta without a preamble.
        assert!(is_dicom(b"\x08\0\x08\0CS\x10\0ORIGINAL\\PRIMARY"));
        assert!(is_dicom(b"\x08\0\x08\0\x10\0\0\0ORIGINAL\\PRIMARY"));
        assert!(is_dicom(b"\0\x08\0\x08CS\0\x10ORIGINAL\\PRIMARY"));
        assert!(is_dicom(b"\x08\0\0\0UL\x04\0\x40\0\0\0"));
        assert!(is_dicom(b"\x02\0\0\0UL\x04\0\x40\0\0\0"));
        assert!(is_dicom(b"DICM\x02\0\0\0UL\x04\0"));
        for other in
            [&b"\x89PNG\r\n\x1a\n"[..], b"\xff\xd8\xff\xe0\0\x10JF", b"BM\x36\0\0\0\0\0", b"", &[0; 132]]
        {
            assert!(!is_dicom(other), "{other:?}");
        }
    }
}
