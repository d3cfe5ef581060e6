//! UIDs derived from the contents that they identify.

use sha2::{Digest, Sha256};

/// A UID that is determined by `parts`: the first 128 bits of their SHA-256 as a version 8 UUID (RFC 9562, 5.8) under
/// the root 2.25, which needs no registration (DICOM PS3.5, B.2).
pub(super) fn derive(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // The length is hashed too, so that ("ab", "c") differs from ("a", "bc").
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest.finalize()[..16]);
    uuid[6] = 0x80 | (uuid[6] & 0x0F);
    uuid[8] = 0x80 | (uuid[8] & 0x3F);
    format!("2.25.{}", u128::from_be_bytes(uuid))
}

/// Whether `uid` is valid (PS3.5, 9.1): up to 64 digits and dots, with no component that is empty or has a leading
/// zero.
pub(crate) fn is_valid(uid: &str) -> bool {
    let component =
        |c: &str| !c.is_empty() && c.bytes().all(|b| b.is_ascii_digit()) && (c == "0" || !c.starts_with('0'));
    uid.len() <= 64 && uid.split('.').all(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_parts_same_uid() {
        let uid = derive(&[b"seg", b"1.2.3"]);
        assert_eq!(uid, derive(&[b"seg", b"1.2.3"]));
        assert_ne!(uid, derive(&[b"seg1", b".2.3"]));
        assert!(is_valid(&uid) && uid.starts_with("2.25."), "{uid}");
        let number: u128 = uid["2.25.".len()..].parse().unwrap();
        assert_eq!((number >> 76 & 0xF, number >> 62 & 3), (8, 2), "version and variant of the UUID");
    }

    #[test]
    fn knows_a_uid() {
        assert!(is_valid("1.2.840.10008.1.0"));
        for wrong in ["", "1..2", "1.02", "1.2a", "1.2 ", &"1".repeat(65)] {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }
}
