//! Where a profile was measured.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::board::{Board, Machine, Root, recognise, sensors::State};

/// The machine and the program.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Name of the board, or of the CPU where that is no board (x86), as the operating system gives it.
    pub cpu: String,
    /// Title of the board file.
    pub board: Option<String>,
    /// The chip, as the board file names it.
    pub soc: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Operating system.
    pub os: &'static str,
    /// Its kernel.
    pub kernel: Option<String>,
    /// Instruction set architecture.
    pub arch: &'static str,
    /// Version of this program.
    pub version: &'static str,
    /// The commit that it was built from, where it was built in a clone.
    pub commit: Option<&'static str>,
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
    /// Asks the machine below `root`; `board` is its file, or that which fits it.
    pub fn read(root: &Root, board: Option<Board>) -> Environment {
        let machine = Machine::read(root);
        let board = board.or_else(|| recognise(&machine).map(|recognised| recognised.board));
        Environment {
            cpu: machine.title().to_owned(),
            board: board.as_ref().map(|board| board.title.clone()),
            soc: board.map(|board| board.soc),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            os: std::env::consts::OS,
            kernel: root.line("proc/sys/kernel/osrelease"),
            arch: std::env::consts::ARCH,
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("MICRORAPTOR_COMMIT"),
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            machine,
            before: State::read(root),
            after: None,
        }
    }

    /// Reads the sensors again, when all is measured.
    pub fn finish(&mut self, root: &Root) {
        self.after = Some(State::read(root));
    }
}
