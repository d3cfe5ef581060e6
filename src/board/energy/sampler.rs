//! Reads meters on a separate thread during a measurement.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::PowerMeter;

/// Default interval between readings. Converters in hwmon average over some 10 to 100 ms themselves, and a reading over
/// I2C costs a system call and up to 2 ms on the bus.
pub const DEFAULT_INTERVAL: Duration = Duration::from_millis(50);

/// What a meter measured between start and stop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Name of the meter.
    pub name: String,
    /// Seconds from start to stop.
    pub seconds: f64,
    /// Mean power; `None` if no reading succeeded.
    pub milliwatts: Option<f64>,
    /// Energy from start to stop: counted by the hardware, otherwise the mean power times the seconds.
    pub joules: Option<f64>,
    /// Number of readings that succeeded.
    pub readings: usize,
    /// Number of readings that failed; power is interpolated between their neighbours.
    pub failed: usize,
    /// Error of the last failed reading.
    pub error: Option<String>,
}

/// A thread that reads meters until it is stopped or dropped.
#[derive(Debug)]
pub struct Sampler {
    thread: Option<(Sender<()>, JoinHandle<Vec<Measured>>)>,
}

impl Sampler {
    /// Starts reading the meters: immediately, then every `interval` (at least 1 ms). A failing meter loses only its
    /// own readings.
    pub fn start(meters: Vec<Box<dyn PowerMeter>>, interval: Duration) -> Sampler {
        let (stop, stopped) = channel();
        let interval = interval.max(Duration::from_millis(1));
        let work = move || {
            let start = Instant::now();
            let mut tracks: Vec<Track> = meters.into_iter().map(Track::new).collect();
            let mut next = start;
            loop {
                tracks.iter_mut().for_each(|track| track.read(start));
                // If the meters are slower than the interval, they are read without a pause; missed readings are not
                // made up for.
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

    /// Reads the meters a last time and returns their measurements, in the order of the meters.
    pub fn stop(mut self) -> Vec<Measured> {
        let Some((stop, thread)) = self.thread.take() else { return Vec::new() };
        drop(stop);
        // A panic in a meter is our own bug, so it is propagated.
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

/// The readings of one meter so far.
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

/// Time average of a sampled value, by the trapezoidal rule.
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

    /// The average; `None` before the first reading.
    pub fn value(&self) -> Option<f64> {
        let span = self.last.0 - self.first;
        match self.readings {
            0 => None,
            _ if span > 0.0 => Some(self.integral / span),
            _ => Some(self.last.1),
        }
    }
}
