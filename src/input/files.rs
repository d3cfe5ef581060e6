//! Which files of a folder are images.

use std::fs;
use std::path::{Path, PathBuf};

use super::InputError;

/// Endings, in lower case, by which a folder's images are told from its other files.
pub const EXTENSIONS: [&str; 11] =
    ["png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp", "pnm", "pbm", "pgm", "ppm"];

/// The images that command-line arguments mean: a file stays, a folder becomes its images, sorted by name (hidden
/// files and subfolders are left out).
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
        entries(folder)?.into_iter().filter(|p| is_image_name(p) && p.is_file()).collect();
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

fn is_image_name(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_and_folders_become_their_images() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b.PNG", "a.jpg", ".hidden.png", "notes.txt"] {
            fs::write(at(name), "").unwrap();
        }
        fs::create_dir(at("sub.png")).unwrap();
        let given = [at("notes.txt"), folder.path().to_path_buf()];
        assert_eq!(expand(&given), Ok(vec![at("notes.txt"), at("a.jpg"), at("b.PNG")]));

        let missing = expand(&[at("absent.png")]).unwrap_err().to_string();
        assert!(missing.contains("absent.png: cannot be read"), "{missing}");
        assert_eq!(expand(&[at("sub.png")]), Err(InputError::NoImages { path: at("sub.png") }));
    }
}
