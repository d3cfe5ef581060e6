//! SOURCE of the command line.

use std::io;
#[cfg(unix)]
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::bail;
use microraptor::input::ReadOptions;
use microraptor::live::{
    CameraSettings, CameraSource, ClipSource, FolderSource, Source, StreamSource, V4l2Camera,
};

use crate::cli::args::{StreamArgs, Wanted};

/// Opens `path`: `-`, a camera, a folder, or a clip.
pub fn open(path: &Path, args: &StreamArgs, read: &ReadOptions) -> anyhow::Result<Box<dyn Source>> {
    if is_camera(path) {
        return Ok(args.view().of(camera(path, args, read)?));
    }
    if args.camera.is_some() {
        bail!("--camera: {} is no camera: leave it out, or give one such as /dev/video0", path.display());
    }
    let source: Box<dyn Source> = match (path.to_str(), args.fps) {
        (Some("-"), None) => {
            if read.crop_us {
                bail!("standard input {}", no_regions(args));
            }
            Box::new(StreamSource::new("standard input", io::stdin(), args.stdin.format, read))
        }
        (Some("-"), Some(_)) => bail!("--fps: standard input comes at its own rate: leave it out"),
        (_, Some(_)) if path.is_dir() => {
            bail!("--fps: the files of a watched folder come when they come: leave it out")
        }
        (_, None) if path.is_dir() => Box::new(FolderSource::open(path, read)?),
        (_, rate) => Box::new(ClipSource::open(path, rate.map(|rate| rate.0), read)?),
    };
    Ok(args.view().of(source))
}

/// Why a source cannot be cropped to its ultrasound regions.
pub fn no_regions(args: &StreamArgs) -> &'static str {
    match args.crop_us {
        true => "has no ultrasound regions to crop to: leave --crop-us out, or give --crop",
        false => {
            "has no ultrasound regions to crop to, as this head wants (crop_us): give --crop to a head that was trained without"
        }
    }
}

/// Whether `path` is a device, or named as one that is not there now.
fn is_camera(path: &Path) -> bool {
    let named = ["/dev/video", "/dev/v4l/"].iter().any(|start| path.to_string_lossy().starts_with(start));
    #[cfg(unix)]
    let device = path.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device());
    #[cfg(not(unix))]
    let device = false;
    named || device
}

fn camera(path: &Path, args: &StreamArgs, read: &ReadOptions) -> anyhow::Result<Box<dyn Source>> {
    if read.crop_us {
        bail!("{}: a camera {}", path.display(), no_regions(args));
    }
    let Wanted { code, size } = args.camera.unwrap_or_default();
    let settings = CameraSettings { code, size, rate: args.fps.map(|rate| rate.0) };
    let camera = V4l2Camera::new(path, settings);
    Ok(Box::new(CameraSource::open(path.display().to_string(), camera, read)?))
}
