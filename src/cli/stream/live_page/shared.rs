//! What the stream leaves for who looks at it, and the threads that take it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::picture::Drawing;
use crate::cli::stream::line::Counts;
use crate::cli::stream::web::stand_back;

/// At most so many look at a time.
pub const MAX_VIEWERS: usize = 8;

/// Lines are kept for viewers who are behind: so many, of at most so many bytes together.
const MAX_LINES: (usize, usize) = (256, 1 << 20);

/// Time from one picture to the next, at least; and at least as long as the last one took, so that pictures take no more
/// than half of a core.
const PERIOD: Duration = Duration::from_millis(50);

/// The state after which nothing comes.
pub const ENDED: &str = "ended";

/// What the stream does.
#[derive(Clone)]
pub struct Doing {
    pub state: &'static str,
    /// Whether what is on the screen is to be blanked.
    pub blank: bool,
}

impl Doing {
    pub fn new(state: &'static str, blank: bool) -> Doing {
        Doing { state, blank }
    }
}

/// All that viewers are told of.
pub struct State {
    pub viewers: usize,
    /// Those of them who want to see why.
    explaining: usize,
    /// What runs.
    pub facts: Value,
    pub doing: Doing,
    pub counts: Counts,
    /// When the last frame was told of, or the start.
    pub last: Instant,
    /// Lines of frames, numbered from `first`.
    lines: VecDeque<Arc<str>>,
    first: u64,
    bytes: usize,
    /// A frame to be drawn.
    waiting: Option<Drawing>,
    /// Whether another frame may wait.
    ready: bool,
    /// The newest picture, as it is sent, and its number.
    picture: Option<(u64, Arc<str>)>,
    pictures: u64,
    /// Counts changes that viewers are told of at once.
    news: u64,
}

/// The state, shared by the stream, the thread that draws and those of the viewers. It is locked for moves and
/// small copies alone.
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// How far a viewer is.
pub struct Seen {
    line: u64,
    picture: u64,
    news: u64,
}

/// A viewer, for as long as it looks, and whether it wants to see why.
pub struct Viewer<'a>(&'a Shared, bool);

impl Shared {
    pub fn new() -> Shared {
        let state = State {
            viewers: 0,
            explaining: 0,
            facts: Value::Null,
            doing: Doing::new("starting", false),
            counts: Counts::default(),
            last: Instant::now(),
            lines: VecDeque::new(),
            first: 0,
            bytes: 0,
            waiting: None,
            ready: true,
            picture: None,
            pictures: 0,
            news: 0,
        };
        Shared { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between two statements, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, timeout: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Has viewers told at once.
    pub fn news(&self) {
        self.lock().news += 1;
        self.changed.notify_all();
    }

    /// Whether somebody looks, and whether a frame may be left to be drawn.
    pub fn wants(&self) -> (bool, bool) {
        let state = self.lock();
        (state.viewers > 0, state.viewers > 0 && state.ready)
    }

    /// Whether somebody wants to see why.
    pub fn explains(&self) -> bool {
        self.lock().explaining > 0
    }

    /// Keeps a line for the viewers.
    pub fn line(&self, line: &str) {
        let mut state = self.lock();
        state.bytes += line.len();
        state.lines.push_back(line.into());
        while state.lines.len() > MAX_LINES.0 || state.bytes > MAX_LINES.1 {
            let Some(gone) = state.lines.pop_front() else { break };
            state.bytes -= gone.len();
            state.first += 1;
        }
    }

    /// Leaves a frame to be drawn.
    pub fn leave(&self, drawing: Drawing) {
        let mut state = self.lock();
        state.waiting = Some(drawing);
        state.ready = false;
        drop(state);
        self.changed.notify_all();
    }

    /// Draws what is left here; the newest picture takes the place of the one before.
    pub fn draw(&self) {
        stand_back();
        loop {
            let mut state = self.lock();
            let drawing = loop {
                match state.waiting.take() {
                    Some(drawing) => break drawing,
                    None => state = self.wait(state, Duration::from_secs(1)),
                }
            };
            drop(state);
            let started = Instant::now();
            let encoded = drawing.encode();
            let took = started.elapsed();
            let mut state = self.lock();
            match encoded {
                Ok(text) if state.viewers > 0 => {
                    state.pictures += 1;
                    state.picture = Some((state.pictures, text.into()));
                }
                Ok(_) => {}
                Err(error) => log::warn!("--live-page: a picture cannot be made: {error:#}"),
            }
            drop(state);
            self.changed.notify_all();
            std::thread::sleep(took.max(PERIOD.saturating_sub(took)));
            self.lock().ready = true;
        }
    }

    /// Counts a viewer, who wants to see why or not; `None` if there are too many.
    pub fn enter(&self, explains: bool) -> Option<(Viewer<'_>, Seen)> {
        let mut state = self.lock();
        if state.viewers >= MAX_VIEWERS {
            return None;
        }
        state.viewers += 1;
        state.explaining += usize::from(explains);
        let seen = Seen { line: state.first + state.lines.len() as u64, picture: 0, news: u64::MAX };
        Some((Viewer(self, explains), seen))
    }

    /// Waits up to `patience` for a picture or news; everything that `seen` lacks, as JSON without its end.
    ///
    /// Also whether it is the last.
    pub fn next(&self, seen: &mut Seen, patience: Duration) -> (String, bool) {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || seen.news != state.news || seen.picture != state.pictures {
                break;
            }
            state = self.wait(state, left);
        }
        let skip = seen.line.saturating_sub(state.first) as usize;
        let lines: Vec<Arc<str>> = state.lines.iter().skip(skip).cloned().collect();
        let picture = state.picture.as_ref().filter(|(number, _)| *number != seen.picture);
        let picture = picture.map(|(_, text)| text.clone());
        let (facts, doing, counts, last) =
            (state.facts.clone(), state.doing.clone(), state.counts, state.last);
        *seen =
            Seen { line: state.first + state.lines.len() as u64, picture: state.pictures, news: state.news };
        // The stream may wait for the lock: the text is made without it.
        drop(state);
        let ended = doing.state == ENDED;
        let told = json!({
            "facts": facts,
            "state": doing.state,
            "blank": doing.blank,
            "counts": counts,
            "since_frame": last.elapsed().as_secs_f64(),
        });
        let picture = picture.as_deref().unwrap_or("null");
        (format!("{{\"told\":{told},\"lines\":[{}],\"picture\":{picture}", lines.join(",")), ended)
    }
}

impl Drop for Viewer<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.viewers -= 1;
        state.explaining -= usize::from(self.1);
        if state.viewers == 0 {
            // The next viewer must not see it as new.
            state.picture = None;
            // What waited will not be drawn, so another one may be left.
            state.ready |= state.waiting.take().is_some();
            state.first += state.lines.len() as u64;
            state.lines.clear();
            state.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use microraptor::input::Image;

    use super::*;

    /// The last viewer may go before what was left is drawn.
    #[test]
    fn a_frame_that_nobody_waits_for_any_more_makes_place() {
        let shared = Shared::new();
        let image = Image::from_grey8(8, 8, vec![0; 64]).unwrap();
        let (viewer, _) = shared.enter(true).unwrap();
        assert_eq!((shared.wants(), shared.explains()), ((true, true), true));
        shared.leave(Drawing { image, masks: Vec::new(), heat: None, said: Value::Null });
        assert_eq!(shared.wants(), (true, false));
        drop(viewer);
        let _another = shared.enter(false).unwrap();
        assert_eq!((shared.wants(), shared.explains()), ((true, true), false));
    }
}
