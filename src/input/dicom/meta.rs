//! The beginning of a file (PS3.10 7.1): preamble, magic and file meta group, each of which may be missing.
//!
//! The group ends after its last element. Its stated length (0002,0000) is not needed, and is absent or wrong in many
//! files.

use std::io::Read;

use dicom_dictionary_std::uids;

use super::bytes::Bytes;
use crate::input::dicom_sniff::{is_data_set, is_representation};

/// Maximum size of the group, in bytes. A group holds a few UIDs and names, and rarely a private block.
const MAX_META: u64 = 1 << 20;

/// TransferSyntaxUID (0002,0010).
const TRANSFER_SYNTAX: u16 = 0x0010;

/// The transfer syntax that a file states, and where its data set begins.
#[derive(Debug, PartialEq)]
pub(super) struct Start {
    pub(super) syntax: Option<String>,
    pub(super) at: u64,
}

impl Start {
    pub(super) fn read(bytes: &Bytes) -> Result<Start, String> {
        let io = |e: std::io::Error| format!("cannot be read ({e}): check the path and its permissions");
        let cut = || "has a damaged file meta group: the file is damaged or cut short".to_string();
        let mut first = Vec::new();
        bytes.reader(0).map_err(io)?.take(132).read_to_end(&mut first).map_err(io)?;
        let mut at = match first.as_slice() {
            [.., b'D', b'I', b'C', b'M'] if first.len() == 132 => 132,
            [b'D', b'I', b'C', b'M', ..] => 4,
            _ if is_data_set(&first) => 0,
            _ => {
                return Err(
                    "is no DICOM file: DICM is missing at byte 128, so it is damaged or another format"
                        .into(),
                );
            }
        };
        let mut group = Vec::new();
        bytes.reader(at).map_err(io)?.take(MAX_META).read_to_end(&mut group).map_err(io)?;
        let mut left = group.as_slice();
        let mut syntax = None;
        while left.starts_with(&[2, 0]) {
            let (number, value, rest) = element(left).ok_or_else(cut)?;
            if number == TRANSFER_SYNTAX {
                let text = String::from_utf8_lossy(value);
                let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
                syntax = (!text.is_empty()).then(|| text.to_owned());
            }
            left = rest;
        }
        at += (group.len() - left.len()) as u64;
        Ok(Start { syntax, at })
    }
}

/// Number and value of the first element, and the bytes after it. The encoding is Explicit VR Little Endian, but some
/// writers omit the VR.
fn element(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let &[_, _, e0, e1, a, b, c, d] = bytes.first_chunk()?;
    let long = matches!(
        &[a, b],
        b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"UC" | b"UN" | b"UR" | b"UT"
    );
    let (header, length) = if long {
        (12, u32::from_le_bytes(*bytes.get(8..12)?.first_chunk()?))
    } else if is_representation(&[a, b]) {
        (8, u16::from_le_bytes([c, d]).into())
    } else {
        (8, u32::from_le_bytes([a, b, c, d]))
    };
    let end = header + length as usize;
    Some((u16::from_le_bytes([e0, e1]), bytes.get(header..end)?, &bytes[end..]))
}

/// Encoding of a data set's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Implicit,
    Explicit,
    BigEndian,
}

impl Encoding {
    /// The encoding of the first element. A VR distinguishes explicit from implicit VR; the group, a small number,
    /// reveals the byte order.
    pub(super) fn found(bytes: &Bytes, at: u64) -> Option<Encoding> {
        let mut first = [0; 6];
        bytes.reader(at).ok()?.read_exact(&mut first).ok()?;
        let big = first[0] == 0 && first[1] != 0;
        Some(match (is_representation(&first[4..]), big) {
            (true, true) => Encoding::BigEndian,
            (true, false) => Encoding::Explicit,
            (false, _) => Encoding::Implicit,
        })
    }

    pub(super) fn uid(self) -> &'static str {
        match self {
            Encoding::Implicit => uids::IMPLICIT_VR_LITTLE_ENDIAN,
            Encoding::Explicit => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            // Retired, but archives hold such files (PS3.5 A.3).
            Encoding::BigEndian => "1.2.840.10008.1.2.2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_group_is_read_without_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let start = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Start::read(&Bytes::File(path.clone()))
        };
        let syntax = b"\x02\0\x10\0UI\x12\x001.2.840.10008.1.2\0";
        let wrong_length = b"\x02\0\0\0UL\x04\0\x01\0\0\0";
        let version = b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01";
        let data = b"\x08\0\x08\0\x10\0\0\0ORIGINAL\\PRIMARY";
        let implicit = |at| Ok(Start { syntax: Some("1.2.840.10008.1.2".into()), at });
        for group in
            [&[wrong_length.as_slice(), version, syntax].concat(), &[version.as_slice(), syntax].concat()]
        {
            let end = group.len() as u64;
            assert_eq!(start(&[group.as_slice(), data].concat()), implicit(end));
            assert_eq!(start(&[b"DICM", group.as_slice(), data].concat()), implicit(end + 4));
            assert_eq!(start(&[&[0; 128], b"DICM".as_slice(), group, data].concat()), implicit(end + 132));
        }
        assert_eq!(start(data), Ok(Start { syntax: None, at: 0 }));
        let cut = [wrong_length.as_slice(), &syntax[..20]].concat();
        assert!(start(&cut).unwrap_err().contains("damaged file meta group"));
        assert!(start(&[0; 200]).unwrap_err().contains("DICM is missing"));
    }
}
