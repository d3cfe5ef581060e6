//! Handles: numbers in the form of pointers, which are looked up and never followed. One that was closed, or that never
//! was one, is an error and nothing worse.

use std::sync::{Arc, PoisonError, RwLock};

use super::status::{Failure, Status};

/// Number of bits of a handle that say its kind, and its place in the table; the rest count how often the place was taken.
const KIND_BITS: u32 = 2;
const PLACE_BITS: u32 = if usize::BITS == 64 { 30 } else { 14 };

/// Values of one kind, by their handles.
pub(super) struct Table<T> {
    /// 0 to 3. No handle is 0, since the first turn is 1.
    kind: usize,
    name: &'static str,
    places: RwLock<Vec<Place<T>>>,
}

struct Place<T> {
    /// How often the place was taken.
    turn: usize,
    value: Option<Arc<T>>,
}

impl<T> Table<T> {
    pub(super) const fn new(kind: usize, name: &'static str) -> Table<T> {
        Table { kind, name, places: RwLock::new(Vec::new()) }
    }

    fn handle(&self, place: usize, turn: usize) -> usize {
        (turn << (KIND_BITS + PLACE_BITS)) | (place << KIND_BITS) | self.kind
    }

    /// Keeps `value` and returns its handle.
    pub(super) fn add(&self, value: T) -> Result<usize, Failure> {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let free = places.iter().position(|place| place.value.is_none());
        let place = free.unwrap_or(places.len());
        if place >> PLACE_BITS != 0 {
            return Err(Failure::argument(format!("there are {place} {}s: close some", self.name)));
        }
        if free.is_none() {
            places.push(Place { turn: 0, value: None });
        }
        // The turn starts again after so many that nobody has the first one's handle any more.
        let turns = usize::MAX >> (KIND_BITS + PLACE_BITS);
        let taken = &mut places[place];
        taken.turn = if taken.turn == turns { 1 } else { taken.turn + 1 };
        taken.value = Some(Arc::new(value));
        Ok(self.handle(place, taken.turn))
    }

    /// The value of `handle`.
    pub(super) fn get(&self, handle: usize) -> Result<Arc<T>, Failure> {
        if handle == 0 {
            return Err(Failure::argument(format!("the {} is NULL", self.name)));
        }
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let place = (handle >> KIND_BITS) & (usize::MAX >> (usize::BITS - PLACE_BITS));
        let found = places.get(place).filter(|found| self.handle(place, found.turn) == handle);
        found.and_then(|found| found.value.clone()).ok_or_else(|| self.closed())
    }

    /// Closes `handle`: the value goes when the calls that use it have ended.
    pub(super) fn close(&self, handle: usize) -> Result<(), Failure> {
        if handle == 0 {
            return Ok(());
        }
        self.get(handle)?;
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let place = (handle >> KIND_BITS) & (usize::MAX >> (usize::BITS - PLACE_BITS));
        let found = places.get_mut(place).filter(|found| self.handle(place, found.turn) == handle);
        let value = found.and_then(|found| found.value.take());
        // Dropped without the lock.
        drop(places);
        value.map(drop).ok_or_else(|| self.closed())
    }

    fn closed(&self) -> Failure {
        Failure::new(Status::Closed, format!("this is no open {}: was it closed?", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_those_of_open_values_alone() {
        let (models, heads) = (Table::new(1, "model"), Table::new(2, "head"));
        let (a, b) = (models.add("a").unwrap(), models.add("b").unwrap());
        let head = heads.add(1).unwrap();
        assert_eq!(
            (*models.get(a).unwrap(), *models.get(b).unwrap(), *heads.get(head).unwrap()),
            ("a", "b", 1)
        );
        models.close(a).unwrap();
        let again = models.add("c").unwrap();
        assert_ne!(a, again);
        assert_eq!(*models.get(again).unwrap(), "c");
        for wrong in [a, head, 1, usize::MAX, b + 4] {
            assert_eq!(models.get(wrong).unwrap_err().status, Status::Closed, "{wrong}");
            assert_eq!(models.close(wrong).unwrap_err().status, Status::Closed, "{wrong}");
        }
        assert_eq!(models.get(0).unwrap_err().status, Status::Argument);
        models.close(0).unwrap();
        // Calls that use a value keep it.
        let held = models.get(b).unwrap();
        models.close(b).unwrap();
        assert_eq!(*held, "b");
    }
}
