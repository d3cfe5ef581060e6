//! Prevents outputs from overwriting files that the same command reads, under any name.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::OutputError;

/// Identity of a file: the same for every spelling of its path and all symbolic links to it and, on Unix, for all hard
/// links.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(#[cfg(unix)] (u64, u64), #[cfg(not(unix))] PathBuf);

impl FileId {
    /// The file that is now at `path`; `None` if there is none.
    #[cfg(unix)]
    pub fn of(path: &Path) -> Option<FileId> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(path).ok()?;
        Some(FileId((found.dev(), found.ino())))
    }

    /// The file that is now at `path`; `None` if there is none.
    #[cfg(not(unix))]
    pub fn of(path: &Path) -> Option<FileId> {
        std::fs::canonicalize(path).ok().map(FileId)
    }
}

/// The files that a command reads.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    files: HashMap<FileId, PathBuf>,
}

impl Inputs {
    /// Adds a file, or a folder and the files directly in it. A missing file is skipped: reading it will report the
    /// error.
    pub fn add(&mut self, path: &Path) {
        if let Some(id) = FileId::of(path) {
            self.files.entry(id).or_insert_with(|| path.to_owned());
        }
        if path.is_dir() {
            let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
            for path in entries.map(|entry| entry.path()).filter(|path| path.is_file()) {
                if let Some(id) = FileId::of(&path) {
                    self.files.entry(id).or_insert(path);
                }
            }
        }
    }

    /// Refuses `output` if it is an input.
    ///
    /// # Errors
    /// [`OutputError::IsInput`] names both files.
    pub fn refuse(&self, output: &Path) -> Result<(), OutputError> {
        match FileId::of(output).and_then(|id| self.files.get(&id)) {
            Some(input) => Err(OutputError::IsInput { path: output.to_owned(), input: input.clone() }),
            None => Ok(()),
        }
    }

    /// Refuses outputs in `folder` that would overwrite an input. `writes` is called with the name of each input in the
    /// folder and returns the name of the output that would overwrite it, if any.
    ///
    /// # Errors
    /// As [`Inputs::refuse`].
    pub fn refuse_in(
        &self,
        folder: &Path,
        writes: impl Fn(&std::ffi::OsStr) -> Option<OsString>,
    ) -> Result<(), OutputError> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
        for name in entries.filter_map(Result::ok).map(|entry| entry.file_name()) {
            let is_input = FileId::of(&folder.join(&name)).is_some_and(|id| self.files.contains_key(&id));
            if let Some(written) = Some(&name).filter(|_| is_input).and_then(|name| writes(name)) {
                self.refuse(&folder.join(written))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn an_input_is_known_under_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::write(at("scan.png"), "x").unwrap();
        std::fs::write(at("other.png"), "x").unwrap();
        std::os::unix::fs::symlink(at("scan.png"), at("link.png")).unwrap();
        std::os::unix::fs::symlink(folder.path(), at("sub/up")).unwrap();
        std::fs::hard_link(at("scan.png"), at("sub/hard.png")).unwrap();
        let mut inputs = Inputs::default();
        inputs.add(&at("scan.png"));
        inputs.add(&at("missing.png"));
        for name in
            ["scan.png", "./scan.png", "sub/../scan.png", "link.png", "sub/hard.png", "sub/up/scan.png"]
        {
            let error = inputs.refuse(&at(name)).unwrap_err().to_string();
            assert!(error.contains("scan.png, which this command reads"), "{error}");
        }
        for name in ["other.png", "missing.png", "new.png"] {
            inputs.refuse(&at(name)).unwrap();
        }
        let same = |name: &std::ffi::OsStr| Some(name.to_owned());
        assert!(inputs.refuse_in(&at("sub"), same).is_err());
        assert!(inputs.refuse_in(&at("sub"), |_| None).is_ok());
        let mut all = Inputs::default();
        all.add(folder.path());
        assert!(all.refuse(&at("other.png")).is_err() && all.refuse(&at("sub/hard.png")).is_err());
    }
}
