//! Scenarios besides SingleStream, named as in MLPerf Inference (arXiv 1911.02549, section IV).

use std::str::FromStr;
use std::time::{Duration, Instant};

use super::{Budget, Latency, ProfileError, Scenario};

/// A scenario to measure besides SingleStream, which is always measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScenarioKind {
    /// Queries of several images at once, one query after the other.
    MultiStream {
        /// Images per query; 8 in MLPerf.
        images: usize,
    },
    /// All images are available from the start; throughput is what counts.
    Offline,
    /// Frames arrive at a fixed rate. Whenever the model is free it takes the newest frame; older ones are dropped.
    Camera {
        /// Frame rate, frames per second.
        fps: f64,
        /// Time after exposure beyond which a frame's features are late.
        deadline: Duration,
    },
}

/// Unknown name of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no scenario is called '{0}': give single-stream, multi-stream, offline or camera")]
pub struct ScenarioError(String);

/// Name of a scenario, without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScenarioName {
    /// One image after the other.
    SingleStream,
    /// See [`ScenarioKind::MultiStream`].
    MultiStream,
    /// See [`ScenarioKind::Offline`].
    Offline,
    /// See [`ScenarioKind::Camera`].
    Camera,
}

impl FromStr for ScenarioName {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<ScenarioName, ScenarioError> {
        match text.to_lowercase().replace(['-', '_'], "").as_str() {
            "singlestream" => Ok(ScenarioName::SingleStream),
            "multistream" => Ok(ScenarioName::MultiStream),
            "offline" => Ok(ScenarioName::Offline),
            "camera" => Ok(ScenarioName::Camera),
            _ => Err(ScenarioError(text.to_owned())),
        }
    }
}

/// Images per thread in an Offline query: enough that idle threads at its end hardly reduce the throughput.
const OFFLINE_IMAGES: usize = 8;

/// Minimum number of camera frames.
const MIN_QUERIES: usize = 10;

/// Source of time; tests replace it.
pub(super) trait Clock {
    /// Seconds since an arbitrary but fixed time.
    fn now(&mut self) -> f64;
    /// Waits until this time, on the scale of [`Clock::now`].
    fn wait_until(&mut self, seconds: f64);
}

/// The machine's clock.
pub(super) struct RealClock(Instant);

impl RealClock {
    pub fn start() -> RealClock {
        RealClock(Instant::now())
    }
}

impl Clock for RealClock {
    fn now(&mut self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    fn wait_until(&mut self, seconds: f64) {
        std::thread::sleep(Duration::from_secs_f64((seconds - self.now()).max(0.0)));
    }
}

impl ScenarioKind {
    /// Name of the scenario, in MLPerf's spelling.
    pub fn name(self) -> &'static str {
        match self {
            ScenarioKind::MultiStream { .. } => "MultiStream",
            ScenarioKind::Offline => "Offline",
            ScenarioKind::Camera { .. } => "Camera",
        }
    }

    /// Measures the scenario. `query(n)` runs one query of n images.
    ///
    /// # Errors
    /// Those of `query`.
    pub(super) fn measure(
        self,
        threads: usize,
        budget: Budget,
        query: &mut dyn FnMut(usize) -> Result<(), ProfileError>,
    ) -> Result<Scenario, ProfileError> {
        match self {
            ScenarioKind::MultiStream { images } => self.queries(images, budget, query),
            ScenarioKind::Offline => {
                self.queries(OFFLINE_IMAGES * threads, Budget { runs: 3, ..budget }, query)
            }
            ScenarioKind::Camera { fps, deadline } => {
                let frames = ((budget.time.as_secs_f64() * fps) as usize).max(MIN_QUERIES);
                query(1)?;
                camera(&mut RealClock::start(), fps, deadline.as_secs_f64(), frames, &mut || query(1))
            }
        }
    }

