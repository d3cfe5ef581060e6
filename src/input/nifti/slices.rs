//! Reads a volume as a scan of its slices.

use std::path::Path;
use std::sync::Arc;

use super::volume::Volume;
use crate::input::scan::{Frames, Scan};
use crate::input::scan_info::{ScanInfo, ScanKind, SourceFrame, Spacing};
use crate::input::{Image, InputError, ReadOptions, Window};

/// Reads a volume; its slices are rendered on demand.
pub(in crate::input) fn open(path: &Path, options: &ReadOptions) -> Result<Scan, InputError> {
    let volume = Volume::read(path, options.axis.into(), options.volume, options.most_frames())?;
    let [depth, height, width] = volume.info.shape();
    let [slices, rows, columns] = volume.info.axes.map(|axis| volume.info.spacing[axis]);
    let mut info = ScanInfo::plain(path.display().to_string(), ScanKind::Volume, vec![path.into()]);
    info.frames = Some(depth);
    info.size = Some((height, width));
    info.spacing = Some(Spacing { slices: Some(slices), rows, columns });
    let along = |z: usize| if volume.info.flips[0] { depth - z } else { z + 1 };
    info.source_frames = (0..depth).map(|z| SourceFrame { file: 0, frame: along(z) }).collect();
    info.nifti = Some(volume.info.clone());
    if volume.kind.is_colour() {
        volume.check_alpha(path)?;
        let frames: Frames = Box::new((0..depth).map(move |z| {
            let mut pixels = Vec::with_capacity(3 * height * width);
            for y in 0..height {
                pixels.extend((0..width).flat_map(|x| volume.colour(volume.info.index([z, y, x]))));
            }
            Image::from_rgb8(width, height, pixels)
        }));
        return Ok(Scan::new(info, frames));
    }
    volume.check_finite(path)?;
    let [low, high] = match (options.window, volume.display) {
        (Some(window), _) => bounds(window),
        (None, Some(display)) => display,
        (None, None) => volume.percentiles(),
    };
    let volume = Arc::new(volume);
    let frames: Frames = Box::new((0..depth).map(move |z| {
        let scale = 65535.0 / (high - low);
        let grey = |value: f64| {
            if value.is_finite() { ((value - low) * scale).clamp(0.0, 65535.0).round() as u16 } else { 0 }
        };
        let mut pixels = Vec::with_capacity(height * width);
        for y in 0..height {
            pixels.extend((0..width).map(|x| grey(volume.value(volume.info.index([z, y, x])))));
        }
        Image::from_grey16(width, height, pixels)
    }));
    Ok(Scan::new(info, frames))
}

/// The values of black and white for a window. NIfTI values are real numbers, so this is DICOM's LINEAR_EXACT.
fn bounds(window: Window) -> [f64; 2] {
    [window.center - window.width / 2.0, window.center + window.width / 2.0]
}
