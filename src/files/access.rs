//! The path and the read permissions of a new file.

use std::path::{Path, PathBuf};

/// Who may read a new file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Any user with the default permissions of a new file: 0666 minus the umask on Unix.
    #[default]
    Usual,
    /// Its owner only: 0600 on Unix. For data derived from patients' images.
    Owner,
}

/// A file to write.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its path.
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
