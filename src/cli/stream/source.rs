//! SOURCE of the command line.

use std::io;
use std::path::Path;

use anyhow::bail;
use microraptor::input::ReadOptions;
use microraptor::live::{ClipSource, FolderSource, Source, StreamSource};

use crate::cli::args::StreamArgs;

/// Opens `path`: `-`, a folder, or a clip.
pub fn open(path: &Path, args: &StreamArgs, read: &ReadOptions) -> anyhow::Result<Box<dyn Source>> {
    let source: Box<dyn Source> = match (path.to_str(), args.fps) {
        (Some("-"), None) => {
            if read.crop_us {
                bail!(
                    "standard input has no ultrasound regions to crop to, as this head wants (crop_us): give --crop to a head that was trained without"
                );
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
