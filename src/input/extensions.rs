//! File name extensions of the formats that are read.

use std::path::Path;

/// Extensions of pictures, in lower case.
const PICTURES: [&str; 12] =
    ["png", "jpg", "jpeg", "tif", "tiff", "bmp", "gif", "webp", "pnm", "pbm", "pgm", "ppm"];

/// Extensions of files that may hold many frames.
const VOLUMES: [&str; 3] = ["dcm", "nii", "nii.gz"];

/// Extensions that make a file in a folder count as an image even if its content matches no known format.
pub(super) fn extensions() -> impl Iterator<Item = &'static str> {
    PICTURES.into_iter().chain(VOLUMES)
}

/// Whether a file name has one of these [`extensions`].
pub(super) fn is_image_name(path: &Path) -> bool {
    ends_in(path, extensions())
}

/// Whether a file name has the extension of a picture. The content may differ.
pub fn is_picture_name(path: &Path) -> bool {
    ends_in(path, PICTURES)
}

fn ends_in(path: &Path, endings: impl IntoIterator<Item = &'static str>) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes().to_ascii_lowercase();
    endings
        .into_iter()
        .any(|ending| name.strip_suffix(ending.as_bytes()).is_some_and(|stem| stem.ends_with(b".")))
}
