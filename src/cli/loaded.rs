//! Loaded heads, and errors that name them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use microraptor::Engine;
use microraptor::heads::{ContourRule, Head, SetRule};
use microraptor::pipeline::PipelineError;

use super::{limits, trust};

/// A head and the file that it came from.
pub struct Loaded {
    pub path: PathBuf,
    /// SHA-256 of the bytes that were read.
    pub sha256: String,
    pub head: Arc<Head>,
    /// Of the sets of classes in its answers; `None` for answers without sets.
    pub sets: Option<SetRule>,
    /// Of the contours of its masks; `None` for masks without contours.
    pub contours: Option<ContourRule>,
}

impl Loaded {
    /// Reads the head at `path`; its answers have sets of classes or contours with its own coverage, if it has one.
    pub fn open(path: &Path) -> anyhow::Result<Loaded> {
        let _watched = limits::Watched::new(path.display().to_string());
        let (head, sha256) = trust::head(path)?;
        let (sets, contours) = (head.set_rule(None)?, head.contour_rule(None)?);
        Ok(Loaded { path: path.to_owned(), sha256, head: Arc::new(head), sets, contours })
    }

    /// Refuses a backbone other than the one that the head was trained on.
    pub fn check_backbone(&self, engine: &Engine) -> anyhow::Result<()> {
        self.head.check_backbone(engine.about()).with_context(|| self.path.display().to_string())
    }
}

/// The answers of `heads` have sets of classes, and contours of masks, with this coverage, if one is given, instead of the
/// heads' own.
pub fn cover(heads: &mut [Loaded], coverage: Option<f64>) -> anyhow::Result<()> {
    let Some(coverage) = coverage else { return Ok(()) };
    for loaded in &mut *heads {
        let name = || loaded.path.display().to_string();
        loaded.sets = loaded.head.set_rule(Some(coverage)).with_context(name)?;
        loaded.contours = loaded.head.contour_rule(Some(coverage)).with_context(name)?;
    }
    Ok(())
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
