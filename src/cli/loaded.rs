//! Loaded heads, and errors that name them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use microraptor::heads::Head;
use microraptor::pipeline::PipelineError;

use super::limits;

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

/// A pipeline error, with the name of the head that it concerns.
pub fn named(error: PipelineError, name: &dyn Fn(usize) -> String) -> anyhow::Error {
    match error {
        PipelineError::Head { head, source } => anyhow::Error::from(source).context(name(head)),
        PipelineError::Engine { head, source } => anyhow::Error::from(source).context(name(head)),
        error @ PipelineError::TooLong { .. } => anyhow::Error::from(error).context("see --max-memory"),
        error => error.into(),
    }
}

/// Like [`named`], for an error on the input `path`.
pub fn named_in(error: anyhow::Error, path: &Path, heads: &[Loaded]) -> anyhow::Error {
    match error.downcast::<PipelineError>() {
        Ok(error) => named(error, &|head| format!("{} with {}", path.display(), heads[head].path.display())),
        Err(error) => error,
    }
}
