//! How long a peer may take. A read's own timeout starts anew with each byte, so the pace of whole PDUs is watched.

use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The pace of a connection, which is shut down when it is too slow.
pub(super) struct Pace {
    /// `None` if there is nothing to shut down.
    socket: Option<TcpStream>,
    idle: Duration,
    max_message: Duration,
    clock: Mutex<Clock>,
}

struct Clock {
    moved: Instant,
    message: Instant,
    /// Why the connection was shut down.
    over: Option<String>,
}

impl Pace {
    /// Watches `socket`, another handle of the connection, from now on.
    pub fn new(socket: Option<TcpStream>, idle: Duration, max_message: Duration) -> Pace {
        let now = Instant::now();
        Pace { socket, idle, max_message, clock: Mutex::new(Clock { moved: now, message: now, over: None }) }
    }

    /// A PDU came.
    pub fn moved(&self) {
        self.with(|clock| clock.moved = Instant::now());
    }

    /// A message is complete, or our own work on it.
    pub fn message(&self) {
        self.with(|clock| {
            clock.moved = Instant::now();
            clock.message = clock.moved;
        });
    }

    /// Shuts the connection down if it is too slow.
    pub fn check(&self) {
        let problem = self.with(|clock| {
            if clock.over.is_some() {
                return false;
            }
            if clock.moved.elapsed() > self.idle {
                clock.over = Some(format!("nothing came for {} s", self.idle.as_secs_f64()));
            } else if clock.message.elapsed() > self.idle.max(self.max_message) {
                clock.over =
                    Some(format!("a message takes longer than {} s", self.max_message.as_secs_f64()));
            }
            clock.over.is_some()
        });
        if problem {
            self.close();
        }
    }

    /// Shuts the connection down because the node ends.
    pub fn end(&self) {
        self.with(|clock| clock.over.get_or_insert_with(|| "the node ends".into()).len());
        self.close();
    }

    /// Why it was shut down, if it was.
    pub fn over(&self) -> Option<String> {
        self.with(|clock| clock.over.clone())
    }

    fn close(&self) {
        if let Some(socket) = &self.socket {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Clock) -> T) -> T {
        change(&mut self.clock.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
