//! A folder into which a device or an archive writes files.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::source::{Frame, Grabbed, Source};
use crate::input::{InputError, ReadOptions, Scan};

/// Memory for the events of one read: some hundred, each with a file name.
const EVENTS: usize = 16 << 10;

/// The files that come into a folder, in the order in which they are complete. A file is complete when it is closed by
/// the one who writes it, or moved there. Those that are there already, and names that begin with a dot or end in
/// `.part`, `.partial` or `.tmp`, are left alone. Each frame of a clip is a frame. Only writers on this machine are
/// noticed, not those on another that shares the folder.
///
/// When a frame was exposed no file tells by our clock; it is the moment at which the file was last changed or moved.
pub struct FolderSource {
    folder: PathBuf,
    events: OwnedFd,
    options: ReadOptions,
    /// Files that are complete; `None` where the system lost count.
    found: VecDeque<Option<PathBuf>>,
    /// The file whose frames are read, and when it was complete.
    open: Option<(Scan, PathBuf, Instant)>,
    count: u64,
}

impl FolderSource {
    /// Watches `folder` from now on.
    ///
    /// # Errors
    /// [`InputError`] names the folder, if it cannot be watched.
    pub fn open(folder: &Path, options: &ReadOptions) -> Result<FolderSource, InputError> {
        let watch = || {
            let events = inotify::init(CreateFlags::CLOEXEC)?;
            let wanted = WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVED_TO
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            inotify::add_watch(&events, folder, wanted)?;
            Ok::<OwnedFd, rustix::io::Errno>(events)
        };
        let events = watch().map_err(|error| InputError::read(folder, &error.into()))?;
        let (folder, options) = (folder.to_owned(), options.clone());
        Ok(FolderSource { folder, events, options, found: VecDeque::new(), open: None, count: 0 })
    }

    fn gone(&self, why: &str) -> InputError {
        InputError::Unreadable {
            path: self.folder.clone(),
            problem: format!("{why}: watch a folder that stays"),
        }
    }

    /// Waits for events and notes the files that they name.
    fn wait(&mut self) -> Result<(), InputError> {
        let mut memory = [const { MaybeUninit::uninit() }; EVENTS];
        let mut events = inotify::Reader::new(&self.events, &mut memory);
        loop {
            let event = match events.next() {
                Err(rustix::io::Errno::INTR) => continue,
                event => event.map_err(|error| InputError::read(&self.folder, &error.into()))?,
            };
            let what = event.events();
            if what.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED) {
                return Err(self.gone("was moved or deleted"));
            }
            if what.intersects(ReadFlags::UNMOUNT) {
                return Err(self.gone("was unmounted"));
            }
            if what.intersects(ReadFlags::QUEUE_OVERFLOW) {
                self.found.push_back(None);
            }
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let is_file = !what.intersects(ReadFlags::ISDIR);
            if let Some(name) = name.filter(|name| is_file && !is_temporary(name.as_bytes())) {
                self.found.push_back(Some(self.folder.join(name)));
            }
            if events.is_buffer_empty() {
                return Ok(());
            }
        }
    }

    /// The next frame of the file that is open, if there is one.
    fn frame(&mut self) -> Option<Grabbed> {
        let (scan, path, exposed) = self.open.as_mut()?;
        let frame = scan.next();
        if !matches!(frame, Some(Ok(_))) {
            let (_, path, _) = self.open.take()?;
            log::debug!("{}: read", path.display());
            return frame?.err().map(|problem| self.lost(problem));
        }
        self.count += 1;
        let mut frame = Frame::of_scan(self.count, *exposed, frame?.ok()?, scan.info());
        frame.file = Some(path.clone());
        Some(Grabbed::Frame(frame))
    }

    fn lost(&mut self, problem: InputError) -> Grabbed {
        self.count += 1;
        Grabbed::Lost { number: self.count, problem }
    }
}

/// When a file was last changed, or moved, by our clock (its time of status change).
fn changed(path: &Path) -> Instant {
    use std::os::unix::fs::MetadataExt;
    let time = std::fs::metadata(path).ok().and_then(|metadata| {
        let (seconds, rest) = (metadata.ctime().try_into().ok()?, metadata.ctime_nsec().try_into().ok()?);
        UNIX_EPOCH.checked_add(Duration::new(seconds, rest))
    });
    let age = time.and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or_default();
    Instant::now().checked_sub(age).unwrap_or_else(Instant::now)
}

/// Whether a file of this name is one that is being written, under a name that it will not keep.
fn is_temporary(name: &[u8]) -> bool {
    name.starts_with(b".")
        || [&b".part"[..], b".partial", b".tmp"].iter().any(|ending| name.ends_with(ending))
}

impl Source for FolderSource {
    fn next(&mut self) -> Result<Option<Grabbed>, InputError> {
        loop {
            if let Some(frame) = self.frame() {
                return Ok(Some(frame));
            }
            match self.found.pop_front() {
                None => self.wait()?,
                Some(None) => {
                    let problem =
                        self.gone("was filled faster than its files were read, and some are not known");
                    return Ok(Some(self.lost(problem)));
                }
                Some(Some(path)) => {
                    let exposed = changed(&path);
                    match Scan::open(&path, &self.options) {
                        Ok(scan) => self.open = Some((scan, path, exposed)),
                        Err(problem) => return Ok(Some(self.lost(problem))),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::input::Image;

    fn picture(value: u8) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let grey = image::GrayImage::from_pixel(16, 16, image::Luma([value]));
        grey.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_file_is_taken_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let (watched, beside) = (folder.path().join("in"), folder.path().join("beside.png"));
        fs::create_dir(&watched).unwrap();
        fs::write(watched.join("before.png"), picture(1)).unwrap();
        let mut source = FolderSource::open(&watched, &ReadOptions::default()).unwrap();
        fs::write(watched.join(".hidden"), picture(2)).unwrap();
        fs::write(watched.join("a.png.part"), picture(2)).unwrap();
        fs::create_dir(watched.join("folder")).unwrap();
        fs::write(watched.join("half.png"), &picture(3)[..60]).unwrap();
        fs::write(&beside, picture(4)).unwrap();
        fs::rename(&beside, watched.join("moved.png")).unwrap();
        let Ok(Some(Grabbed::Lost { number: 1, problem })) = source.next() else {
            panic!("half a file is none")
        };
        assert!(problem.to_string().contains("half.png"), "{problem}");
        let Ok(Some(Grabbed::Frame(frame))) = source.next() else { panic!("a file was moved there") };
        let age = frame.exposed.elapsed();
        assert!(age < Duration::from_secs(60), "{age:?}");
        assert_eq!((frame.number, frame.file), (2, Some(watched.join("moved.png"))));
        assert_eq!(frame.image.pixels(), Image::open(watched.join("moved.png")).unwrap().pixels());
        fs::remove_dir_all(&watched).unwrap();
        assert!(source.next().unwrap_err().to_string().contains("moved or deleted"));
        assert!(FolderSource::open(&watched, &ReadOptions::default()).is_err());
    }
}
