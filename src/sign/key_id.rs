//! Identifiers of keys.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What tells keys apart at a glance: 8 bytes, random when the key is made. It proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The identifier in a key or signature in base64; `None` if it is neither.
    pub(super) fn of_line(line: &str) -> Option<KeyId> {
        // 16 digits are 12 bytes: the algorithm, the identifier, and two bytes more.
        let bytes = STANDARD.decode(line.get(..16)?).ok()?;
        Some(KeyId(bytes.get(2..10)?.try_into().ok()?))
    }
}

/// As minisign prints it.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}
