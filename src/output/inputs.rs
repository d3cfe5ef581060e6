//! Files that a command reads are never written over, whatever they are called.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::OutputError;

/// What tells a file from every other: links of both kinds lead to it, and so does every spelling of its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(#[cfg(unix)] (u64, u64), #[cfg(not(unix))] PathBuf);

impl FileId {
    /// Of what is at `path` now; none where nothing is.
    #[cfg(unix)]
    pub fn of(path: &Path) -> Option<FileId> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(path).ok()?;
        Some(FileId((found.dev(), found.ino())))
    }

    /// Of what is at `path` now; none where nothing is.
    #[cfg(not(unix))]
    pub fn of(path: &Path) -> Option<FileId> {
        std::fs::canonicalize(path).ok().map(FileId)
    }
}

/// What a command reads.
#[derive(Debug, Default)]
pub struct Inputs {
    files: HashMap<FileId, PathBuf>,
}

impl Inputs {
    /// Adds a file, or a folder with what is directly in it. What is not there is left out: whoever reads it will say so.
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

    /// Refuses `output` if it is one of them.
    ///
    /// # Errors
    /// [`OutputError::IsInput`] names both.
    pub fn refuse(&self, output: &Path) -> Result<(), OutputError> {
        match FileId::of(output).and_then(|id| self.files.get(&id)) {
            Some(input) => Err(OutputError::IsInput { path: output.to_owned(), input: input.clone() }),
            None => Ok(()),
        }
    }

    /// Refuses those names in `folder` that are inputs and that `writes` gives: it is asked about each input that lies there,
    /// with its name, and answers with the name that would be written over it.
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
