//! The queue on the disk. Its names are its state, so that it needs no journal:
//!
//! | name | what it is |
//! |---|---|
//! | `incoming/UID.dcm` | an object that was acknowledged and has no results yet |
//! | `outgoing/UID/` | its results, and a marker `NAME.KEY.sent` for each that a destination has |
//! | `done/UID` | every destination has its results; kept for a while, so that it is not answered again |
//! | `failed/UID.dcm`, `failed/UID.txt` | an object that cannot be answered, and why |
//! | `tries/UID` | how often the work on it was begun |
//! | `tmp/` | what is incomplete; emptied at the start |
//!
//! Each change is one rename or one new file, synchronised to the disk with its folder before anything follows from it.
//! An object is therefore in one state after a crash, or in two neighbouring ones, of which the later counts.

mod arrival;
mod disk;
mod error;
mod recover;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub use arrival::Arrival;
pub use error::QueueError;

use crate::output::dicom::is_valid_uid;
use disk::at;

/// How often the work on an object is begun, before it is thought to be what ends the program.
pub const MAX_TRIES: u32 = 5;

/// Objects that are remembered as done; of more, the oldest are forgotten.
const MAX_DONE: usize = 1 << 20;

/// Results that are handed out at a time.
const BATCH: usize = 64;

/// A queue in a folder that one process has for itself.
pub struct Queue {
    root: PathBuf,
    /// The destinations' keys.
    keys: Vec<String>,
    /// How long objects that are done are remembered, and failed ones kept.
    keep: Duration,
    /// Free bytes below which nothing is accepted.
    reserve: u64,
    state: Mutex<State>,
    changed: Condvar,
    /// Locked as long as this lives.
    _lock: File,
}

/// What the disk holds, in memory. It is changed after the disk.
#[derive(Default)]
struct State {
    incoming: VecDeque<String>,
    outgoing: BTreeMap<String, Entry>,
    done: HashMap<String, SystemTime>,
    /// Whether something in `outgoing` may be complete, since the disk failed when it was to be finished.
    unfinished: bool,
    /// Number of the next temporary name.
    next: u64,
    pruned: Option<Instant>,
}

/// Results of an object.
#[derive(Default)]
struct Entry {
    files: BTreeSet<String>,
    /// Files and keys of the destinations that have them.
    sent: BTreeSet<(String, String)>,
}

/// What became of an object that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is queued.
    New,
    /// It is queued, or was answered, before: nothing is done.
    Duplicate,
}

/// An object to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Its SOP Instance UID.
    pub uid: String,
    /// Its file.
    pub path: PathBuf,
    /// How often this was begun, this time included.
    pub tries: u32,
}

/// A result that a destination does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// SOP Instance UID of the object that it answers.
    pub uid: String,
    /// Name of the file.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Whether a try to send it was begun, whose end is not known.
    pub tried: bool,
}

