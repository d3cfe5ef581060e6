//! Timing a backbone.

use std::time::{Duration, Instant};

use super::{Latency, Options, ProfileError};
use crate::engine::{Engine, EngineError, Session};
use crate::input::{PhantomKind, phantom};
use crate::vit::Size;

/// Rounds over all rows into which the timed runs are split.
pub const ROUNDS: usize = 3;

/// How long to time a row: at least `runs` runs and at least `time`.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Fewest timed runs.
    pub runs: usize,
    /// Least time.
    pub time: Duration,
}

impl Budget {
    /// A round's share.
    fn share(self) -> Budget {
        Budget { runs: self.runs.div_ceil(ROUNDS), time: self.time / ROUNDS as u32 }
    }
}

/// Times `session` on one image of `size`: seconds of each run, without warm-up.
///
/// # Errors
/// What [`Session::run`] may fail with.
fn measure(
    session: &mut Session,
    pixels: &[f32],
    size: Size,
    budget: Budget,
) -> Result<Vec<f64>, EngineError> {
    let mut samples = Vec::with_capacity(budget.runs);
    let start = Instant::now();
    while samples.len() < budget.runs || start.elapsed() < budget.time {
        let run = Instant::now();
        session.run(pixels, size)?;
        samples.push(run.elapsed().as_secs_f64());
    }
    Ok(samples)
}

/// One row: its size, its session (an index) and the seconds of its runs.
struct Timed {
    size: Size,
    session: usize,
    pixels: Vec<f32>,
    samples: Vec<f64>,
}

/// Latencies in the order sizes x sessions, one session for each number of threads.
pub(super) fn sweep(
    engine: &Engine,
    mut sessions: Vec<Session>,
    options: &Options,
    tick: &dyn Fn(),
) -> Result<Vec<Latency>, ProfileError> {
    let mut rows = Vec::new();
    for &size in &options.sizes {
        // A picture like those of the field; the time does not depend on what it shows.
        let side = size.height.max(size.width).clamp(64, 512);
        let image = phantom(0, PhantomKind::Mass, side).image;
        for session in 0..sessions.len() {
            let pixels = image.tensor(size, &engine.about().preprocess);
            rows.push(Timed { size, session, pixels, samples: Vec::new() });
        }
    }
    for round in 0..ROUNDS {
        for row in &mut rows {
            let session = &mut sessions[row.session];
            // Warm-up: builds the plan in the first round, and brings the caches back after another row's turn.
            for _ in 0..if round == 0 { 2 } else { 1 } {
                session.run(&row.pixels, row.size)?;
            }
            row.samples.extend(measure(session, &row.pixels, row.size, options.budget.share())?);
            tick();
        }
    }
    Ok(rows.into_iter().map(|row| Latency::from_seconds(row.samples)).collect())
}
