//! Reads a source on a thread of its own, with one slot for the frame that waits.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::policy::Policy;
use super::source::{Frame, Grabbed, Source};
use crate::guarded::guarded;
use crate::input::InputError;

/// At most so many lost frames are remembered one by one; the others are counted.
const MAX_LOST: usize = 64;

/// A source that is read by a thread.
///
/// The thread ends when the source does, or with the next frame after the grabber was dropped.
pub struct Grabber {
    shared: Arc<Shared>,
}

/// What [`Grabber::next`] found.
#[derive(Debug)]
pub enum Next {
    /// The frame that waited.
    Frame(Frame),
    /// A frame that cannot be read.
    Lost {
        /// Its number in the source, from 1.
        number: u64,
        /// What is wrong with it.
        problem: InputError,
    },
    /// No frame came in the time given; so long ago is the last whole one, or the start.
    Nothing(Duration),
    /// The source has ended.
    End,
}

/// What became of the frames that a source gave; the rest was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All, whole or not.
    pub frames: u64,
    /// Those that were passed over, or pushed out of the slot by a newer one.
    pub dropped: u64,
    /// Those that could not be read.
    pub lost: u64,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: Option<Frame>,
    lost: VecDeque<(u64, InputError)>,
    tally: Tally,
    last: Instant,
    end: Option<Result<(), InputError>>,
    /// The grabber is gone.
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between two statements, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits on `state` until it changes.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the source gave; false if nobody wants more.
    fn take(&self, grabbed: Grabbed, policy: Policy) -> bool {
        let mut state = self.lock();
        // Frames that cannot be read are none.
        if matches!(grabbed, Grabbed::Frame(_)) {
            state.last = Instant::now();
        }
        while policy == Policy::Every && state.waiting.is_some() && !state.closed {
            state = self.wait(state);
        }
        state.tally.frames += 1;
        match grabbed {
            Grabbed::Lost { number, problem } => {
                state.tally.lost += 1;
                if state.lost.len() < MAX_LOST {
                    state.lost.push_back((number, problem));
                }
            }
            Grabbed::Frame(frame) if policy.passes_over(frame.number) => state.tally.dropped += 1,
            Grabbed::Frame(frame) => {
                if state.waiting.replace(frame).is_some() {
                    state.tally.dropped += 1;
                }
            }
        }
        self.changed.notify_all();
        !state.closed
    }

    fn read(&self, mut source: Box<dyn Source>, policy: Policy) {
        let end = loop {
            // A source that panics has ended, and must not look like one that stalls.
            let gave_up = |reason: &str| {
                let problem = format!("cannot be read any more: {reason}");
                InputError::Stream { name: "the source".into(), problem }
            };
            let grabbed = match guarded(|| source.next(), gave_up) {
                Ok(Some(grabbed)) => grabbed,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            if !self.take(grabbed, policy) {
                break Ok(());
            }
        };
        self.lock().end = Some(end);
        self.changed.notify_all();
    }
}

impl Grabber {
    /// Starts to read `source`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(source: Box<dyn Source>, policy: Policy) -> io::Result<Grabber> {
        let state = State {
            waiting: None,
            lost: VecDeque::new(),
            tally: Tally::default(),
            last: Instant::now(),
            end: None,
            closed: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let reader = shared.clone();
        thread::Builder::new().name("grabber".into()).spawn(move || reader.read(source, policy))?;
        Ok(Grabber { shared })
    }

