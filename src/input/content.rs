//! The content of files and folders: a file is identified by its first bytes, or else by its name.

use std::io::Read;
use std::path::{Path, PathBuf};

use image::ImageFormat;

use super::y4m::MAGIC as Y4M_MAGIC;
use super::{InputError, dicom_sniff, nifti};

/// Possible header sizes of a bitmap (BITMAPCOREHEADER to BITMAPV5HEADER): a text may also begin with "BM", so the
/// magic alone is not enough.
const BITMAP_HEADERS: [u32; 7] = [12, 40, 52, 56, 64, 108, 124];

/// What a path holds; a folder is one of the last two.
#[derive(Debug, PartialEq)]
pub(super) enum Content {
    Picture,
    Dicom,
    Nifti,
    Y4m,
    /// DICOM files of a folder, sorted by name.
    Series(Vec<PathBuf>),
    /// Pictures of a folder, in natural order.
    Clip(Vec<PathBuf>),
}

impl Content {
    /// Identifies a file by its first bytes. If they match no format, the name decides (as with `.dcm` or `.nii`), so
    /// that an error message is about that format.
    pub(super) fn of_file(path: &Path) -> Result<Content, InputError> {
        Ok(Content::by_bytes(path)?.unwrap_or_else(|| Content::by_name(path)))
    }

    /// The format that a file's name indicates, for files whose first bytes match no format.
    pub(super) fn by_name(path: &Path) -> Content {
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        if name.ends_with(".dcm") {
            Content::Dicom
        } else if name.ends_with(".y4m") {
            Content::Y4m
        } else if name.ends_with(".nii") || name.ends_with(".nii.gz") || nifti::is_voxels_name(path) {
            Content::Nifti
        } else {
            Content::Picture
        }
    }

    /// The format that a file's first bytes identify, whatever its name.
    pub(super) fn by_bytes(path: &Path) -> Result<Option<Content>, InputError> {
        let mut start = Vec::with_capacity(nifti::SNIFF_BYTES);
        let file = crate::files::open(path).map_err(|e| InputError::read(path, &e))?;
        let mut reader = file.take(nifti::SNIFF_BYTES as u64);
        reader.read_to_end(&mut start).map_err(|e| InputError::read(path, &e))?;
        Ok(if dicom_sniff::is_dicom(&start) {
            Some(Content::Dicom)
        } else if start.starts_with(Y4M_MAGIC) {
            Some(Content::Y4m)
        } else if nifti::is_nifti(&start) {
            Some(Content::Nifti)
        } else {
            starts_as_picture(&start).then_some(Content::Picture)
        })
    }
}

/// Whether a file is NIfTI.
pub(super) fn is_nifti(path: &Path) -> Result<bool, InputError> {
    Ok(Content::of_file(path)? == Content::Nifti)
}

/// Whether a file that begins with `start` is a picture that [`Image::open`](super::Image::open) can read. A magic of
/// two letters does not distinguish a picture from text, so for PNM and BMP the next header fields are checked too.
fn starts_as_picture(start: &[u8]) -> bool {
    let word = |at: usize| start.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    match image::guess_format(start) {
        Ok(ImageFormat::Pnm) => {
            let next = start[2..].iter().find(|b| !b.is_ascii_whitespace());
            let spaced = start.get(2).is_some_and(|b| b.is_ascii_whitespace() || *b == b'#');
            spaced
                && next.is_some_and(|b| b.is_ascii_digit() || *b == b'#' || (start[1] == b'7' && *b == b'W'))
        }
        Ok(ImageFormat::Bmp) => word(14).is_some_and(|size| BITMAP_HEADERS.contains(&size)),
        Ok(format) => format.reading_enabled(),
        Err(_) => false,
    }
}
