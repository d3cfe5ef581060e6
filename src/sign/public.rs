//! Public keys.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{KeyId, SignError};
use crate::files;

/// Maximum size of the file of a public key, in bytes; it has two short lines.
const MAX_BYTES: u64 = 4 << 10;

/// Length of an encoded key: algorithm, identifier and point.
const LENGTH: usize = 2 + 8 + 32;

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
