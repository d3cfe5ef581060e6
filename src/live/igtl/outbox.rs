//! What a peer is still to be sent, by a thread of its own.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// So many messages that are no answers wait for a slow peer.
const WAITING: usize = 16;

/// One answer and few other messages that wait for a peer. A newer answer takes the place of one that waits.
pub(super) struct Outbox(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    left_out: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Post>,
    writing: bool,
    /// Nothing is written any more.
    closed: bool,
}

struct Post {
    bytes: Arc<[u8]>,
    /// Whether it is about a frame.
    answer: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between two statements, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what comes until the outbox is closed.
    fn write(&self, mut stream: TcpStream, name: &str) {
        loop {
            let mut state = self.lock();
            state.writing = false;
            self.changed.notify_all();
            while state.waiting.is_empty() && !state.closed {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let Some(post) = state.waiting.pop_front() else { return };
            state.writing = true;
            drop(state);
            if let Err(error) = stream.write_all(&post.bytes) {
                // Where in a message it stopped is not known, so that nothing can follow; its pictures still come.
                let why = match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => "too slow".into(),
                    _ => error.to_string(),
                };
                log::warn!("{name}: does not take what it is sent ({why}): it is sent nothing more");
                let mut state = self.lock();
                self.left_out.fetch_add(1 + state.waiting.len() as u64, Relaxed);
                state.waiting.clear();
                (state.writing, state.closed) = (false, true);
                self.changed.notify_all();
                return;
            }
        }
    }
}

impl Outbox {
    /// Starts to write to `stream`; what is left out is added to `left_out`.
    pub fn start(stream: TcpStream, name: &str, left_out: Arc<AtomicU64>) -> io::Result<Outbox> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), left_out });
        let (writer, name) = (shared.clone(), name.to_owned());
        thread::Builder::new().name("igtl writer".into()).spawn(move || writer.write(stream, &name))?;
        Ok(Outbox(shared))
    }

    /// Takes a message, without waiting.
    pub fn post(&self, bytes: Arc<[u8]>, answer: bool) {
        let mut state = self.0.lock();
        let before = state.waiting.len();
        if state.closed {
            self.0.left_out.fetch_add(1, Relaxed);
            return;
        }
        if answer {
            state.waiting.retain(|post| !post.answer);
        } else if state.waiting.iter().filter(|post| !post.answer).count() >= WAITING
            && let Some(oldest) = state.waiting.iter().position(|post| !post.answer)
        {
            state.waiting.remove(oldest);
        }
        self.0.left_out.fetch_add((before - state.waiting.len()) as u64, Relaxed);
        state.waiting.push_back(Post { bytes, answer });
        self.0.changed.notify_all();
    }

    /// Whether all was handed to the system.
    pub fn is_empty(&self) -> bool {
        let state = self.0.lock();
        state.waiting.is_empty() && !state.writing
    }
}

impl Drop for Outbox {
    /// What waits is still written.
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}
