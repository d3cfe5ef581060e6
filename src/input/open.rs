//! Opens a path as a scan: the content selects the reader. Only this module knows all readers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::Content;
use super::scan::{Frames, Scan, check_frames};
use super::scan_info::{ScanInfo, ScanKind, SourceFrame};
use super::stream::StreamFormat;
use super::{Image, InputError, ReadOptions, dicom, nifti};
use crate::guarded::guarded;

impl Scan {
    /// Opens a file, or a folder as one scan. The content decides the format, not the name:
    ///
    /// - a PNG, JPEG, TIFF, BMP, GIF, WebP or PNM file: an image, as [`Image::open_page`] reads it;
    /// - a DICOM file: an image, or a clip if it has several frames (a volume if the frames have positions);
    /// - a NIfTI file (`.nii`, `.nii.gz`), or either file of a pair (`.hdr` and `.img`): a volume, sliced along
    ///   [`ReadOptions::axis`];
    /// - a YUV4MPEG2 file (`.y4m`): a clip;
    /// - a folder of DICOM files: one series, a volume, sorted by position;
    /// - a folder of pictures: a clip, sorted by name with numbers by value (`frame2` before `frame10`).
    ///
    /// # Errors
    /// [`InputError`], one line, names the file and the remedy. Nothing large is allocated before the header has been
    /// checked against the file's length.
    pub fn open(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Scan, InputError> {
        let path = path.as_ref();
        guarded(|| Scan::read(path, options), |reason| InputError::unreadable(path, reason))
    }

    fn read(path: &Path, options: &ReadOptions) -> Result<Scan, InputError> {
        let content = Content::of(path, true)?;
        if options.volume.is_some() && content != Content::Nifti {
            return Err(InputError::unreadable(
                path,
                "is not NIfTI and holds no volumes to choose from: leave the option `volume` out",
            ));
        }
        if options.crop_us && !matches!(content, Content::Dicom | Content::Series(_)) {
            let problem =
                "is not DICOM and so has no ultrasound regions to crop to: leave the option `crop_us` out"
                    .into();
            return Err(InputError::Unreadable { path: path.into(), problem });
        }
        let most = options.most_frames();
        if let Content::Series(files) | Content::Clip(files) = &content {
            check_frames(&path.display().to_string(), Some(files.len()), most)?;
        }
        if options.page.is_some() && !matches!(content, Content::Picture | Content::Clip(_)) {
            let problem =
                "has frames or slices, of which all are read, and no pages: leave the option `page` out"
                    .into();
            return Err(InputError::Unreadable { path: path.into(), problem });
        }
        let scan = match content {
            Content::Picture => {
                let image = Image::open_page(path, options.page)?;
                let scan = Scan::from_image(path.display().to_string(), Arc::new(image));
                Ok(scan.with_files(vec![path.into()]))
            }
            Content::Dicom => dicom::open_file(path, options),
            Content::Series(files) => dicom::open_series(path, files, options),
            Content::Nifti => nifti::open(path, options),
            Content::Y4m => {
                let file = crate::files::open(path).map_err(|e| InputError::read(path, &e))?;
                let name = path.display().to_string();
                let scan = Scan::from_stream(name, file, StreamFormat::Y4m, options)?;
                Ok(scan.with_files(vec![path.into()]))
            }
            Content::Clip(files) => clip(path, files, options.page),
        };
        scan?.limited(most)
    }
}

/// A clip of the pictures in a folder.
fn clip(path: &Path, files: Vec<PathBuf>, page: Option<usize>) -> Result<Scan, InputError> {
    let first = Image::open_page(&files[0], page)?;
    let mut info = ScanInfo::plain(path.display().to_string(), ScanKind::Clip, files.clone());
    info.frames = Some(files.len());
    info.source_frames = (0..files.len()).map(|file| SourceFrame { file, frame: 1 }).collect();
    info.size = Some((first.height(), first.width()));
    let rest = files.into_iter().skip(1).map(move |file| Image::open_page(file, page));
    let frames: Frames = Box::new(std::iter::once(Ok(first)).chain(rest));
    Ok(Scan::new(info, frames))
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
