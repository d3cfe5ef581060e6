//! Public keys.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::SignError;
use crate::files;

/// Maximum size of the file of a public key, in bytes; it has two short lines.
const MAX_BYTES: u64 = 4 << 10;

/// Length of an encoded key: algorithm, identifier and point.
const LENGTH: usize = 2 + 8 + 32;

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

/// A key that verifies signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    line: String,
    pub(super) key: minisign_verify::PublicKey,
}

impl PublicKey {
    /// Parses a key: the line of base64 that a `.pub` file holds after its comment.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<PublicKey, String> {
        let wrong = || {
            "is no public key: give the line below the comment of a .pub file, which begins with RW"
                .to_owned()
        };
        if STANDARD.decode(line).map_or(0, |bytes| bytes.len()) != LENGTH {
            return Err(wrong());
        }
        let key = minisign_verify::PublicKey::from_base64(line).map_err(|_| wrong())?;
        Ok(PublicKey { id: KeyId::of_line(line).ok_or_else(wrong)?, line: line.to_owned(), key })
    }

    /// Reads a `.pub` file, of `microraptor key new` or of `minisign -G`.
    ///
    /// # Errors
    /// [`SignError`] names the file.
    pub fn read(path: &Path) -> Result<PublicKey, SignError> {
        let text = files::text(path, MAX_BYTES)
            .map_err(|source| SignError::Read { path: path.to_owned(), source })?;
        let mut lines = text.lines();
        let (_comment, line) = (lines.next(), lines.next().unwrap_or_default());
        PublicKey::parse(line.trim_end())
            .map_err(|problem| SignError::Wrong { path: path.to_owned(), problem })
    }

    /// Its identifier.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key in base64, as a trust file takes it.
    pub fn line(&self) -> &str {
        &self.line
    }
}
