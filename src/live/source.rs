//! What frames come from.

use std::path::PathBuf;
use std::time::Instant;

use crate::features::Geometry;
use crate::input::{Image, InputError, ScanInfo, ScanKind};

/// A frame, and when it was exposed.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its number in the source, from 1; frames that were lost count too.
    pub number: u64,
    /// When it was exposed. A source that does not tell this takes the moment at which the frame was complete.
    pub exposed: Instant,
    /// Its pixels.
    pub image: Image,
    /// Where these lie in the stored picture, and how large they are.
    pub geometry: Geometry,
    /// The file that it came from, if each frame has its own.
    pub file: Option<PathBuf>,
    /// Counts how often the source began anew, such as a camera that was unplugged: what a frame of another epoch shows has
    /// nothing to do with this one.
    pub epoch: u32,
    /// Whether its pixels may show the patient's name: a whole DICOM picture that does not say the contrary (PS3.3
    /// C.7.6.1.1.5). Other sources do not tell.
    pub may_show_text: bool,
}

impl Frame {
    /// A frame of which only the pixels are known.
    pub fn new(number: u64, exposed: Instant, image: Image) -> Frame {
        let geometry = Geometry::of_image(&image);
        Frame { number, exposed, image, geometry, file: None, epoch: 0, may_show_text: false }
    }

    /// A frame of a scan, which is a picture by itself here.
    pub(super) fn of_scan(number: u64, exposed: Instant, image: Image, info: &ScanInfo) -> Frame {
        let geometry = Geometry { kind: ScanKind::Image, ..Geometry::of(info, &image) };
        let text = info.dicom.as_ref().is_some_and(|dicom| dicom.may_show_text);
        let may_show_text = text && info.crop.is_none();
        Frame { number, exposed, image, geometry, file: None, epoch: 0, may_show_text }
    }
}

/// What a source gives.
#[derive(Debug)]
pub enum Grabbed {
    /// A frame.
    Frame(Frame),
    /// A frame that cannot be read, after which others may follow.
    Lost {
        /// Its number in the source, from 1.
        number: u64,
        /// What is wrong with it.
        problem: InputError,
    },
}

/// A source of live frames. It is read by a thread of its own, so it may wait.
pub trait Source: Send {
    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// [`InputError`] if the source cannot be read any more.
    fn next(&mut self) -> Result<Option<Grabbed>, InputError>;
}
