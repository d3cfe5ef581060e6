//! What a path means: one picture, a clip or a volume, read frame by frame.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::scan_info::{ScanInfo, ScanKind, SourceFrame};
use super::stream::StreamFormat;
use super::y4m::MAGIC as Y4M_MAGIC;
use super::{Image, InputError, MAX_FRAMES, ReadOptions, dicom, dicom_sniff, files, nifti};
use crate::guarded::guarded;

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
    /// The most frames that are given out.
    most: usize,
    ended: bool,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("info", &self.info).field("count", &self.count).finish_non_exhaustive()
    }
}

impl Scan {
    pub(super) fn new(info: ScanInfo, frames: Frames) -> Scan {
        Scan { info, frames, given: None, count: 0, most: MAX_FRAMES, ended: false }
    }

    /// Opens a file, or a folder as one scan; the content decides what it is, not the name:
    ///
    /// - a PNG, JPEG, TIFF, BMP, GIF, WebP or PNM file: an image, as [`Image::open_page`] reads it;
    /// - a DICOM file: an image, or a clip where it has several frames (a volume, where these have positions);
    /// - a NIfTI file (`.nii`, `.nii.gz`), or either file of a pair (`.hdr` and `.img`): a volume, sliced along
    ///   [`ReadOptions::axis`];
    /// - a YUV4MPEG2 file (`.y4m`): a clip;
    /// - a folder of DICOM files: one series, a volume, sorted by position;
    /// - a folder of pictures: a clip, sorted by name with numbers by value (`frame2` before `frame10`).
    ///
    /// # Errors
    /// [`InputError`], one line, names the file and what to do. Nothing large is allocated before a header has been
    /// compared with the file's length.
    pub fn open(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Scan, InputError> {
        let path = path.as_ref();
        guarded(|| Scan::read(path, options), |reason| InputError::unreadable(path, reason))
    }

    fn read(path: &Path, options: &ReadOptions) -> Result<Scan, InputError> {
        let content = Content::of(path, true)?;
        if options.volume.is_some() && content != Content::Nifti {
            return Err(InputError::unreadable(
                path,
                "is not NIfTI and holds no volumes to choose from: leave --volume out",
            ));
        }
        if options.crop_us && !matches!(content, Content::Dicom | Content::Series(_)) {
            let problem =
                "is not DICOM and so has no ultrasound regions to crop to: leave --crop-us out".into();
            return Err(InputError::Unreadable { path: path.into(), problem });
        }
        let most = options.most_frames();
        if let Content::Series(files) | Content::Clip(files) = &content {
            check_frames(&path.display().to_string(), Some(files.len()), most)?;
        }
        if options.page.is_some() && !matches!(content, Content::Picture | Content::Clip(_)) {
            let problem =
                "has frames or slices, of which all are read, and no pages: leave --page out".into();
            return Err(InputError::Unreadable { path: path.into(), problem });
        }
        let scan = match content {
            Content::Picture => {
                let image = Image::open_page(path, options.page)?;
                Ok(Scan::from_file(path.display().to_string(), image, path))
            }
            Content::Dicom => dicom::open_file(path, options),
            Content::Series(files) => dicom::open_series(path, files, options),
            Content::Nifti => nifti::open(path, options),
            Content::Y4m => {
                let file = crate::files::open(path).map_err(|e| InputError::read(path, &e))?;
                let name = path.display().to_string();
                let mut scan = Scan::from_stream(name, file, StreamFormat::Y4m, options)?;
                scan.info.files = vec![path.into()];
                Ok(scan)
            }
            Content::Clip(files) => clip(path, files, options.page),
        };
        scan?.limited(most)
    }

    /// The same scan with another limit on its frames than [`MAX_FRAMES`]: past it, [`Iterator::next`] gives an error.
    ///
    /// # Errors
    /// [`InputError::Frames`] where it is known already that there are more.
    pub fn limited(mut self, most: usize) -> Result<Scan, InputError> {
        check_frames(&self.info.name, self.info.frames, most)?;
        self.most = most;
        Ok(self)
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
        if self.count == self.most {
            let name = self.info.name.clone();
            return Err(InputError::Frames { name, frames: None, most: self.most });
        }
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
        let frames = &mut self.frames;
        let gave_up = |reason: &str| InputError::Stream {
            name: self.info.name.clone(),
            problem: format!("frame {} cannot be read: {reason}", self.count + 1),
        };
        let frame = guarded(|| frames.next().transpose(), gave_up).transpose();
        let frame = frame.map(|frame| frame.and_then(|frame| self.check(frame)));
        self.ended = !matches!(frame, Some(Ok(_)));
        frame
    }
}

/// Refuses more frames than `most`.
pub(crate) fn check_frames(name: &str, frames: Option<usize>, most: usize) -> Result<(), InputError> {
    if frames.is_some_and(|frames| frames > most) {
        return Err(InputError::Frames { name: name.into(), frames, most });
    }
    Ok(())
}

/// The pictures of a folder, one after the other.
fn clip(path: &Path, files: Vec<PathBuf>, page: Option<usize>) -> Result<Scan, InputError> {
    let first = Image::open_page(&files[0], page)?;
    let mut info = ScanInfo::plain(path.display().to_string(), ScanKind::Clip, files.clone());
    info.frames = Some(files.len());
    info.source_frames = (0..files.len()).map(|file| SourceFrame { file, frame: 1 }).collect();
    info.size = Some((first.height(), first.width()));
    let rest = files.into_iter().skip(1).map(move |file| Image::open_page(file, page));
    Ok(Scan::new(info, Box::new(std::iter::once(Ok(first)).chain(rest))))
}

/// Whether a file is NIfTI.
pub(super) fn is_nifti(path: &Path) -> Result<bool, InputError> {
    Ok(Content::of_file(path)? == Content::Nifti)
}

/// Whether `path` is a DICOM file, or a folder with one. False where it cannot be read.
pub(super) fn is_dicom(path: &Path) -> bool {
    matches!(Content::of(path, false), Ok(Content::Dicom | Content::Series(_)))
}

/// What a path holds.
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
    /// With `say`, what of a folder is passed over is counted on standard error.
    pub(super) fn of(path: &Path, say: bool) -> Result<Content, InputError> {
        let metadata = fs::metadata(path).map_err(|e| InputError::read(path, &e))?;
        if metadata.is_dir() { Content::of_folder(path, say) } else { Content::of_file(path) }
    }

