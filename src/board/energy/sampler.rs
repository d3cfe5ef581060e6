//! Reads meters on a thread of its own while something else runs.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::PowerMeter;

/// How often meters are read, unless said otherwise. Converters in hwmon average over some 10 to 100 ms themselves, and a
/// reading over I2C takes the time of a system call and up to 2 ms of the bus.
pub const DEFAULT_INTERVAL: Duration = Duration::from_millis(50);

/// What a meter measured from start to stop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The meter.
    pub name: String,
    /// From start to stop, seconds.
    pub seconds: f64,
    /// Mean power; None if no reading succeeded.
    pub milliwatts: Option<f64>,
    /// Energy from start to stop: counted by the hardware, or the mean power times the seconds.
    pub joules: Option<f64>,
    /// Readings that succeeded.
    pub readings: usize,
    /// Readings that failed; the power between their neighbours is interpolated.
    pub failed: usize,
    /// Why the last of those failed.
    pub error: Option<String>,
}

/// A thread that reads meters until it is stopped or dropped.
#[derive(Debug)]
pub struct Sampler {
    thread: Option<(Sender<()>, JoinHandle<Vec<Measured>>)>,
}

impl Sampler {
    /// Starts to read the meters: at once, and again every `interval` (1 ms at least). A meter that fails costs its own
    /// readings only.
    pub fn start(meters: Vec<Box<dyn PowerMeter>>, interval: Duration) -> Sampler {
        let (stop, stopped) = channel();
        let interval = interval.max(Duration::from_millis(1));
        let work = move || {
            let start = Instant::now();
            let mut tracks: Vec<Track> = meters.into_iter().map(Track::new).collect();
            let mut next = start;
            loop {
                tracks.iter_mut().for_each(|track| track.read(start));
                // Meters slower than the interval are read without a pause, and none is made up for.
                next = (next + interval).max(Instant::now());
                let pause = next.saturating_duration_since(Instant::now());
                if stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                    break;
                }
            }
            tracks.into_iter().map(|track| track.end(start)).collect()
        };
        Sampler { thread: Some((stop, std::thread::spawn(work))) }
    }

    /// Reads the meters a last time and returns what each of them measured, in their order.
    pub fn stop(mut self) -> Vec<Measured> {
        let Some((stop, thread)) = self.thread.take() else { return Vec::new() };
        drop(stop);
        // A meter that panics is a bug of ours, and is reported as one.
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// One meter's readings so far.
struct Track {
    meter: Box<dyn PowerMeter>,
    counted_from: Option<f64>,
    mean: Mean,
    failed: usize,
    error: Option<String>,
}

impl Track {
    fn new(mut meter: Box<dyn PowerMeter>) -> Track {
        let counted_from = meter.joules();
        Track { meter, counted_from, mean: Mean::default(), failed: 0, error: None }
    }

    fn read(&mut self, start: Instant) {
        match self.meter.milliwatts() {
            Ok(milliwatts) => self.mean.add(start.elapsed().as_secs_f64(), milliwatts),
            Err(error) => (self.failed, self.error) = (self.failed + 1, Some(error.to_string())),
        }
    }

    fn end(mut self, start: Instant) -> Measured {
        self.read(start);
        let counted = self.counted_from.and_then(|from| Some(self.meter.joules()? - from));
        let seconds = start.elapsed().as_secs_f64();
        let mean = self.mean.value();
        Measured {
            name: self.meter.name(),
            seconds,
            milliwatts: counted.map(|joules| joules / seconds * 1e3).or(mean),
            joules: counted.or(mean.map(|milliwatts| milliwatts / 1e3 * seconds)),
            readings: self.mean.readings,
            failed: self.failed,
            error: self.error,
        }
    }
}

/// Mean over time of something that is read now and then: trapezoids between the readings.
#[derive(Clone, Debug, Default)]
pub(super) struct Mean {
    readings: usize,
    first: f64,
    last: (f64, f64),
    integral: f64,
}

impl Mean {
    pub fn add(&mut self, seconds: f64, value: f64) {
        if self.readings == 0 {
            self.first = seconds;
        } else {
            self.integral += (seconds - self.last.0) * (value + self.last.1) / 2.0;
        }
        self.last = (seconds, value);
        self.readings += 1;
    }

    /// None before the first reading.
    pub fn value(&self) -> Option<f64> {
        let span = self.last.0 - self.first;
        match self.readings {
            0 => None,
            _ if span > 0.0 => Some(self.integral / span),
            _ => Some(self.last.1),
        }
    }
}
