//! Sends results to one destination, on a thread of its own, until it has them all.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::connection::chain;
use super::scu::{Call, Failure, Taken};
use super::{AeTitle, Destination, Event, Queue, Report, Tls, Unsent};
use crate::guarded::caught;

/// How long a wait for something to send lasts before the sender looks whether it is to end.
const TICK: Duration = Duration::from_millis(200);

/// When something is tried again that failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// After the first failure.
    pub first: Duration,
    /// Twice as long after each further one, but not longer than this.
    pub most: Duration,
    /// How long a destination may take to connect, and for each answer.
    pub patience: Duration,
}

impl Retry {
    /// How long to wait after `failures` failures in a row.
    fn after(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.most)
    }
}

/// The sender of a destination.
pub struct Sender {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Sender {
    /// Starts to send what `queue` has for `destination`, in the name of `calling`.
    ///
    /// # Errors
    /// [`io::Error`] of starting the thread.
    pub fn start(
        queue: Arc<Queue>,
        destination: Destination,
        calling: AeTitle,
        tls: Option<Tls>,
        retry: Retry,
        report: Report,
    ) -> io::Result<Sender> {
        let ended = Arc::new(AtomicBool::new(false));
        let (key, to) = (destination.key(), destination.to_string());
        let mut sending = Sending {
            queue,
            destination,
            calling,
            tls,
            retry,
            report,
            key,
            to,
            asks: true,
            failures: 0,
            later: HashMap::new(),
            ended: ended.clone(),
        };
        let run = move || {
            while !sending.ended() {
                // Whatever happens to one association, the thread goes on.
                if let Err(panic) = caught(|| sending.run()) {
                    sending.unsent(None, format!("the sender failed: {panic}"), sending.retry.most);
                    sending.pause(sending.retry.most);
                }
            }
        };
        let thread = thread::Builder::new().name("sender".into()).spawn(run)?;
        Ok(Sender { ended, thread })
    }

    /// Asks it to end after what it is sending.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Waits until it has ended, for at most `grace`. What is under way then is sent again after the next start.
    pub fn stop(self, grace: Duration) {
        self.end();
        let start = Instant::now();
        while !self.thread.is_finished() && start.elapsed() < grace {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

struct Sending {
    queue: Arc<Queue>,
    destination: Destination,
    calling: AeTitle,
    tls: Option<Tls>,
    retry: Retry,
    report: Report,
    key: String,
    to: String,
    /// Whether the destination may be asked what it has.
    asks: bool,
    /// Associations in a row that failed.
    failures: u32,
    /// Results that were refused, by UID and file: how often, and when they are tried again.
    later: HashMap<(String, String), (u32, Instant)>,
    ended: Arc<AtomicBool>,
}

impl Sending {
    fn run(&mut self) {
        while !self.ended() {
            let now = Instant::now();
            let key = |uid: &str, name: &str| (uid.to_owned(), name.to_owned());
            let later =
                |uid: &str, name: &str| self.later.get(&key(uid, name)).is_some_and(|(_, when)| *when > now);
            let unsent = self.queue.unsent(&self.key, &later, TICK);
            if unsent.is_empty() {
                continue;
            }
            match self.send(&unsent) {
                Ok(()) => self.failures = 0,
                Err(problem) => {
                    self.failures += 1;
                    let pause = self.retry.after(self.failures);
                    self.unsent(None, problem, pause);
                    self.pause(pause);
                }
            }
        }
    }

    /// Sends results over one association; an error if it breaks.
    fn send(&mut self, unsent: &[Unsent]) -> Result<(), String> {
        // Of what a try began to send, whose end is not known, an archive says whether it has it.
        let asks = self.asks && unsent.iter().any(|one| one.tried);
        let mut call =
            Call::to(&self.destination, &self.calling, self.tls.as_ref(), self.retry.patience, asks)?;
        for one in unsent {
            if self.ended() {
                break;
            }
            if asks && one.tried {
                match call.has(one) {
                    Ok(Some((true, result))) => {
                        let (object, to) = (one.uid.clone(), self.to.clone());
                        self.held(one, Event::Present { object, result, to })?;
                        continue;
                    }
                    Ok(_) | Err(Failure::Refused(_)) => {}
                    Err(Failure::Broken(problem)) => {
                        // One that cannot bear the question is not asked again.
                        self.asks = false;
                        return Err(problem);
                    }
                }
            }
            let sent = call.send(one, || {
                if let Err(error) = self.queue.trying(one, &self.key) {
                    log::warn!("{}", chain(&error));
                }
            });
            match sent {
                Ok(Taken { status, result }) => {
                    let (object, to, again) = (one.uid.clone(), self.to.clone(), one.tried);
                    self.held(
                        one,
                        Event::Sent { object, result, to, status: format!("{status:04X}"), again },
                    )?;
                }
                Err(Failure::Broken(problem)) => return Err(problem),
                Err(Failure::Refused(problem)) => self.refused(one, problem)?,
            }
        }
        call.release();
        Ok(())
    }

    /// The destination has a result, as `event` says.
    fn held(&mut self, one: &Unsent, event: Event) -> Result<(), String> {
        let done = self.queue.sent(one, &self.key).map_err(|error| chain(&error))?;
        self.later.remove(&(one.uid.clone(), one.name.clone()));
        self.failures = 0;
        (self.report)(event);
        if done {
            (self.report)(Event::Done { object: one.uid.clone() });
        }
        Ok(())
    }

    /// One object is refused: the others go on.
    fn refused(&mut self, one: &Unsent, problem: String) -> Result<(), String> {
        self.queue.refused(one, &self.key).map_err(|error| chain(&error))?;
        let key = (one.uid.clone(), one.name.clone());
        let failures = self.later.get(&key).map_or(0, |(failures, _)| *failures).saturating_add(1);
        let pause = self.retry.after(failures);
        self.later.insert(key, (failures, Instant::now() + pause));
        self.unsent(Some(one.uid.clone()), problem, pause);
        Ok(())
    }

    fn unsent(&self, object: Option<String>, problem: String, pause: Duration) {
        let (to, retry_seconds) = (self.to.clone(), pause.as_secs_f64());
        (self.report)(Event::Unsent { object, to, problem, retry_seconds });
    }

    fn pause(&self, pause: Duration) {
        let start = Instant::now();
        while !self.ended() && start.elapsed() < pause {
            thread::sleep(TICK.min(pause.saturating_sub(start.elapsed())));
        }
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap() {
        let seconds = Duration::from_secs;
        let retry = Retry { first: seconds(1), most: seconds(300), patience: seconds(30) };
        let pauses: Vec<u64> = [1, 2, 3, 9, 10, 40, u32::MAX].map(|n| retry.after(n).as_secs()).to_vec();
        assert_eq!(pauses, [1, 2, 4, 256, 300, 300, 300]);
    }
}
