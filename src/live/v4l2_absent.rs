//! Stub for cameras on other systems than Linux, and in a build without the feature `v4l2`: starting one returns an error
//! that says so.

use std::io;
use std::path::PathBuf;

use super::camera::{Camera, CameraSettings, Shot};
use crate::input::CameraFormat;

/// A camera, which this build cannot open.
pub struct V4l2Camera;

impl V4l2Camera {
    /// A camera that does not start.
    pub fn new(_: impl Into<PathBuf>, _: CameraSettings) -> V4l2Camera {
        V4l2Camera
    }
}

impl Camera for V4l2Camera {
    fn start(&mut self) -> io::Result<CameraFormat> {
        let problem = "is a camera, and this program was built without them: build it on Linux with the feature v4l2, or \
                       pipe the frames in (ffmpeg -f v4l2)";
        Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
    }

    fn shoot(&mut self) -> io::Result<Shot<'_>> {
        Err(io::ErrorKind::NotConnected.into())
    }
}
