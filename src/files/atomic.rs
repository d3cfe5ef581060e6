//! Atomic file writes: write to a temporary name in the same folder, then rename. A file under its final name is
//! complete.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::error::{WriteError, folder_of};
use super::temporary::Temporary;
use super::{Access, Target};

/// A file that gets its name only when it is complete: a reader, an error or a power cut never leaves half of it
/// visible.
///
/// The bytes go to a temporary file beside the path, are synchronised to the disk, and are then renamed over the path
/// (replacing any file there); the folder is synchronised too. If it is dropped before [`AtomicFile::commit`], or on
/// any error, the temporary file is removed and an older file stays unchanged. A killed process leaves its temporary
/// file behind; the next process that writes to that folder removes it. The new file has the permissions given by
/// [`Access`], not those of the file it replaces. A symbolic link at the path is replaced, not followed.
pub struct AtomicFile {
    path: PathBuf,
    writer: BufWriter<File>,
    name: Temporary,
}

impl AtomicFile {
    /// Creates the temporary file that will become `target`.
    ///
    /// # Errors
    /// [`WriteError`] names the path and the remedy.
    pub fn create<'a>(target: impl Into<Target<'a>>) -> Result<AtomicFile, WriteError> {
        let Target { path, access } = target.into();
        let (file, name) = temporary_beside(path, access)?;
        Ok(AtomicFile { path: path.to_owned(), writer: BufWriter::new(file), name })
    }

    /// Writes through `write`, which may also seek.
    ///
    /// # Errors
    /// An error from `write` is returned as [`WriteError::Io`].
    pub fn write(
        &mut self,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), WriteError> {
        write(&mut self.writer).map_err(|source| WriteError::new(&self.path, source))
    }

    /// Renames the file to its final name.
    ///
    /// # Errors
    /// [`WriteError`] names the path.
    pub fn commit(self) -> Result<(), WriteError> {
        let AtomicFile { path, writer, name } = self;
        let failed = |source| WriteError::new(&path, source);
        let file = writer.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().map_err(failed)?;
        // On Unix, where an open file can be renamed, the file stays locked until it has its name.
        #[cfg(not(unix))]
        drop(file);
        name.persist(&path).map_err(failed)?;
        synchronise(folder_of(&path));
        Ok(())
    }
}

/// Writes `target` through `write`, entirely or not at all: an [`AtomicFile`] in one call.
///
/// # Errors
/// [`WriteError`] names the path and the remedy; an error from `write` is returned as [`WriteError::Io`].
pub fn write_atomically<'a>(
    target: impl Into<Target<'a>>,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), WriteError> {
    let mut file = AtomicFile::create(target)?;
    file.write(write)?;
    file.commit()
}

/// Writes several files. None is renamed before all of them are on the disk, so if the disk is full, all old files stay
/// unchanged.
///
/// # Errors
/// As [`write_atomically`]; [`WriteError::Partly`] if some files were renamed and the next could not be.
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

/// Checks that [`write_atomically`] could write `path`, before the work whose result goes there.
///
/// # Errors
/// As [`write_atomically`].
pub fn check_writable(path: &Path) -> Result<(), WriteError> {
    temporary_beside(path, Access::Usual).map(drop)
}

/// An unnamed file on the disk of `path`, to buffer data that goes into `path` later; it is deleted when closed.
///
/// # Errors
/// [`WriteError`] names the path.
pub fn spool_beside(path: &Path) -> Result<File, WriteError> {
    tempfile::tempfile_in(folder_of(path)).map_err(|source| WriteError::new(path, source))
}

/// A temporary file in the folder of `path`, removed when dropped.
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

/// Synchronises the folder, so that a power cut does not undo the rename. The file is complete in either case.
#[cfg(unix)]
fn synchronise(folder: &Path) {
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        // Not every file system supports this, and the folder may not be readable.
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
            // More than a BufWriter's buffer holds, so that bytes are on the disk when the error occurs.
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