    /// The frame that waits, or the next one, for which it waits up to `timeout`.
    ///
    /// # Errors
    /// The error with which the source ended, once; then [`Next::End`].
    pub fn next(&mut self, timeout: Duration) -> Result<Next, InputError> {
        let until = Instant::now() + timeout;
        let mut state = self.shared.lock();
        loop {
            // In the order in which they came.
            let first = state.waiting.as_ref().map(|frame| frame.number);
            let lost = state.lost.front().map(|(number, _)| *number);
            if lost.is_some_and(|lost| first.is_none_or(|first| lost < first))
                && let Some((number, problem)) = state.lost.pop_front()
            {
                return Ok(Next::Lost { number, problem });
            }
            if let Some(frame) = state.waiting.take() {
                self.shared.changed.notify_all();
                return Ok(Next::Frame(frame));
            }
            if let Some(end) = &mut state.end {
                return std::mem::replace(end, Ok(())).map(|()| Next::End);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Next::Nothing(state.last.elapsed()));
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How long ago the last whole frame came, or the start.
    pub fn idle(&self) -> Duration {
        self.shared.lock().last.elapsed()
    }

    /// The counts so far. A frame that waits is among the frames alone.
    pub fn tally(&self) -> Tally {
        self.shared.lock().tally
    }

    /// Ends the reading; a frame that waits is dropped, and counted as such.
    pub fn close(self) -> Tally {
        let mut state = self.shared.lock();
        state.closed = true;
        state.tally.dropped += u64::from(state.waiting.take().is_some());
        state.tally
    }
}

impl Drop for Grabber {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::input::Image;

    const LONG: Duration = Duration::from_secs(60);

    /// Gives what is sent to it.
    struct Sent(Receiver<Result<Grabbed, InputError>>);

    impl Source for Sent {
        fn next(&mut self) -> Result<Option<Grabbed>, InputError> {
            self.0.recv().ok().transpose()
        }
    }

    fn frame(number: u64) -> Result<Grabbed, InputError> {
        let image = Image::from_grey8(8, 8, vec![number as u8; 64]).unwrap();
        Ok(Grabbed::Frame(Frame::new(number, Instant::now(), image)))
    }

    fn damaged() -> InputError {
        InputError::Stream { name: "probe".into(), problem: "is damaged".into() }
    }

    /// Waits until the source has given `count` frames.
    fn until_seen(grabber: &Grabber, count: u64) {
        let started = Instant::now();
        while grabber.tally().frames < count {
            assert!(started.elapsed() < LONG, "{:?}, and {count} frames were sent", grabber.tally());
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_newest_frame_takes_the_place_of_the_one_that_waits() {
        let (send, receive) = channel();
        let mut grabber = Grabber::start(Box::new(Sent(receive)), Policy::Newest).unwrap();
        (1..=5).for_each(|number| send.send(frame(number)).unwrap());
        until_seen(&grabber, 5);
        assert!(matches!(grabber.next(LONG).unwrap(), Next::Frame(Frame { number: 5, .. })));
        assert_eq!(grabber.tally(), Tally { frames: 5, dropped: 4, lost: 0 });
        assert!(matches!(grabber.next(Duration::from_millis(1)).unwrap(), Next::Nothing(_)));
        drop(send);
        assert!(matches!(grabber.next(LONG).unwrap(), Next::End));
        assert!(matches!(grabber.next(LONG).unwrap(), Next::End));
    }

    #[test]
    fn every_frame_is_waited_for_or_counted() {
        for (policy, expected) in [(Policy::Every, vec![1, 2, 3, 4, 5, 6, 7]), (Policy::Skip(2), vec![7])] {
            let (send, receive) = channel();
            let mut grabber = Grabber::start(Box::new(Sent(receive)), policy).unwrap();
            (1..=7).for_each(|number| send.send(frame(number)).unwrap());
            drop(send);
            if policy != Policy::Every {
                until_seen(&grabber, 7);
            }
            let mut numbers = Vec::new();
            while let Next::Frame(frame) = grabber.next(LONG).unwrap() {
                numbers.push(frame.number);
            }
            assert_eq!(numbers, expected, "{policy}");
            assert_eq!(numbers.len() as u64 + grabber.tally().dropped, 7, "{policy}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_order_and_once() {
        let (send, receive) = channel();
        let grabber = &mut Grabber::start(Box::new(Sent(receive)), Policy::Newest).unwrap();
        send.send(frame(1)).unwrap();
        send.send(Ok(Grabbed::Lost { number: 2, problem: damaged() })).unwrap();
        until_seen(grabber, 2);
        assert!(matches!(grabber.next(LONG).unwrap(), Next::Frame(Frame { number: 1, .. })));
        assert!(matches!(grabber.next(LONG).unwrap(), Next::Lost { number: 2, .. }));
    }

    /// A source that gives nothing whole is as good as one that gives nothing.
    #[test]
    fn frames_that_are_lost_do_not_count_as_coming() {
        let (send, receive) = channel();
        let grabber = Grabber::start(Box::new(Sent(receive)), Policy::Newest).unwrap();
        thread::sleep(Duration::from_millis(20));
        send.send(Ok(Grabbed::Lost { number: 1, problem: damaged() })).unwrap();
        until_seen(&grabber, 1);
        assert!(grabber.idle() >= Duration::from_millis(20));
        let sent = Instant::now();
        send.send(frame(2)).unwrap();
        until_seen(&grabber, 2);
        assert!(grabber.idle() <= sent.elapsed());
    }

    /// However many frames are lost, and whatever waits at the end, the counts add up.
    #[test]
    fn every_frame_is_counted() {
        let (send, receive) = channel();
        let grabber = Grabber::start(Box::new(Sent(receive)), Policy::Newest).unwrap();
        let lost = 3 * MAX_LOST as u64;
        for number in 1..=lost {
            send.send(Ok(Grabbed::Lost { number, problem: damaged() })).unwrap();
        }
        send.send(frame(lost + 1)).unwrap();
        until_seen(&grabber, lost + 1);
        assert_eq!(grabber.close(), Tally { frames: lost + 1, dropped: 1, lost });
    }

    /// A source that panics ends with an error.
    #[test]
    fn a_panic_of_the_source_is_an_error() {
        struct Panics;
        impl Source for Panics {
            fn next(&mut self) -> Result<Option<Grabbed>, InputError> {
                panic!("as a driver's wrapper might")
            }
        }
        let mut grabber = Grabber::start(Box::new(Panics), Policy::Newest).unwrap();
        let message = grabber.next(LONG).unwrap_err().to_string();
        assert!(message.starts_with("the source: cannot be read any more"), "{message}");
    }

    #[test]
    fn the_error_of_a_source_is_told_once() {
        let (send, receive) = channel();
        let mut grabber = Grabber::start(Box::new(Sent(receive)), Policy::Newest).unwrap();
        send.send(Ok(Grabbed::Lost { number: 1, problem: damaged() })).unwrap();
        send.send(frame(2)).unwrap();
        send.send(Err(damaged())).unwrap();
        assert!(matches!(grabber.next(LONG).unwrap(), Next::Lost { number: 1, .. }));
        assert!(matches!(grabber.next(LONG).unwrap(), Next::Frame(Frame { number: 2, .. })));
        assert!(grabber.next(LONG).is_err());
        assert!(matches!(grabber.next(LONG).unwrap(), Next::End));
    }

    /// The thread does not hold a source, such as a camera, that nobody reads any more.
    #[test]
    fn a_dropped_grabber_lets_the_source_go() {
        let (send, receive) = channel();
        let grabber = Grabber::start(Box::new(Sent(receive)), Policy::Every).unwrap();
        send.send(frame(1)).unwrap();
        until_seen(&grabber, 1);
        drop(grabber);
        let started = Instant::now();
        while send.send(frame(2)).is_ok() {
            assert!(started.elapsed() < LONG);
            thread::sleep(Duration::from_millis(1));
        }
    }
}
