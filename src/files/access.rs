//! What a new file is called, and who may read it.

use std::path::{Path, PathBuf};

/// Who may read a new file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Whoever may read any new file of this user: 0666 less the umask on Unix.
    #[default]
    Usual,
    /// Its owner alone: 0600 on Unix. For what was made of patients' images.
    Owner,
}

/// A file that is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its name.
    pub path: &'a Path,
    /// Who may read it.
    pub access: Access,
}

impl<'a> From<&'a Path> for Target<'a> {
    fn from(path: &'a Path) -> Target<'a> {
        Target { path, access: Access::Usual }
    }
}

impl<'a> From<&'a PathBuf> for Target<'a> {
    fn from(path: &'a PathBuf) -> Target<'a> {
        path.as_path().into()
    }
}
