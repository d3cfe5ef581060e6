//! The state of a machine, as the kernel's sensors give it: clocks, temperatures, throttling, power, load, memory.
//!
//! Each reader takes a [`Root`], so that a recorded tree is read as a machine is, and leaves out what is not there.

mod change;
mod clocks;
mod load;
mod mode;
mod power;
mod supply;
mod thermal;

use serde::Serialize;

pub use change::ClockFall;
pub use clocks::{Clock, clocks};
pub use load::{CpuTimes, Load, ProcessMemory, available_memory, cpu_times, load_average, process_memory};
pub use mode::{NvpModel, PowerMode, power_mode};
pub(super) use power::{Channel, channels};
pub use power::{Energy, RailPower, energies, rails};
pub use supply::{Supply, supply};
pub use thermal::{Temperature, Throttle, temperatures, throttles};

use super::Root;

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct State {
    /// Clock of each core that has a readable one.
    pub clocks: Vec<Clock>,
    /// Thermal zones.
    pub temperatures: Vec<Temperature>,
    /// What slows the machine down, or has; empty where the kernel reports nothing of the kind.
    pub throttles: Vec<Throttle>,
    /// Power of each rail with a sensor.
    pub rails: Vec<RailPower>,
    /// Energy counters (RAPL).
    pub energies: Vec<Energy>,
    /// Main memory.
    pub memory: Option<MemoryState>,
    /// Battery or mains.
    pub supply: Option<Supply>,
    /// Modes that bound power and clocks.
    pub power_mode: PowerMode,
    /// Time that the cores have spent since boot.
    pub cpu_times: Option<CpuTimes>,
    /// Threads that ran or waited, over the last 1, 5 and 15 minutes.
    pub load_average: Option<[f64; 3]>,
    /// Memory of this process.
    pub process_memory: Option<ProcessMemory>,
}

impl State {
    /// Reads every sensor.
    pub fn read(root: &Root) -> State {
        State {
            clocks: clocks(root),
            temperatures: temperatures(root),
            throttles: throttles(root),
            rails: rails(root),
            energies: energies(root),
            memory: memory(root),
            supply: supply(root),
            power_mode: power_mode(root),
            cpu_times: cpu_times(root),
            load_average: load_average(root),
            process_memory: process_memory(root),
        }
    }
}

/// Main memory, in KiB, from `/proc/meminfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryState {
    /// What the kernel manages: less than what is soldered on, by what firmware and GPU keep.
    pub total_kib: u64,
    /// What programs can still get.
    pub available_kib: Option<u64>,
    /// Swap space in use.
    pub swapped_kib: Option<u64>,
}

/// Main memory; None where `/proc/meminfo` has no total.
pub fn memory(root: &Root) -> Option<MemoryState> {
    let text = root.text("proc/meminfo")?;
    let field = |name: &str| kib(&text, name);
    Some(MemoryState {
        total_kib: field("MemTotal")?,
        available_kib: field("MemAvailable"),
        swapped_kib: field("SwapTotal")
            .zip(field("SwapFree"))
            .map(|(total, free)| total.saturating_sub(free)),
    })
}

/// A line `name: 123 kB`, as `/proc` has them.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
}
