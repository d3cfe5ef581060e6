//! What a path means: one picture, a clip or a volume, read frame by frame.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::scan_info::{ScanInfo, ScanKind};
use super::stream::{StreamFormat, Y4M_MAGIC};
use super::{Image, InputError, ReadOptions, dicom, dicom_sniff, files, nifti};

/// Frames as a reader gives them.
pub(super) type Frames = Box<dyn Iterator<Item = Result<Image, InputError>> + Send>;

/// The frames of an image, a clip or a volume, in order, all of one size. However long it is, one frame is held (of a
/// NIfTI volume the voxels as the file has them, since it may be compressed as a whole).
///
/// ```
/// use microraptor::input::{PhantomKind, Scan, phantom};
///
/// let mut scan = Scan::from_image("cyst", phantom(1, PhantomKind::Cyst, 64).image.into());
/// assert_eq!(scan.info().frames, Some(1));
/// let frame = scan.next().unwrap()?;
/// assert_eq!((frame.height(), frame.width()), (64, 64));
/// assert!(scan.next().is_none());
/// # Ok::<(), microraptor::input::InputError>(())
/// ```
pub struct Scan {
    info: ScanInfo,
    frames: Frames,
    /// Size and number of the frames that were given out.
    given: Option<(usize, usize)>,
    count: usize,
    ended: bool,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("info", &self.info).field("count", &self.count).finish_non_exhaustive()
    }
}

impl Scan {
    pub(super) fn new(info: ScanInfo, frames: Frames) -> Scan {
        Scan { info, frames, given: None, count: 0, ended: false }
    }

    /// Opens a file, or a folder as one scan; the content decides what it is, not the name:
    ///
    /// - a PNG, JPEG, TIFF, BMP, WebP or PNM file: an image, as [`Image::open`] reads it;
    /// - a DICOM file: an image, or a clip where it has several frames (a volume, where these have positions);
    /// - a NIfTI file (`.nii`, `.nii.gz`): a volume, sliced along [`ReadOptions::axis`];
    /// - a YUV4MPEG2 file (`.y4m`): a clip;
    /// - a folder of DICOM files: one series, a volume, sorted by position;
    /// - a folder of pictures: a clip, sorted by name with numbers by value (`frame2` before `frame10`).
    ///
    /// # Errors
    /// [`InputError`], one line, names the file and what to do. Nothing large is allocated before a header has been
    /// compared with the file's length.
    pub fn open(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Scan, InputError> {
        let path = path.as_ref();
        let content = Content::of(path)?;
        if options.crop_us && !matches!(content, Content::Dicom | Content::Series(_)) {
            let problem =
                "is not DICOM and so has no ultrasound regions to crop to: leave --crop-us out".into();
            return Err(InputError::Unreadable { path: path.into(), problem });
        }
        match content {
            Content::Picture => Ok(Scan::from_file(path.display().to_string(), Image::open(path)?, path)),
            Content::Dicom => dicom::open_file(path, options),
            Content::Series(files) => dicom::open_series(path, files, options),
            Content::Nifti => nifti::open(path, options),
            Content::Y4m => {
                let file = File::open(path).map_err(|e| InputError::read(path, &e))?;
                let mut scan = Scan::from_reader(path.display().to_string(), file, StreamFormat::Y4m)?;
                scan.info.files = vec![path.into()];
                Ok(scan)
            }
            Content::Clip(files) => clip(path, files),
        }
    }

    /// One picture that is in memory.
    pub fn from_image(name: impl Into<String>, image: Arc<Image>) -> Scan {
        let mut info = ScanInfo::plain(name.into(), ScanKind::Image, vec![]);
        info.frames = Some(1);
        info.size = Some((image.height(), image.width()));
        let mut image = Some(image);
        Scan::new(
            info,
            Box::new(std::iter::from_fn(move || image.take().map(|image| Ok(Arc::unwrap_or_clone(image))))),
        )
    }

    fn from_file(name: String, image: Image, path: &Path) -> Scan {
        let mut scan = Scan::from_image(name, Arc::new(image));
        scan.info.files = vec![path.into()];
        scan
    }

    /// What is known of it.
    pub fn info(&self) -> &ScanInfo {
        &self.info
    }

    /// The size of the first frame binds the others.
    fn check(&mut self, frame: Image) -> Result<Image, InputError> {
        self.count += 1;
        let size = (frame.height(), frame.width());
        let expected = *self.given.get_or_insert(size);
        if size != expected {
            let (name, frame) = (self.info.name.clone(), self.count);
            return Err(InputError::FrameSize { name, frame, expected, found: size });
        }
        Ok(frame)
    }
}

impl Iterator for Scan {
    type Item = Result<Image, InputError>;

    /// The next frame; after an error nothing more comes.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let frame = self.frames.next().map(|frame| frame.and_then(|frame| self.check(frame)));
        self.ended = !matches!(frame, Some(Ok(_)));
        frame
    }
}

