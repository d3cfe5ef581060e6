//! A place for one thing that another thread takes.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A place for one thing.
pub struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: Option<T>,
    closed: bool,
}

impl<T> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot { state: Mutex::new(State { waiting: None, closed: false }), changed: Condvar::new() }
    }
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something in the place of what waits; whether something waited.
    pub fn replace(&self, thing: T) -> bool {
        let before = self.lock().waiting.replace(thing);
        self.changed.notify_all();
        before.is_some()
    }

    /// Puts something there once nothing waits any more.
    pub fn put(&self, thing: T) {
        let mut state = self.lock();
        while state.waiting.is_some() && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting = Some(thing);
        self.changed.notify_all();
    }

    /// What waits, or comes; `None` once the slot is closed and empty.
    pub fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(thing) = state.waiting.take() {
                self.changed.notify_all();
                return Some(thing);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing more will come, or be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn the_newest_or_every_thing_is_taken() {
        let slot = Slot::default();
        assert_eq!((slot.replace(1), slot.replace(2), slot.take()), (false, true, Some(2)));
        let slot = Arc::new(Slot::default());
        let taker = slot.clone();
        let taken = thread::spawn(move || std::iter::from_fn(|| taker.take()).collect::<Vec<i32>>());
        (0..100).for_each(|i| slot.put(i));
        slot.close();
        assert_eq!(taken.join().unwrap(), (0..100).collect::<Vec<i32>>());
        assert_eq!(slot.take(), None);
        // Nobody takes from a closed slot, so nobody waits for it either.
        slot.put(1);
        slot.put(2);
    }
}
