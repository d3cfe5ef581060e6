//! Where a profile was measured.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The machine and the program.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Name of the CPU as the operating system gives it.
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
}

impl Environment {
    /// Asks this machine.
    pub fn here() -> Environment {
        Environment {
            cpu: cpu_name().unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            version: env!("CARGO_PKG_VERSION"),
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        }
    }
}

/// `model name` of x86's /proc/cpuinfo, or the board's name in the device tree (ARM).
fn cpu_name() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let field = |key: &str| {
        let line = info.lines().find(|l| l.split(':').next().is_some_and(|k| k.trim() == key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let board = || {
        let text = std::fs::read_to_string("/proc/device-tree/model").ok()?;
        Some(text.trim_end_matches('\0').to_owned())
    };
    field("model name").or_else(board)
}
