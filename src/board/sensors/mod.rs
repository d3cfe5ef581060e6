//! The state of a machine according to the kernel's sensors: clocks, temperatures, throttling, power, load, memory.
//!
//! Each reader takes a [`Root`], so that recorded trees can be read like a live machine, and skips sensors that are
//! missing.

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

/// All sensors at one point in time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct State {
    /// Clocks of each core with cpufreq.
    pub clocks: Vec<Clock>,
    /// Thermal zones.
    pub temperatures: Vec<Temperature>,
    /// What is slowing the machine down, or has; empty if the kernel reports no throttling.
    pub throttles: Vec<Throttle>,
    /// Power of each rail with a sensor.
    pub rails: Vec<RailPower>,
    /// Energy counters (RAPL).
    pub energies: Vec<Energy>,
    /// Main memory.
    pub memory: Option<MemoryState>,
    /// Battery or mains.
    pub supply: Option<Supply>,
    /// Modes that limit power and clocks.
    pub power_mode: PowerMode,
    /// Time that the cores have spent since boot.
    pub cpu_times: Option<CpuTimes>,
    /// Mean number of threads running or waiting, over the last 1, 5 and 15 minutes.
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
    /// Memory managed by the kernel: the installed memory less what firmware and GPU reserve.
    pub total_kib: u64,
    /// Memory still available to programs.
    pub available_kib: Option<u64>,
    /// Swap space in use.
    pub swapped_kib: Option<u64>,
}

/// Main memory; `None` if `/proc/meminfo` has no total.
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

/// The value of a `/proc` line `name: 123 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
}
