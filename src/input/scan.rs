//! A picture, a clip or a volume, read frame by frame.

use std::path::PathBuf;
use std::sync::Arc;

use super::scan_info::{ScanInfo, ScanKind};
use super::{Image, InputError, MAX_FRAMES};
use crate::guarded::guarded;

/// Frames as returned by a reader.
pub(super) type Frames = Box<dyn Iterator<Item = Result<Image, InputError>> + Send>;

/// The frames of an image, a clip or a volume, in order, all of one size. Only one frame is in memory, whatever the
/// scan's length; for a NIfTI volume, the file's voxels too, because the file may be compressed as a whole.
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
    /// Size of the first frame, and number of frames returned so far.
    given: Option<(usize, usize)>,
    count: usize,
    /// Maximum number of frames.
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

    /// The same scan with another frame limit: beyond it, [`Iterator::next`] returns an error.
    ///
    /// # Errors
    /// [`InputError::Frames`] if the number of frames is known and too large.
    pub fn limited(mut self, most: usize) -> Result<Scan, InputError> {
        check_frames(&self.info.name, self.info.frames, most)?;
        self.most = most;
        Ok(self)
    }

    /// A scan of one picture in memory.
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

    /// The same scan, read from `files`.
    pub(super) fn with_files(mut self, files: Vec<PathBuf>) -> Scan {
        self.info.files = files;
        self
    }

    /// Information about the scan.
    pub fn info(&self) -> &ScanInfo {
        &self.info
    }

    /// Checks the number of frames, and that all have the size of the first.
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

    /// The next frame; `None` after an error.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A decoder that panics in the middle of a clip ends it with a one-line error.
    #[test]
    fn a_frame_on_which_a_decoder_panics_is_an_error() {
        let image = Image::from_grey8(16, 16, vec![0; 256]).unwrap();
        let mut count = 0;
        let frames = std::iter::from_fn(move || {
            count += 1;
            assert!(count < 3, "as a decoder does on damaged data");
            Some(Ok(image.clone()))
        });
        let info = ScanInfo::plain("clip.dcm".into(), ScanKind::Clip, vec![]);
        let mut scan = Scan::new(info, Box::new(frames));
        assert!(scan.next().unwrap().is_ok() && scan.next().unwrap().is_ok());
        let message = scan.next().unwrap().unwrap_err().to_string();
        assert_eq!(message, "clip.dcm: frame 3 cannot be read: the decoder gave up on damaged data");
        assert!(scan.next().is_none());
    }
}
