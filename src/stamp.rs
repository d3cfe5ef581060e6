//! Detects files that change while they are in use, for files that are read more than once.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// Metadata of a file, or of the files directly in a folder, used to detect a change between two reads. Anything but a
/// regular file (such as a pipe) is skipped, because it is read once.
#[derive(Clone, Debug)]
pub struct Stamp(Vec<(PathBuf, Facts)>);

/// Length, modification time and identity of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    length: u64,
    modified: Option<std::time::SystemTime>,
    /// Device, inode, and the time of the last status change (ctime), which `touch` cannot set.
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

impl Facts {
    fn of(metadata: &Metadata) -> Facts {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Facts {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Stamp {
    /// The stamp of the file `path`, or of the files in the folder `path`, at this moment.
    ///
    /// # Errors
    /// If the system cannot read the metadata.
    pub fn of(path: &Path) -> io::Result<Stamp> {
        let metadata = fs::metadata(path)?;
        let mut all = Vec::new();
        if metadata.is_file() {
            all.push((path.to_owned(), Facts::of(&metadata)));
        } else if metadata.is_dir() {
            for entry in fs::read_dir(path)? {
                let path = entry?.path();
                // A dangling link is not a file to read.
                let found = fs::metadata(&path).ok().filter(Metadata::is_file);
                all.extend(found.map(|metadata| (path, Facts::of(&metadata))));
            }
        }
        Ok(Stamp(all))
    }

    /// The first file that was changed, replaced or removed; `None` if all are unchanged.
    pub fn changed(&self) -> Option<&Path> {
        let same = |path: &Path, facts: &Facts| fs::metadata(path).is_ok_and(|now| Facts::of(&now) == *facts);
        self.0.iter().find(|(path, facts)| !same(path, facts)).map(|(path, _)| path.as_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_kind_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("file"), folder.path().join("other"));
        let changes: [(&str, &dyn Fn()); 5] = [
            ("longer", &|| fs::write(&file, "abcd").unwrap()),
            ("of the same length", &|| fs::write(&file, "xyz").unwrap()),
            ("replaced", &|| fs::rename(&other, &file).unwrap()),
            ("gone", &|| fs::remove_file(&file).unwrap()),
            ("of the same length and time", &|| {
                let modified = fs::metadata(&file).unwrap().modified().unwrap();
                fs::write(&file, "xyz").unwrap();
                fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
            }),
        ];
        for (what, change) in changes {
            fs::write(&file, "abc").unwrap();
            fs::write(&other, "abc").unwrap();
            let (alone, all) = (Stamp::of(&file).unwrap(), Stamp::of(folder.path()).unwrap());
            // File system clocks tick every few milliseconds.
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert_eq!((alone.changed(), all.changed()), (None, None));
            change();
            assert_eq!(alone.changed(), Some(file.as_path()), "{what}");
            assert!(all.changed().is_some(), "{what}");
        }
        fs::write(&file, "abc").unwrap();
        let all = Stamp::of(folder.path()).unwrap();
        fs::write(folder.path().join("new"), "").unwrap();
        assert_eq!(all.changed(), None, "what was not there was not read");
        assert!(Stamp::of(&folder.path().join("absent")).is_err());
    }
}
