//! Boards and machines. A board's cores, memory, sensors and pins come from one TOML file per board (`boards/` in the
//! repository, or the user's own); the description of this machine comes from `/proc` and `/sys`.
//!
//! This module is outside the layers: the command line, the profiler and the engine's threads use it; it uses none of
//! them.

mod affinity;
mod caches;
mod choose;
mod cores;
mod cpus;
pub mod energy;
mod error;
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
pub use error::{BoardFileError, MeterError, PinError};
pub use file::{
    Board, Caches, Cluster, DefaultThreads, Memory, Pin, Pins, Rail, Recognise, SensorNames, boards,
};
pub use machine::{Architecture, Cpu, Group, Machine};
pub use meter_spec::{MeterChip, MeterSpec, MeterSpecError};
pub use recognise::{Recognised, recognise};
pub use report::{BoardReport, Warning};
pub use root::Root;
pub use signal::Signal;

/// Why a board or its cores cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// A board file cannot be read.
    #[error("{file}: {reason}")]
    Read {
        /// The file.
        file: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// A board file has invalid contents.
    #[error("{file}, line {line}: {key}{}", .reason.to_string().replace(['\n', '\r'], " "))]
    File {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The key and `: `, or empty if the line has no key.
        key: String,
        /// What is wrong with it.
        reason: BoardFileError,
    },
    /// No board of this name.
    #[error("no board is called '{name}': give the path of a .toml file, or one of {known}")]
    Unknown {
        /// The requested name.
        name: String,
        /// The known names.
        known: String,
    },
    /// Cores were requested that this process may not use.
    #[error(
        "cores {asked}: this process may use {usable} only; a core may be off, or taskset or the container keeps it away"
    )]
    Cores {
        /// The requested cores.
        asked: String,
        /// The available cores.
        usable: String,
    },
    /// A power meter cannot be read.
    #[error("{meter}: {reason}")]
    Meter {
        /// The meter.
        meter: String,
        /// What went wrong.
        reason: MeterError,
    },
    /// The description of a power meter is invalid.
    #[error("power meter '{spec}': {reason}; give chip:bus:address:ohms, like ina226:/dev/i2c-1:0x40:0.01")]
    Spec {
        /// The description.
        spec: String,
        /// What is wrong with it.
        reason: MeterSpecError,
    },
    /// A pin cannot be used.
    #[error("pin {signal} ({place}): {reason}")]
    Pin {
        /// What the pin is for.
        signal: Signal,
        /// Its chip and line.
        place: String,
        /// What went wrong.
        reason: PinError,
    },
    /// The board's file has no pin for a signal.
    #[error(
        "pin {signal} (board {board}): its file names no such pin: add {signal} to [pins] in one of your own"
    )]
    NoPin {
        /// The signal.
        signal: Signal,
        /// Name of the board.
        board: String,
    },
    /// The pin of an input was not opened.
    #[error("pin {0} (not opened): there is none to wait for")]
    NotOpened(Signal),
    /// This build does not include pins and external meters.
    #[error("this build cannot {what}: build it on Linux with the feature {feature}")]
    NotBuilt {
        /// What was requested.
        what: String,
        /// The crate feature that provides it.
        feature: &'static str,
    },
}