    fn queries(
        self,
        images: usize,
        budget: Budget,
        query: &mut dyn FnMut(usize) -> Result<(), ProfileError>,
    ) -> Result<Scenario, ProfileError> {
        query(images)?;
        let start = Instant::now();
        let mut seconds = Vec::new();
        while seconds.len() < budget.runs || start.elapsed() < budget.time {
            let run = Instant::now();
            query(images)?;
            seconds.push(run.elapsed().as_secs_f64());
        }
        let images_per_second = (images * seconds.len()) as f64 / seconds.iter().sum::<f64>();
        Ok(Scenario {
            name: self.name().to_owned(),
            images,
            latency: Latency::from_seconds(seconds),
            images_per_second,
            fps: None,
            dropped: None,
            missed: None,
            deadline_ms: None,
        })
    }
}

/// Simulates a camera. Frame k is exposed at k / fps. Whenever a run is done, the newest frame is taken next and the
/// frames between are dropped. `frames` is the number of frames that the camera delivers.
fn camera(
    clock: &mut dyn Clock,
    fps: f64,
    deadline: f64,
    frames: usize,
    run: &mut dyn FnMut() -> Result<(), ProfileError>,
) -> Result<Scenario, ProfileError> {
    let start = clock.now();
    let exposed = |frame: usize| start + frame as f64 / fps;
    let (mut next, mut dropped, mut missed) = (0, 0, 0);
    let mut latencies = Vec::new();
    while next < frames {
        clock.wait_until(exposed(next));
        let newest = (((clock.now() - start) * fps) as usize).clamp(next, frames - 1);
        dropped += newest - next;
        run()?;
        let latency = clock.now() - exposed(newest);
        missed += usize::from(latency > deadline);
        latencies.push(latency);
        next = newest + 1;
    }
    let seconds = clock.now() - start;
    Ok(Scenario {
        name: "Camera".to_owned(),
        images: 1,
        images_per_second: latencies.len() as f64 / seconds,
        latency: Latency::from_seconds(latencies),
        fps: Some(fps),
        dropped: Some(dropped),
        missed: Some(missed),
        deadline_ms: Some(deadline * 1e3),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A simulated clock that advances only by waiting or by simulated work.
    struct Made<'a>(&'a Cell<f64>);

    impl Clock for Made<'_> {
        fn now(&mut self) -> f64 {
            self.0.get()
        }

        fn wait_until(&mut self, seconds: f64) {
            self.0.set(self.0.get().max(seconds));
        }
    }

    fn run(fps: f64, deadline: f64, frames: usize, work: f64) -> Scenario {
        let now = Cell::new(5.0);
        camera(&mut Made(&now), fps, deadline, frames, &mut || {
            now.set(now.get() + work);
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn a_quick_model_sees_every_frame() {
        let found = run(16.0, 1.0 / 16.0, 32, 0.03125);
        assert_eq!((found.latency.runs, found.dropped, found.missed), (32, Some(0), Some(0)));
        assert_eq!((found.latency.p50_ms, found.latency.max_ms), (31.25, 31.25));
    }

    #[test]
    fn a_slow_one_drops_frames_and_misses_deadlines() {
        // A run takes 2.5 frame periods: frame 0 is done at 2.5, when frame 2 is the newest; that is done at 5.0 (frame
        // 5), then at 7.5 (frame 7), and so on.
        let found = run(16.0, 3.0 / 16.0, 16, 2.5 / 16.0);
        assert_eq!((found.latency.runs, found.dropped), (7, Some(9)));
        // Latencies alternate between 2.5 and 3 periods: none exceeds 3, and 3 of 7 exceed 2.75.
        assert_eq!(found.missed, Some(0));
        assert_eq!(run(16.0, 2.75 / 16.0, 16, 2.5 / 16.0).missed, Some(3));
        assert_eq!(found.latency.min_ms, 156.25);
    }

    #[test]
    fn names_are_read_in_any_spelling() {
        for (text, name) in [
            ("SingleStream", ScenarioName::SingleStream),
            ("multi-stream", ScenarioName::MultiStream),
            ("OFFLINE", ScenarioName::Offline),
            ("camera", ScenarioName::Camera),
        ] {
            assert_eq!(text.parse(), Ok(name));
        }
        assert!("server".parse::<ScenarioName>().unwrap_err().to_string().contains("give single-stream"));
    }
}
