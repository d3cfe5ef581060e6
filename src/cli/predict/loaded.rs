//! Loaded heads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use microraptor::heads::Head;

use crate::cli::limits;

/// A head and the file that it came from.
pub struct Loaded {
    pub path: PathBuf,
    /// SHA-256 of the bytes that were read.
    pub sha256: String,
    pub head: Arc<Head>,
}

impl Loaded {
    pub fn open(path: &Path) -> anyhow::Result<Loaded> {
        let _watched = limits::Watched::new(path.display().to_string());
        let (head, sha256) = Head::read(path)?;
        Ok(Loaded { path: path.to_owned(), sha256, head: Arc::new(head) })
    }
}
