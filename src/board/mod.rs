//! What a board is: its cores, memory, sensors and pins, from one TOML file a board (`boards/` in the repository, or the
//! user's own), and what this machine is, from `/proc` and `/sys`.
//!
//! It stands beside the layers: the command line, the profiler and the engine's threads ask it; it asks none of them.

mod affinity;
mod caches;
mod choose;
mod cores;
mod cpus;
pub mod energy;
mod file;
#[cfg(all(feature = "hal", target_os = "linux"))]
pub mod hal;
#[cfg(not(all(feature = "hal", target_os = "linux")))]
#[path = "hal_absent.rs"]
pub mod hal;
mod machine;
mod meter_spec;
mod recognise;
mod report;
mod root;
pub mod sensors;
mod signal;

pub use caches::CacheShare;
pub use choose::{Choice, NamedGroup, Request, choose};
pub use cores::Cores;
pub use cpus::{CpuList, CpuListError, MAX_CPUS};
pub use file::{
    Board, Caches, Cluster, DefaultThreads, Memory, Pin, Pins, Rail, Recognise, SensorNames, boards,
};
pub use machine::{Architecture, Cpu, Group, Machine};
pub use meter_spec::{MeterChip, MeterSpec};
pub use recognise::{Recognised, recognise};
pub use report::{BoardReport, Warning};
pub use root::Root;
pub use signal::Signal;

/// Why a board or its cores cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoardError {
    /// A board file cannot be read.
    #[error("{file}: {reason}")]
    Read {
        /// The file.
        file: String,
        /// Why not.
        reason: String,
    },
    /// A board file says something that it cannot.
    #[error("{file}, line {line}: {key}{reason}")]
    File {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The key and `: `, or nothing where the line has none.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No board of this name.
    #[error("no board is called '{name}': give the path of a .toml file, or one of {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// Cores were asked for that this process may not use.
    #[error(
        "--cores {asked}: this process may use {usable} only; a core may be off, or taskset or the container keeps it away"
    )]
    Cores {
        /// The cores asked for.
        asked: String,
        /// The cores that may be used.
        usable: String,
    },
    /// A power meter cannot be read.
    #[error("{meter}: {reason}")]
    Meter {
        /// The meter.
        meter: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The description of a power meter is none.
    #[error("power meter '{spec}': {reason}; give chip:bus:address:ohms, like ina226:/dev/i2c-1:0x40:0.01")]
    Spec {
        /// The description.
        spec: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pin cannot be used.
    #[error("pin {signal} ({place}): {reason}")]
    Pin {
        /// What the pin is for.
        signal: Signal,
        /// Its chip and line, or the board.
        place: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// Pins and external meters are left out of this build.
    #[error("this build cannot {what}: build it on Linux with --features {feature}")]
    NotBuilt {
        /// What was asked for.
        what: String,
        /// The feature of this crate that has it.
        feature: &'static str,
    },
}
