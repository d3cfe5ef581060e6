//! Pictures with masks, or masks alone, as video on a pipe.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use microraptor::heads::Outcome;
use microraptor::input::Image;
use microraptor::live::Policy;
use microraptor::names::shown;
use microraptor::output::{Y4mWriter, overlay};

use super::line::Event;
use super::outlet::{Outlet, Seen, Told};
use super::slot::Slot;
use crate::cli::args::Pipe;
use crate::cli::loaded::Loaded;

/// Whoever reads the last picture gets so much time for it.
const LAST: Duration = Duration::from_secs(1);

/// What the pictures show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// The frame, with the mask over it.
    Overlay,
    /// The class of each pixel, as a grey: 0 for the first class, 255 for the last.
    Mask,
}

impl Shows {
    fn option(self) -> &'static str {
        match self {
            Shows::Overlay => "--overlay",
            Shows::Mask => "--mask",
        }
    }
}

/// Refuses what is no pipe. Files are written by way of a descriptor alone, so that no name is overwritten by mistake.
fn check(Pipe(path): &Pipe) -> anyhow::Result<()> {
    let descriptor = path.starts_with("/dev/fd/");
    if !descriptor && !is_pipe(path) {
        bail!("is no pipe: give a descriptor, such as 3 with 3>FILE in the shell, or make one (mkfifo)");
    }
    path.metadata().context("is not open: open the descriptor in the shell, as in 3> >(ffplay -)")?;
    Ok(())
}

#[cfg(unix)]
fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo())
}

#[cfg(not(unix))]
fn is_pipe(_: &Path) -> bool {
    false
}

/// Video of what is answered. A thread writes it: with the policy `every` each picture, otherwise the newest one, so that a
/// reader who is too slow holds nothing up.
pub struct Video {
    shows: Shows,
    pipe: PathBuf,
    every: bool,
    slot: Arc<Slot<Picture>>,
    ended: Receiver<io::Result<()>>,
    /// Of the last picture.
    size: Option<(usize, usize)>,
    left_out: u64,
    /// Whether it was said that pictures are black.
    said: bool,
}

/// A picture that waits to be written.
struct Picture {
    width: usize,
    height: usize,
    image: Option<Image>,
    /// One for each pixel.
    labels: Option<Vec<u8>>,
    classes: usize,
}

/// The first head that lays masks; it may be another one after SIGHUP.
fn laying(heads: &[Loaded]) -> Option<usize> {
    heads.iter().position(|loaded| loaded.head.model.kind() == "segment")
}

impl Video {
    /// Opens `pipe`, for pictures at `rate`.
    pub fn open(
        shows: Shows,
        pipe: &Pipe,
        heads: &[Loaded],
        policy: Policy,
        rate: [u32; 2],
    ) -> anyhow::Result<Video> {
        let option = shows.option();
        if laying(heads).is_none() {
            bail!("{option}: none of the heads lays masks: leave it out");
        }
        let named = || format!("{option} {}", shown(&pipe.0));
        check(pipe).with_context(named)?;
        let (slot, (send, ended)) = (Arc::new(Slot::default()), channel());
        let (taken, to) = (slot.clone(), pipe.0.clone());
        thread::Builder::new().name("video".into()).spawn(move || {
            // This waits until a pipe has a reader.
            let file = OpenOptions::new().write(true).open(to);
            let result = file.and_then(|file| write(shows, &taken, Y4mWriter::new(file, rate)));
            // Whoever puts a picture there must not wait for it to be taken.
            taken.close();
            let _ = send.send(result);
        })?;
        let (pipe, every) = (pipe.0.clone(), policy == Policy::Every);
        Ok(Video { shows, pipe, every, slot, ended, size: None, left_out: 0, said: false })
    }

    fn say_what_is_hidden(&mut self, seen: Option<&Seen>) {
        let hidden = self.shows == Shows::Overlay && seen.is_some_and(|seen| seen.frame.may_show_text);
        if hidden && !std::mem::replace(&mut self.said, true) {
            log::warn!(
                "{}: pictures may show the patient's name, and are black: name a part of them (--crop, --crop-us)",
                self.name()
            );
        }
    }

    fn picture(&self, seen: &Seen) -> anyhow::Result<Picture> {
        let image = &seen.frame.image;
        let head = laying(seen.heads).context("none of the heads lays masks any more")?;
        let classes = seen.heads[head].head.model.classes().len();
        let outcome = seen.outcomes.get(head).copied().flatten();
        let labels = match outcome {
            Some(Outcome::Mask(mask)) => Some(seen.part(mask).labels),
            _ => None,
        };
        let (width, height) = (image.width(), image.height());
        let image = (self.shows == Shows::Overlay).then(|| seen.picture());
        Ok(Picture { width, height, image, labels, classes })
    }
}

impl Outlet for Video {
    fn name(&self) -> String {
        format!("{} {}", self.shows.option(), shown(&self.pipe))
    }

    fn told(&mut self, told: &Told) -> anyhow::Result<()> {
        if let Ok(ended) = self.ended.try_recv() {
            ended.context("cannot be written to")?;
        }
        let picture = match told.event {
            Event::Frame(_) => {
                self.say_what_is_hidden(told.seen.as_ref());
                told.seen.map(|seen| self.picture(&seen)).transpose()?
            }
            Event::Stalled { blank: true, .. } | Event::Stuck { blank: true, .. } => self
                .size
                .map(|(width, height)| Picture { width, height, image: None, labels: None, classes: 1 }),
            Event::Ended { .. } => {
                self.slot.close();
                // The program ends all the same if nobody reads.
                if let Ok(ended) = self.ended.recv_timeout(LAST) {
                    ended.context("cannot be written to")?;
                }
                if self.left_out > 0 {
                    log::warn!(
                        "{}: {} pictures were left out, since its reader was slow",
                        self.name(),
                        self.left_out
                    );
                }
                None
            }
            _ => None,
        };
        if let Some(picture) = picture {
            self.size = Some((picture.width, picture.height));
            if self.every {
                self.slot.put(picture);
            } else {
                self.left_out += u64::from(self.slot.replace(picture));
            }
        }
        Ok(())
    }
}

/// Writes what comes.
fn write(shows: Shows, slot: &Slot<Picture>, mut writer: Y4mWriter<File>) -> io::Result<()> {
    while let Some(Picture { width, height, image, labels, classes }) = slot.take() {
        let labels = labels.unwrap_or_else(|| vec![0; width * height]);
        match shows {
            Shows::Mask => {
                let last = classes.saturating_sub(1).max(1);
                let grey = |label: &u8| u8::try_from(255 * usize::from(*label) / last).unwrap_or(u8::MAX);
                writer.grey(width, height, &labels.iter().map(grey).collect::<Vec<u8>>())?;
            }
            Shows::Overlay => {
                let black = || Image::from_grey8(width, height, vec![0; width * height]);
                let image = image.map_or_else(black, Ok).map_err(io::Error::other)?;
                writer.rgb(width, height, &overlay(&image, &labels))?;
            }
        }
    }
    Ok(())
}
