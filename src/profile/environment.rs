//! The machine and program that a profile was measured with.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::board::{Board, Machine, Root, recognise, sensors::State};

/// The machine and the program.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Name of the board, or of the CPU if the machine is not a board (x86), as reported by the operating system.
    pub cpu: String,
    /// Title from the board file.
    pub board: Option<String>,
    /// Name of the chip, from the board file.
    pub soc: Option<String>,
    /// Number of cores available to this process.
    pub cores: usize,
    /// Operating system.
    pub os: &'static str,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Instruction set architecture.
    pub arch: &'static str,
    /// Version of this program.
    pub version: &'static str,
    /// Commit that this program was built from, if it was built from a clone.
    pub commit: Option<&'static str>,
    /// Start of the measurement, in seconds since 1970-01-01 UTC.
    pub unix_time: u64,
    /// The board's cores: types, clusters, features, caches.
    pub machine: Machine,
    /// Clocks, temperatures, throttling, power and memory before the first run.
    pub before: State,
    /// The same readings after the last run.
    pub after: Option<State>,
}

impl Environment {
    /// Reads the machine from the file system below `root`. `board` is its board file; if `None`, the matching one is
    /// used.
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

    /// Reads the sensors again, after the last run.
    pub fn finish(&mut self, root: &Root) {
        self.after = Some(State::read(root));
    }
}
