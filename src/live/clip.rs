//! A recorded clip, played at its rate.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::source::{Frame, Grabbed, Source};
use crate::input::{InputError, ReadOptions, Scan};

/// The slowest rate that is played, in frames a second: a picture in a quarter of an hour.
const SLOWEST: f64 = 0.001;

/// Frames of a file, each of which is given when it is due, as from a camera: for trials, and for demonstrations.
pub struct ClipSource {
    scan: Scan,
    period: Duration,
    /// When the first frame was given.
    started: Option<Instant>,
    count: u64,
}

impl ClipSource {
    /// Opens the clip `path`, to be played at `rate` frames a second, or else at the rate that the file states.
    ///
    /// # Errors
    /// Those of [`Scan::open`]; [`InputError::Unreadable`] if there is no rate.
    pub fn open(path: &Path, rate: Option<f64>, options: &ReadOptions) -> Result<ClipSource, InputError> {
        let scan = Scan::open(path, options)?;
        let rate = rate.or(scan.info().frame_rate).filter(|rate| *rate >= SLOWEST && rate.is_finite());
        let Some(rate) = rate else {
            let problem = "does not say how many frames a second it has: give --fps";
            return Err(InputError::unreadable(path, problem));
        };
        Ok(ClipSource { scan, period: Duration::from_secs_f64(1.0 / rate), started: None, count: 0 })
    }
}

impl Source for ClipSource {
    fn next(&mut self) -> Result<Option<Grabbed>, InputError> {
        let Some(image) = self.scan.next().transpose()? else { return Ok(None) };
        let started = *self.started.get_or_insert_with(Instant::now);
        // Of the number of frames, not from one to the next: else delays would add up.
        let exposed = started + self.period.mul_f64(self.count as f64);
        thread::sleep(exposed.saturating_duration_since(Instant::now()));
        self.count += 1;
        Ok(Some(Grabbed::Frame(Frame::of_scan(self.count, exposed, image, self.scan.info()))))
    }
}
