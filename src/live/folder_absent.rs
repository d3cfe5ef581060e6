//! Stub for watched folders on other systems than Linux: opening one returns an error that says so.

use std::path::Path;

use super::source::{Grabbed, Source};
use crate::input::{InputError, ReadOptions};

/// A watched folder. On this system there can be none, so no value of this type exists.
pub enum FolderSource {}

impl FolderSource {
    /// Always fails on this system.
    ///
    /// # Errors
    /// [`InputError`], always.
    pub fn open(folder: &Path, _: &ReadOptions) -> Result<FolderSource, InputError> {
        let problem =
            "cannot be watched: that is done on Linux only; give the frames on standard input".into();
        Err(InputError::Unreadable { path: folder.to_owned(), problem })
    }
}

impl Source for FolderSource {
    fn next(&mut self) -> Result<Option<Grabbed>, InputError> {
        match *self {}
    }
}
