//! Notices a run that does not end.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{process, thread};

use anyhow::anyhow;

use super::line::Event;
use super::outlet::Outlets;
use crate::cli::args::OnStall;
use crate::cli::failure::{FAILURE, report};
use crate::cli::signals::Live;
use crate::cli::times::seconds;

/// Whoever reads the lines has so much time for the last ones after a signal.
const PATIENCE: Duration = Duration::from_secs(1);

const UNREAD: &str = "nobody has read its line";

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
    /// Says that a run is stuck when it has lasted for `stall` (`None`: never), and ends the program if it is told to end
    /// while nobody reads its lines.
    pub fn new(
        stall: Option<Duration>,
        on_stall: OnStall,
        outlets: Arc<Outlets>,
        signals: Live,
    ) -> anyhow::Result<Watch> {
        let watch = Watch(Arc::new(Mutex::new(None)));
        let run = Arc::downgrade(&watch.0);
        let watcher = Watcher { run, stall, on_stall, outlets, signals };
        thread::Builder::new().name("watch".into()).spawn(move || watcher.watch())?;
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

/// The thread that watches.
struct Watcher {
    run: Weak<Mutex<Option<Run>>>,
    stall: Option<Duration>,
    on_stall: OnStall,
    outlets: Arc<Outlets>,
    signals: Live,
}

impl Watcher {
    /// Watches until nobody asks for it any more.
    fn watch(self) {
        while let Some(run) = self.run.upgrade() {
            // Nobody waits for this thread, also while it says something.
            let late =
                run.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(|run| self.is_late(run));
            drop(run);
            if let Some((frame, doing, lasts)) = late {
                self.tell(frame, doing == Doing::Writing, lasts);
            }
            thread::sleep(POLL);
        }
    }

    /// Whether `run` has lasted for too long, which is told once; ends the program if nobody reads what it is to end with.
    fn is_late(&self, Run { frame, doing, started, said }: &mut Run) -> Option<(u64, Doing, Duration)> {
        let lasts = started.elapsed();
        if *doing == Doing::Writing && self.signals.ended() && lasts >= PATIENCE {
            report(&anyhow!("frame {frame}: {UNREAD}, and the program was told to end"));
            process::exit(FAILURE.into());
        }
        if *said || self.stall.is_none_or(|stall| lasts < stall) {
            return None;
        }
        *said = true;
        Some((*frame, *doing, lasts))
    }

    fn tell(&self, frame: u64, writing: bool, lasts: Duration) {
        let what = if writing { UNREAD } else { "its run has not ended" };
        let seconds = seconds(lasts);
        if writing {
            // Another line would wait as well.
            log::warn!(
                "frame {frame}: {what} for {seconds:.1} s: read standard output, or the pipe of a video"
            );
        } else {
            // Whoever reads the lines may be gone; the run will notice.
            let stuck = Event::Stuck { frame, seconds, blank: self.on_stall == OnStall::Blank };
            let _ = self.outlets.say(&stuck, None, None);
        }
        if self.on_stall == OnStall::Exit {
            report(&anyhow!("frame {frame}: {what} for {seconds:.1} s (--on-stall exit)"));
            process::exit(FAILURE.into());
        }
    }
}
