//! Endings of the names of files that are read.

use std::path::Path;

/// Endings of pictures, in lower case.
const PICTURES: [&str; 12] =
    ["png", "jpg", "jpeg", "tif", "tiff", "bmp", "gif", "webp", "pnm", "pbm", "pgm", "ppm"];

/// Endings of files that may hold many frames.
const VOLUMES: [&str; 3] = ["dcm", "nii", "nii.gz"];

/// Endings by which a file of a folder counts as an image even if its content is none that is known.
pub(super) fn extensions() -> impl Iterator<Item = &'static str> {
    PICTURES.into_iter().chain(VOLUMES)
}

/// Whether the name of a file has one of these [`extensions`].
pub(super) fn is_image_name(path: &Path) -> bool {
    ends_in(path, extensions())
}

/// Whether the name of a file promises a picture, which its content need not be.
pub fn is_picture_name(path: &Path) -> bool {
    ends_in(path, PICTURES)
}

fn ends_in(path: &Path, endings: impl IntoIterator<Item = &'static str>) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes().to_ascii_lowercase();
    endings
        .into_iter()
        .any(|ending| name.strip_suffix(ending.as_bytes()).is_some_and(|stem| stem.ends_with(b".")))
}