/// The pictures of a folder, one after the other.
fn clip(path: &Path, files: Vec<PathBuf>) -> Result<Scan, InputError> {
    let first = Image::open(&files[0])?;
    let mut info = ScanInfo::plain(path.display().to_string(), ScanKind::Clip, files.clone());
    info.frames = Some(files.len());
    info.size = Some((first.height(), first.width()));
    let rest = files.into_iter().skip(1).map(Image::open);
    Ok(Scan::new(info, Box::new(std::iter::once(Ok(first)).chain(rest))))
}

/// Whether a file is NIfTI.
pub(super) fn is_nifti(path: &Path) -> Result<bool, InputError> {
    Ok(Content::of_file(path)? == Content::Nifti)
}

/// What a path holds.
#[derive(Debug, PartialEq)]
enum Content {
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
    fn of(path: &Path) -> Result<Content, InputError> {
        let metadata = fs::metadata(path).map_err(|e| InputError::read(path, &e))?;
        if metadata.is_dir() { Content::of_folder(path) } else { Content::of_file(path) }
    }

    /// By the first bytes; a name that ends in `.dcm` or `.nii` is taken at its word where they say nothing, so that the
    /// error is about that format.
    fn of_file(path: &Path) -> Result<Content, InputError> {
        let mut start = Vec::with_capacity(nifti::SNIFF_BYTES);
        let file = File::open(path).map_err(|e| InputError::read(path, &e))?;
        let mut reader = file.take(nifti::SNIFF_BYTES as u64);
        reader.read_to_end(&mut start).map_err(|e| InputError::read(path, &e))?;
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        Ok(if dicom_sniff::is_dicom(&start) || name.ends_with(".dcm") {
            Content::Dicom
        } else if start.starts_with(Y4M_MAGIC) || name.ends_with(".y4m") {
            Content::Y4m
        } else if nifti::is_nifti(&start) || name.ends_with(".nii") || name.ends_with(".nii.gz") {
            Content::Nifti
        } else {
            Content::Picture
        })
    }

    fn of_folder(path: &Path) -> Result<Content, InputError> {
        let mut dicom = Vec::new();
        let mut pictures = Vec::new();
        for file in files::plain_files(path)? {
            // The index of a DICOM medium is itself DICOM, and no image.
            if file.file_name().is_some_and(|name| name.eq_ignore_ascii_case("DICOMDIR")) {
                continue;
            }
            match Content::of_file(&file)? {
                Content::Dicom => dicom.push(file),
                Content::Nifti | Content::Y4m if dicom.is_empty() && pictures.is_empty() => {
                    let problem = format!("is a folder with {}: give that file itself", file.display());
                    return Err(InputError::Unreadable { path: path.into(), problem });
                }
                _ if files::is_picture_name(&file) => pictures.push(file),
                _ => {}
            }
        }
        match (dicom.is_empty(), pictures.is_empty()) {
            (true, true) => Err(InputError::NoImages { path: path.into() }),
            (false, false) => {
                let problem =
                    "holds both DICOM files and pictures: keep one kind, or give the files one by one".into();
                Err(InputError::Unreadable { path: path.into(), problem })
            }
            (false, true) => Ok(Content::Series(dicom)),
            (true, false) => {
                pictures.sort_by(|a, b| files::natural(a, b));
                Ok(Content::Clip(pictures))
            }
        }
    }

    fn files(self, path: &Path) -> Vec<PathBuf> {
        match self {
            Content::Series(files) | Content::Clip(files) => files,
            _ => vec![path.into()],
        }
    }
}

/// SHA-256, in lower-case hex, of the bytes of every file that [`Scan::open`] would read (in the order of their names, not
/// of positions) and of the options: what is read again with the same digest gives the same frames.
///
/// # Errors
/// [`InputError`] when the path or a file cannot be read, or the folder is no scan.
pub fn content_digest(path: impl AsRef<Path>, options: &ReadOptions) -> Result<String, InputError> {
    let path = path.as_ref();
    let mut hash = Sha256::new();
    let options = serde_json::to_string(options).unwrap_or_else(|_| format!("{options:?}"));
    hash.update(options);
    for file in Content::of(path)?.files(path) {
        let failed = |e: std::io::Error| InputError::read(&file, &e);
        let opened = File::open(&file).map_err(failed)?;
        // The length keeps two files from passing for others that are parted elsewhere.
        hash.update(opened.metadata().map_err(failed)?.len().to_le_bytes());
        let mut reader = BufReader::with_capacity(1 << 20, opened);
        loop {
            let bytes = reader.fill_buf().map_err(failed)?;
            if bytes.is_empty() {
                break;
            }
            hash.update(bytes);
            let read = bytes.len();
            reader.consume(read);
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
