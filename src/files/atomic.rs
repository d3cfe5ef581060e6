//! A file under its name is complete, or it is not there: write to a temporary name in the same folder, then rename.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::error::{WriteError, folder_of};
use super::temporary::Temporary;
use super::{Access, Target};

/// A file that takes its name when it is complete: a reader, an error or a power cut never meets half of it.
///
/// The bytes go to a temporary file beside the path, are synchronised to the disk, and are then renamed over the path
/// (replacing what was there), whose folder is synchronised too. Dropped before [`AtomicFile::commit`], or on any error, the
/// temporary file is removed and an older file stays as it was; a process that is killed leaves it, and the next one that
/// writes there sweeps it. The new file has the permissions of [`Access`], not those of the file before; a symbolic link in
/// its place is replaced, not followed.
pub struct AtomicFile {
    path: PathBuf,
    writer: BufWriter<File>,
    name: Temporary,
}

impl AtomicFile {
    /// Begins a file that will be called as `target` says.
    ///
    /// # Errors
    /// [`WriteError`] names the path and says what to do.
    pub fn create<'a>(target: impl Into<Target<'a>>) -> Result<AtomicFile, WriteError> {
        let Target { path, access } = target.into();
        let (file, name) = temporary_beside(path, access)?;
        Ok(AtomicFile { path: path.to_owned(), writer: BufWriter::new(file), name })
    }

    /// Writes through `write`, which may seek too.
    ///
    /// # Errors
    /// An error from `write` arrives as [`WriteError::Io`].
    pub fn write(
        &mut self,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), WriteError> {
        write(&mut self.writer).map_err(|source| WriteError::new(&self.path, source))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`WriteError`] names the path.
    pub fn commit(self) -> Result<(), WriteError> {
        let AtomicFile { path, writer, name } = self;
        let failed = |source| WriteError::new(&path, source);
        let file = writer.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().map_err(failed)?;
        // Where an open file can be renamed, it stays locked until it has its name.
        #[cfg(not(unix))]
        drop(file);
        name.persist(&path).map_err(failed)?;
        synchronise(folder_of(&path));
        Ok(())
    }
}

/// Writes `target` through `write`, whole or not at all: an [`AtomicFile`] in one go.
///
/// # Errors
/// [`WriteError`] names the path and says what to do; an error from `write` arrives as [`WriteError::Io`].
pub fn write_atomically<'a>(
    target: impl Into<Target<'a>>,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), WriteError> {
    let mut file = AtomicFile::create(target)?;
    file.write(write)?;
    file.commit()
}

/// Writes several files, of which none takes its name before all of them are on the disk: if it is full, all stay as they
/// were.
///
/// # Errors
/// As [`write_atomically`]; [`WriteError::Partly`] where some have taken their names and the next could not.
pub fn write_all_atomically(files: &[(PathBuf, &[u8])]) -> Result<(), WriteError> {
    let mut ready = Vec::with_capacity(files.len());
    for (path, bytes) in files {
        let mut file = AtomicFile::create(path)?;
        file.write(|writer| {
            writer.write_all(bytes)?;
            writer.flush()?;
            writer.get_ref().sync_all()
        })?;
        ready.push(file);
    }
    for (n, file) in ready.into_iter().enumerate() {
        file.commit().map_err(|error| match error {
            WriteError::Io { path, source } if n > 0 => {
                let names = |files: &[(PathBuf, &[u8])]| {
                    files.iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>().join(", ")
                };
                let left = format!("written: {}; not written: {}", names(&files[..n]), names(&files[n..]));
                WriteError::Partly { path, source, left }
            }
            error => error,
        })?;
    }
    Ok(())
}

/// Finds out whether [`write_atomically`] could write `path`, before the work whose result is to go there.
///
/// # Errors
/// As [`write_atomically`].
pub fn check_writable(path: &Path) -> Result<(), WriteError> {
    temporary_beside(path, Access::Usual).map(drop)
}

/// A file without a name on the disk of `path`, for what is to be in `path` later; it is gone when it is closed.
///
/// # Errors
/// [`WriteError`] names the path.
pub fn spool_beside(path: &Path) -> Result<File, WriteError> {
    tempfile::tempfile_in(folder_of(path)).map_err(|source| WriteError::new(path, source))
}

/// A temporary file in the folder of `path`, which is removed when it is dropped.
fn temporary_beside(path: &Path, access: Access) -> Result<(File, Temporary), WriteError> {
    let folder = folder_of(path);
    if path.file_name().is_none() || path.is_dir() {
        return Err(WriteError::IsFolder(path.to_owned()));
    }
    if !folder.is_dir() {
        return Err(WriteError::NoFolder { path: path.to_owned(), folder: folder.to_owned() });
    }
    Temporary::make(folder, access).map_err(|source| WriteError::new(path, source))
}

/// Puts the new name of a file on the disk too, so that a power cut does not take it back. The file is whole either way.
#[cfg(unix)]
fn synchronise(folder: &Path) {
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        // Not every disk can, and a folder may be writable only.
        log::debug!("{}: the folder was not synchronised: {error}", folder.display());
    }
}

#[cfg(not(unix))]
fn synchronise(_: &Path) {}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            folder.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_the_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomically(&path, |w| w.write_all(b"first, and longer")).unwrap();
        write_atomically(&path, |w| w.write_all(b"second")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(entries(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failure_keeps_the_old_file_and_removes_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "old").unwrap();
        let error = write_atomically(&path, |w| {
            // More than a BufWriter holds, so that bytes are on the disk when the failure comes.
            w.write_all(&[0; 100_000])?;
            Err(io::Error::new(io::ErrorKind::StorageFull, "disk full"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("a.txt: disk full"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(entries(folder.path()), ["a.txt"]);
    }

    #[test]
    fn names_what_is_wrong_with_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no/such/a.txt");
        assert!(matches!(write_atomically(&missing, |_| Ok(())), Err(WriteError::NoFolder { .. })));
        assert!(matches!(write_atomically(folder.path(), |_| Ok(())), Err(WriteError::IsFolder(_))));
        assert!(matches!(write_atomically(Path::new("/"), |_| Ok(())), Err(WriteError::IsFolder(_))));
        assert!(matches!(write_atomically(Path::new(""), |_| Ok(())), Err(WriteError::IsFolder(_))));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let below = file.join("a.txt");
        assert!(matches!(write_atomically(&below, |_| Ok(())), Err(WriteError::NoFolder { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn has_the_mode_of_a_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (plain, ours) = (folder.path().join("plain"), folder.path().join("ours"));
        std::fs::write(&plain, "").unwrap();
        write_atomically(&ours, |_| Ok(())).unwrap();
        let mode = |p: &Path| p.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_refuses_files_is_not_writable() {
        // Even root cannot create files in /proc, so this holds in a container too.
        let error = write_atomically(Path::new("/proc/self/fdinfo/a.txt"), |_| Ok(())).unwrap_err();
        assert!(error.to_string().starts_with("cannot write /proc/self/fdinfo/a.txt"), "{error}");
    }
}
