//! Whether files stayed as they were while they were read, where they are read more than once.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// What the system says of a file, or of the files directly in a folder: by that a change between two readings is noticed.
/// What is no regular file (a pipe) is left out, for it is read once.
#[derive(Clone, Debug)]
pub struct Stamp(Vec<(PathBuf, Facts)>);

/// Length, when it was modified, and which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    length: u64,
    modified: Option<std::time::SystemTime>,
    /// Device, inode, and the time of the last change of either, which `touch` cannot set.
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
    /// Of the file `path`, or of those in the folder `path`, as they are now.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn of(path: &Path) -> io::Result<Stamp> {
        let metadata = fs::metadata(path)?;
        let mut all = Vec::new();
        if metadata.is_file() {
            all.push((path.to_owned(), Facts::of(&metadata)));
        } else if metadata.is_dir() {
            for entry in fs::read_dir(path)? {
                let path = entry?.path();
                // A link that leads nowhere is no file to be read.
                let found = fs::metadata(&path).ok().filter(Metadata::is_file);
                all.extend(found.map(|metadata| (path, Facts::of(&metadata))));
            }
        }
        Ok(Stamp(all))
    }

    /// The first of the files that has changed, was replaced or is gone; none where all are as they were.
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
            // Clocks of file systems tick every few milliseconds.
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
