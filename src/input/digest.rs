//! A digest of everything that a scan is read from.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::content::Content;
use super::{InputError, ReadOptions, nifti};

/// SHA-256, in lower-case hex, of the options and of the bytes of every file that [`Scan::open`](super::Scan::open)
/// would read (ordered by name, not by position): the same digest means the same frames.
///
/// # Errors
/// [`InputError`] if the path or a file cannot be read, or the folder is not a scan.
pub fn content_digest(path: impl AsRef<Path>, options: &ReadOptions) -> Result<String, InputError> {
    let path = path.as_ref();
    let mut hash = Sha256::new();
    let options = serde_json::to_string(options).unwrap_or_else(|_| format!("{options:?}"));
    hash.update(options);
    for file in Content::of(path, false)?.files(path) {
        let failed = |e: std::io::Error| InputError::read(&file, &e);
        let opened = crate::files::open(&file).map_err(failed)?;
        // The length distinguishes files from others with the same bytes divided at another point.
        hash.update(opened.metadata().map_err(failed)?.len().to_le_bytes());
        let mut reader = BufReader::with_capacity(1 << 20, opened);
        loop {
            let bytes = reader.fill_buf().map_err(failed)?;
            if bytes.is_empty() {
                break;
            }
            hash.update(bytes);
            let read = bytes.len();
            reader.consume(read);
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Content {
    /// The files that are read for `path`.
    fn files(self, path: &Path) -> Vec<PathBuf> {
        match self {
            Content::Series(files) | Content::Clip(files) => files,
            Content::Nifti => nifti::files(path),
            _ => vec![path.into()],
        }
    }
}
