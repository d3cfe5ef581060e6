//! Live frames: a source that is read on a thread of its own, one slot between it and the pipeline, and what can be
//! wrong with a picture.
//!
//! A [`Grabber`] reads a [`Source`] and keeps at most one frame that waits. What happens to a frame that arrives while
//! another one waits is its [`Policy`]. Every frame carries the time of its exposure, as far as the source tells it, so
//! that the age of an answer is known. An [`Examiner`] tells frozen, black, saturated and resized pictures, and
//! [`Smoothing`] averages the probabilities of the last frames.
//!
//! ```
//! use std::io::Cursor;
//! use std::time::Duration;
//!
//! use microraptor::input::{ReadOptions, StreamFormat};
//! use microraptor::live::{Grabber, Next, Policy, StreamSource};
//!
//! let pixels = Cursor::new(vec![7; 3 * 64]);
//! let source = StreamSource::new("probe", pixels, "gray:8x8".parse()?, &ReadOptions::default());
//! let mut grabber = Grabber::start(Box::new(source), Policy::Every)?;
//! let Next::Frame(frame) = grabber.next(Duration::from_secs(10))? else { panic!("there are three") };
//! assert_eq!((frame.number, frame.image.width()), (1, 8));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod camera;
mod clip;
mod examine;
#[cfg_attr(not(target_os = "linux"), path = "folder_absent.rs")]
mod folder;
mod grabber;
#[cfg(feature = "igtl")]
mod igtl;
mod policy;
mod smooth;
mod source;
mod stream;
#[cfg_attr(not(all(feature = "v4l2", target_os = "linux")), path = "v4l2_absent.rs")]
mod v4l2;
mod view;

pub use camera::{Camera, CameraSettings, CameraSource, Shot};
pub use clip::ClipSource;
pub use examine::{Examiner, Picture};
pub use folder::FolderSource;
pub use grabber::{Grabber, Next, Tally};
#[cfg(feature = "igtl")]
pub use igtl::{IgtlAddress, IgtlMessage, IgtlPeers, IgtlPicture, IgtlReader, IgtlSource, IgtlStatus};
pub use policy::Policy;
pub use smooth::Smoothing;
pub use source::{Frame, Grabbed, Source};
pub use stream::StreamSource;
pub use v4l2::V4l2Camera;
pub use view::{Turn, View};
