//! When lines are on the disk for good.

use std::fs::File;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a power cut may take. If only the program is killed, nothing that was written is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: each line is on the disk before the program goes on.
    Line,
    /// About the last second.
    #[default]
    Second,
    /// What the system has not yet written by itself, commonly half a minute.
    None,
}

/// A thread that puts the file on the disk once a second, so that who writes does not wait for the disk.
pub(super) struct Syncer {
    state: Arc<Mutex<State>>,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    file: File,
    dirty: bool,
    failed: Option<io::Error>,
}

impl Syncer {
    pub fn start(file: &File) -> io::Result<Syncer> {
        let state = Arc::new(Mutex::new(State { file: file.try_clone()?, dirty: true, failed: None }));
        let (stop, stopped) = channel();
        let shared = state.clone();
        let thread = thread::Builder::new().name("audit".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_secs(1)) {
                sync(&shared);
            }
        })?;
        Ok(Syncer { state, stop, thread: Some(thread) })
    }

    /// A line was written to `file`.
    pub fn wrote(&self) {
        self.lock().dirty = true;
    }

    /// From now on lines go to `file`; all before is on the disk.
    pub fn turn(&self, file: &File) -> io::Result<()> {
        let mut state = self.lock();
        state.file = file.try_clone()?;
        state.dirty = true;
        Ok(())
    }

    /// What failed since the last call.
    pub fn failed(&self) -> Option<io::Error> {
        self.lock().failed.take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not under the lock: a line must not wait for the disk.
fn sync(state: &Mutex<State>) {
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let file = {
        let mut state = lock();
        if !std::mem::take(&mut state.dirty) {
            return;
        }
        state.file.try_clone()
    };
    if let Err(error) = file.and_then(|file| file.sync_data()) {
        lock().failed = Some(error);
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
