//! Notices a run that does not end.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{process, thread};

use anyhow::anyhow;

use super::line::Event;
use super::outlet::Outlets;
use crate::cli::args::OnStall;
use crate::cli::failure::{FAILURE, report};
use crate::cli::times::seconds;

/// Polling interval.
const POLL: Duration = Duration::from_millis(50);

/// Watches one run at a time.
pub struct Watch(Arc<Mutex<Option<Run>>>);

struct Run {
    frame: u64,
    doing: Doing,
    started: Instant,
    said: bool,
}

/// What may take too long.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// The run on a frame.
    Running,
    /// Writing its line, which waits for whoever reads it.
    Writing,
}

impl Watch {
    /// Says that a run is stuck when it has lasted for `stall`; `None` watches nothing.
    pub fn new(stall: Option<Duration>, on_stall: OnStall, outlets: Arc<Outlets>) -> anyhow::Result<Watch> {
        let watch = Watch(Arc::new(Mutex::new(None)));
        if let Some(stall) = stall {
            let run = Arc::downgrade(&watch.0);
            thread::Builder::new()
                .name("watch".into())
                .spawn(move || watch_over(&run, stall, on_stall, &outlets))?;
        }
        Ok(watch)
    }

    /// Calls `work` on `frame`.
    pub fn over<T>(&self, frame: u64, doing: Doing, work: impl FnOnce() -> T) -> T {
        let set = |run| *self.0.lock().unwrap_or_else(PoisonError::into_inner) = run;
        set(Some(Run { frame, doing, started: Instant::now(), said: false }));
        let result = work();
        set(None);
        result
    }
}

/// Until nobody asks for it any more.
fn watch_over(run: &Weak<Mutex<Option<Run>>>, stall: Duration, on_stall: OnStall, outlets: &Outlets) {
    while let Some(run) = run.upgrade() {
        if let Some(Run { frame, doing, started, said }) =
            run.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
            && !*said
            && started.elapsed() >= stall
        {
            *said = true;
            let (frame, seconds) = (*frame, seconds(started.elapsed()));
            let what = match doing {
                Doing::Running => "its run has not ended",
                Doing::Writing => "nobody has read its line",
            };
            if *doing == Doing::Writing {
                // Another line would wait as well.
                log::warn!("frame {frame}: {what} for {seconds:.1} s: read standard output");
            } else {
                // Whoever reads the lines may be gone; the run will notice.
                let stuck = Event::Stuck { frame, seconds, blank: on_stall == OnStall::Blank };
                let _ = outlets.say(&stuck, None, None);
            }
            if on_stall == OnStall::Exit {
                report(&anyhow!("frame {frame}: {what} for {seconds:.1} s (--on-stall exit)"));
                process::exit(FAILURE.into());
            }
        }
        drop(run);
        thread::sleep(POLL);
    }
}
