//! Which files of a folder are images.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use super::InputError;

/// Endings, in lower case, by which a folder's images are told from its other files.
pub const EXTENSIONS: [&str; 15] = [
    "png", "jpg", "jpeg", "tif", "tiff", "bmp", "gif", "webp", "pnm", "pbm", "pgm", "ppm", "dcm", "nii",
    "nii.gz",
];

/// How many of [`EXTENSIONS`] are pictures; after them come DICOM and NIfTI.
const PICTURES: usize = 12;

/// The images that command-line arguments mean: a file stays, a folder becomes its images, by [`EXTENSIONS`] and sorted by
/// name (hidden files and subfolders are left out).
///
/// # Errors
/// [`InputError`] names a path that does not exist, or a folder that holds no image.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, InputError> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let metadata = fs::metadata(path).map_err(|e| InputError::read(path, &e))?;
        if metadata.is_dir() {
            files.extend(images(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// The images directly in a folder, sorted by name; at least one.
pub(super) fn images(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    let images: Vec<PathBuf> =
        entries(folder)?.into_iter().filter(|p| ends_in(p, &EXTENSIONS) && p.is_file()).collect();
    if images.is_empty() {
        return Err(InputError::NoImages { path: folder.into() });
    }
    Ok(images)
}

/// The images directly in a folder, or, where there are none, its subfolders: bags of images.
pub(super) fn examples(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    match images(folder) {
        Err(InputError::NoImages { path }) => {
            Some(folders(folder)?).filter(|bags| !bags.is_empty()).ok_or(InputError::NoImages { path })
        }
        images => images,
    }
}

/// The folders directly in a folder, sorted by name.
pub(super) fn folders(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    Ok(entries(folder)?.into_iter().filter(|p| p.is_dir()).collect())
}

/// What is in a folder, sorted by name, without hidden entries.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    let error = |e: std::io::Error| InputError::read(folder, &e);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The files directly in a folder, sorted by name, without hidden ones.
pub(super) fn plain_files(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    Ok(entries(folder)?.into_iter().filter(|p| p.is_file()).collect())
}

/// Whether the name ends as a picture's does.
pub(super) fn is_picture_name(path: &Path) -> bool {
    ends_in(path, &EXTENSIONS[..PICTURES])
}

fn ends_in(path: &Path, endings: &[&str]) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes().to_ascii_lowercase();
    endings.iter().any(|ending| name.strip_suffix(ending.as_bytes()).is_some_and(|stem| stem.ends_with(b".")))
}

/// Order of names in which runs of digits count by their value, so that `frame2` comes before `frame10`; names that are
/// equal so are ordered byte by byte.
pub(super) fn natural(a: &Path, b: &Path) -> Ordering {
    let [a, b] = [a, b].map(|path| path.file_name().unwrap_or_default().as_encoded_bytes());
    let (mut left, mut right) = (a, b);
    while let (Some(l), Some(r)) = (left.first(), right.first()) {
        let order = if l.is_ascii_digit() && r.is_ascii_digit() {
            let [l, r] = [&mut left, &mut right].map(|text| {
                let digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
                let (number, rest) = text.split_at(digits);
                *text = rest;
                let zeros = number.iter().take_while(|c| **c == b'0').count();
                &number[zeros..]
            });
            l.len().cmp(&r.len()).then(l.cmp(r))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            l.cmp(r)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len()).then(a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_and_folders_become_their_images() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b.PNG", "a.jpg", ".hidden.png", "notes.txt", "c.nii.gz", "png", "d.gz"] {
            fs::write(at(name), "").unwrap();
        }
        fs::create_dir(at("sub.png")).unwrap();
        let given = [at("notes.txt"), folder.path().to_path_buf()];
        assert_eq!(expand(&given), Ok(vec![at("notes.txt"), at("a.jpg"), at("b.PNG"), at("c.nii.gz")]));

        let missing = expand(&[at("absent.png")]).unwrap_err().to_string();
        assert!(missing.contains("absent.png: cannot be read"), "{missing}");
        assert_eq!(expand(&[at("sub.png")]), Err(InputError::NoImages { path: at("sub.png") }));
    }

    #[test]
    fn numbers_in_names_count_by_their_value() {
        let mut names =
            ["frame10.png", "frame2.png", "frame02.png", "a.png", "frame1.png", "frame1b.png", "frame"];
        names.sort_by(|a, b| natural(Path::new(a), Path::new(b)));
        assert_eq!(
            names,
            ["a.png", "frame", "frame1.png", "frame1b.png", "frame02.png", "frame2.png", "frame10.png"]
        );
    }
}
