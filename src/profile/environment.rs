//! Where a profile was measured.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::board::{Machine, Root, sensors::State};

/// The machine and the program.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Name of the board, or of the CPU where that is no board (x86), as the operating system gives it.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Operating system.
    pub os: &'static str,
    /// Instruction set architecture.
    pub arch: &'static str,
    /// Version of this program.
    pub version: &'static str,
    /// Start of the measurement, seconds since 1970.
    pub unix_time: u64,
    /// The board's cores: types, clusters, features, caches.
    pub machine: Machine,
    /// Clocks, temperatures, throttling, power and memory before the first run.
    pub before: State,
    /// The same after the last run.
    pub after: Option<State>,
}

impl Environment {
    /// Asks this machine.
    pub fn here() -> Environment {
        let machine = Machine::read(&Root::live());
        Environment {
            cpu: machine.title().to_owned(),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            version: env!("CARGO_PKG_VERSION"),
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            machine,
            before: State::read(&Root::live()),
            after: None,
        }
    }

    /// Reads the sensors again, when all is measured.
    pub fn finish(&mut self) {
        self.after = Some(State::read(&Root::live()));
    }
}