    /// By the first bytes; a name that ends in `.dcm` or `.nii` is taken at its word where they say nothing, so that the
    /// error is about that format.
    pub(super) fn of_file(path: &Path) -> Result<Content, InputError> {
        Ok(Content::by_bytes(path)?.unwrap_or_else(|| Content::by_name(path)))
    }

    /// What the name of a file promises whose first bytes say nothing.
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

    /// What the first bytes of a file are known for, whatever its name.
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
            files::starts_as_picture(&start).then_some(Content::Picture)
        })
    }

    fn of_folder(path: &Path, say: bool) -> Result<Content, InputError> {
        let mut dicom = Vec::new();
        let mut pictures = Vec::new();
        let (found, passed) = files::sorted_out(path)?;
        for file in found.paths {
            match Content::of_file(&file)? {
                Content::Dicom => dicom.push(file),
                Content::Picture => pictures.push(file),
                _ => {
                    let problem = format!("is a folder with {}: give that file itself", file.display());
                    return Err(InputError::Unreadable { path: path.into(), problem });
                }
            }
        }
        if say {
            passed.say(path);
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
            Content::Nifti => nifti::files(path),
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
    for file in Content::of(path, false)?.files(path) {
        let failed = |e: std::io::Error| InputError::read(&file, &e);
        let opened = crate::files::open(&file).map_err(failed)?;
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
