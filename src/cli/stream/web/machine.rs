//! The machine that runs the stream.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use microraptor::board::Root;
use microraptor::board::sensors::{Temperature, process_memory, temperatures};

/// A reading is used for so long; some sensors take milliseconds.
const FRESH: Duration = Duration::from_millis(900);

/// What its sensors say.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub temperatures: Vec<Temperature>,
    /// Of this process, in bytes.
    pub resident: Option<u64>,
}

/// Reads the sensors, on the thread of whoever asks.
#[derive(Default)]
pub struct Machine(Mutex<Option<(Instant, Reading)>>);

impl Machine {
    pub fn read(&self) -> Reading {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, reading)) if at.elapsed() < FRESH => reading.clone(),
            _ => {
                let root = Root::live();
                let resident = process_memory(&root).map(|memory| memory.resident_kib << 10);
                let reading = Reading { temperatures: temperatures(&root), resident };
                *last = Some((Instant::now(), reading.clone()));
                reading
            }
        }
    }
}