impl Queue {
    /// Takes the queue in the folder `root`, which is made if it is missing, for destinations with these `keys`. What is
    /// done is remembered for `keep`; nothing is accepted while fewer than `reserve` bytes are free.
    ///
    /// # Errors
    /// [`QueueError::Taken`] if another process has it; [`QueueError::Io`].
    pub fn open(root: &Path, keys: Vec<String>, keep: Duration, reserve: u64) -> Result<Queue, QueueError> {
        for folder in disk::FOLDERS.map(|name| root.join(name)) {
            fs::create_dir_all(&folder).map_err(at(&folder))?;
        }
        disk::sync_folder(root)?;
        let path = root.join("lock");
        let lock = File::create(&path).map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(QueueError::Taken(root.to_owned())),
            Err(fs::TryLockError::Error(source)) => return Err(at(&path)(source)),
        }
        let state = Mutex::new(State::default());
        let root = root.to_owned();
        let queue = Queue { root, keys, keep, reserve, state, changed: Condvar::new(), _lock: lock };
        queue.recover()?;
        Ok(queue)
    }

    /// A place for an object of the UID `uid`.
    ///
    /// # Errors
    /// [`QueueError::Uid`]; [`QueueError::Full`]; [`QueueError::Io`].
    pub fn receive(&self, uid: &str) -> Result<Arrival, QueueError> {
        if !is_valid_uid(uid) {
            return Err(QueueError::Uid(uid.to_owned()));
        }
        if let Some(free) = disk::free(&self.root).filter(|free| *free < self.reserve) {
            return Err(QueueError::Full { path: self.root.clone(), free, reserve: self.reserve });
        }
        Arrival::create(self.temporary(uid))
    }

    /// Stores an object that arrived completely. When this returns, it is safe.
    ///
    /// # Errors
    /// [`QueueError`]; the object is not to be acknowledged then.
    pub fn store(&self, mut arrival: Arrival, uid: &str) -> Result<Stored, QueueError> {
        if !is_valid_uid(uid) {
            return Err(QueueError::Uid(uid.to_owned()));
        }
        arrival.close()?;
        let mut state = self.lock();
        if state.knows(uid) {
            return Ok(Stored::Duplicate);
        }
        disk::rename(arrival.path(), &self.incoming(uid))?;
        // It was tried and failed before: now it is tried anew. Whoever takes it must not have put it aside again.
        let forgotten = self.forget_failure(uid);
        state.incoming.push_back(uid.to_owned());
        drop(state);
        forgotten?;
        self.changed.notify_all();
        Ok(Stored::New)
    }

    /// The next object to be answered, once there is one; `None` after `wait`. It stays in the queue until
    /// [`Queue::answered`] or [`Queue::failed`]; only one thread may ask.
    ///
    /// # Errors
    /// [`QueueError::Io`].
    pub fn take(&self, wait: Duration) -> Result<Option<Work>, QueueError> {
        self.prune()?;
        self.finish_rest()?;
        let state = self.wait(wait, |state| !state.incoming.is_empty());
        let Some(uid) = state.incoming.front().cloned() else { return Ok(None) };
        drop(state);
        let path = self.root.join("tries").join(&uid);
        let before = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        let tries = before.unwrap_or(0_u32).saturating_add(1);
        // Lost in a power cut, which is no fault of the object.
        fs::write(&path, tries.to_string()).map_err(at(&path))?;
        Ok(Some(Work { path: self.incoming(&uid), uid, tries }))
    }

    /// An empty folder for the results of `work`.
    ///
    /// # Errors
    /// [`QueueError::Io`].
    pub fn folder(&self, work: &Work) -> Result<PathBuf, QueueError> {
        let folder = self.temporary(&work.uid);
        fs::create_dir(&folder).map_err(at(&folder))?;
        Ok(folder)
    }

    /// Queues the results of `work`, which are the files in `folder`, for every destination.
    ///
    /// # Errors
    /// [`QueueError::Io`]; the object stays to be answered then.
    pub fn answered(&self, work: &Work, folder: &Path) -> Result<(), QueueError> {
        let mut entry = Entry::default();
        for (path, name, _) in disk::entries(folder, "")? {
            disk::sync_file(&path)?;
            entry.files.insert(name);
        }
        disk::sync_folder(folder)?;
        let mut state = self.lock();
        // A step after the rename failed the last time.
        disk::remove_folder(&self.outgoing(&work.uid))?;
        disk::rename(folder, &self.outgoing(&work.uid))?;
        disk::remove(&self.incoming(&work.uid))?;
        disk::remove(&self.root.join("tries").join(&work.uid))?;
        state.incoming.retain(|uid| *uid != work.uid);
        state.unfinished |= entry.files.is_empty();
        state.outgoing.insert(work.uid.clone(), entry);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Does not count this try of `work`, which failed for another reason than the object.
    pub fn forgive(&self, work: &Work) {
        // If the disk fails here too, the try counts.
        let _ = fs::write(self.root.join("tries").join(&work.uid), (work.tries - 1).to_string());
    }

    /// Puts an object aside that cannot be answered, with the reason.
    ///
    /// # Errors
    /// [`QueueError::Io`].
    pub fn failed(&self, work: &Work, reason: &str) -> Result<(), QueueError> {
        let [object, text] = self.failure(&work.uid);
        fs::write(&text, format!("{reason}\n")).map_err(at(&text))?;
        let mut state = self.lock();
        // Somebody may have taken it away.
        if work.path.exists() {
            disk::rename(&work.path, &object)?;
        }
        disk::remove(&self.root.join("tries").join(&work.uid))?;
        state.incoming.retain(|uid| *uid != work.uid);
        Ok(())
    }

    /// Results that the destination `key` does not have, the oldest UIDs first and at most 64, except those that
    /// `later` (of the UID and the name of the file) names; empty after `wait`.
    pub fn unsent(&self, key: &str, later: &dyn Fn(&str, &str) -> bool, wait: Duration) -> Vec<Unsent> {
        let waiting = |state: &State| !self.unsent_in(state, key, later, 1).is_empty();
        let state = self.wait(wait, waiting);
        let found = self.unsent_in(&state, key, later, BATCH);
        drop(state);
        let tried = |unsent: Unsent| {
            let tried = self.marker(&unsent.uid, &unsent.name, key, "try").exists();
            Unsent { tried, ..unsent }
        };
        found.into_iter().map(tried).collect()
    }

    fn unsent_in(
        &self,
        state: &State,
        key: &str,
        later: &dyn Fn(&str, &str) -> bool,
        most: usize,
    ) -> Vec<Unsent> {
        let each = state.outgoing.iter().flat_map(|(uid, entry)| {
            let lacking = move |name: &&String| {
                !later(uid, name) && !entry.sent.contains(&((*name).clone(), key.to_owned()))
            };
            entry.files.iter().filter(lacking).map(move |name| (uid, name))
        });
        let unsent = |(uid, name): (&String, &String)| Unsent {
            uid: uid.clone(),
            name: name.clone(),
            path: self.outgoing(uid).join(name),
            tried: false,
        };
        each.take(most).map(unsent).collect()
    }

    /// A try to send `unsent` to the destination `key` begins.
    ///
    /// # Errors
    /// [`QueueError::Io`].
    pub fn trying(&self, unsent: &Unsent, key: &str) -> Result<(), QueueError> {
        let path = self.marker(&unsent.uid, &unsent.name, key, "try");
        // For the record alone, so nobody waits for the disk.
        File::create(&path).map(drop).map_err(at(&path))
    }

    /// The destination `key` did not take `unsent`.
    ///
    /// # Errors
    /// [`QueueError::Io`].
    pub fn refused(&self, unsent: &Unsent, key: &str) -> Result<(), QueueError> {
        disk::remove(&self.marker(&unsent.uid, &unsent.name, key, "try"))
    }

    /// The destination `key` has `unsent`. Says whether that was the last of its object.
    ///
    /// # Errors
    /// [`QueueError::Io`].
    pub fn sent(&self, unsent: &Unsent, key: &str) -> Result<bool, QueueError> {
        disk::mark(&self.marker(&unsent.uid, &unsent.name, key, "sent"))?;
        let mut state = self.lock();
        let Some(entry) = state.outgoing.get_mut(&unsent.uid) else { return Ok(false) };
        entry.sent.insert((unsent.name.clone(), key.to_owned()));
        if !self.is_complete(entry) {
            return Ok(false);
        }
        state.unfinished = true;
        self.finish(&mut state, &unsent.uid)?;
        Ok(true)
    }

    /// Objects to be answered, and objects whose results are to be sent.
    pub fn waiting(&self) -> [usize; 2] {
        let state = self.lock();
        [state.incoming.len(), state.outgoing.len()]
    }

    /// Wakes all that wait for the queue.
    pub fn wake(&self) {
        self.changed.notify_all();
    }

    /// Whether every destination has every result.
    fn is_complete(&self, entry: &Entry) -> bool {
        let has = |name: &String, key: &String| entry.sent.contains(&(name.clone(), key.clone()));
        entry.files.iter().all(|name| self.keys.iter().all(|key| has(name, key)))
    }

    /// Notes that an object is done, and removes its results.
    fn finish(&self, state: &mut State, uid: &str) -> Result<(), QueueError> {
        disk::mark(&self.root.join("done").join(uid))?;
        state.done.insert(uid.to_owned(), SystemTime::now());
        state.outgoing.remove(uid);
        disk::remove_folder(&self.outgoing(uid))
    }

    /// Finishes what is complete and could not be finished before.
    fn finish_rest(&self) -> Result<(), QueueError> {
        let mut state = self.lock();
        if !std::mem::take(&mut state.unfinished) {
            return Ok(());
        }
        let complete = |(_, entry): &(&String, &Entry)| self.is_complete(entry);
        let complete: Vec<String> =
            state.outgoing.iter().filter(complete).map(|(uid, _)| uid.clone()).collect();
        for uid in complete {
            if let Err(error) = self.finish(&mut state, &uid) {
                state.unfinished = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Once an hour, forgets what has been done or has failed for long.
    fn prune(&self) -> Result<(), QueueError> {
        const OFTEN: Duration = Duration::from_secs(3600);
        let mut state = self.lock();
        if state.pruned.is_some_and(|last| last.elapsed() < OFTEN) {
            return Ok(());
        }
        state.pruned = Some(Instant::now());
        // A clock that was set back makes them young: they are kept for longer.
        let old = |time: SystemTime| time.elapsed().is_ok_and(|age| age > self.keep);
        let State { done, .. } = &mut *state;
        let mut times: Vec<SystemTime> = done.values().copied().collect();
        let excess = times.len().saturating_sub(MAX_DONE);
        times.sort_unstable();
        let first = times.get(excess).copied();
        let too_many = |time: SystemTime| excess > 0 && first.is_some_and(|first| time < first);
        for uid in done.extract_if(|_, time| old(*time) || too_many(*time)).map(|(uid, _)| uid) {
            disk::remove(&self.root.join("done").join(uid))?;
        }
        drop(state);
        for (path, ..) in disk::entries(&self.root.join("failed"), "")?.into_iter().filter(|e| old(e.2)) {
            disk::remove(&path)?;
        }
        Ok(())
    }

    fn forget_failure(&self, uid: &str) -> Result<(), QueueError> {
        self.failure(uid).iter().try_for_each(|path| disk::remove(path))
    }

    /// Waits until `ready`, or for `most`.
    fn wait(&self, most: Duration, ready: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_timeout_while(self.lock(), most, |state| !ready(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new name in `tmp/`.
    fn temporary(&self, uid: &str) -> PathBuf {
        let mut state = self.lock();
        state.next += 1;
        self.root.join("tmp").join(format!("{}-{uid}", state.next))
    }

    fn incoming(&self, uid: &str) -> PathBuf {
        self.root.join("incoming").join(format!("{uid}.dcm"))
    }

    fn outgoing(&self, uid: &str) -> PathBuf {
        self.root.join("outgoing").join(uid)
    }

    fn failure(&self, uid: &str) -> [PathBuf; 2] {
        ["dcm", "txt"].map(|ending| self.root.join("failed").join(format!("{uid}.{ending}")))
    }

    fn marker(&self, uid: &str, name: &str, key: &str, ending: &str) -> PathBuf {
        self.outgoing(uid).join(format!("{name}.{key}.{ending}"))
    }
}

impl State {
    /// Whether an object was acknowledged before, and has not failed.
    fn knows(&self, uid: &str) -> bool {
        self.done.contains_key(uid)
            || self.outgoing.contains_key(uid)
            || self.incoming.iter().any(|known| known == uid)
    }
}
