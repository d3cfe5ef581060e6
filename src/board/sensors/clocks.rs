//! Core clocks, from cpufreq (Documentation/admin-guide/pm/cpufreq.rst in Linux).

use serde::Serialize;

use crate::board::Root;

/// Clocks of one core, MHz.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// Number of the core.
    pub cpu: usize,
    /// The cpufreq governor: `performance`, `schedutil`.
    pub governor: Option<String>,
    /// Current clock, as far as the kernel knows.
    pub now_mhz: Option<u32>,
    /// Highest clock currently allowed (`scaling_max_freq`).
    pub limit_mhz: Option<u32>,
    /// Highest clock of the hardware (`cpuinfo_max_freq`).
    pub max_mhz: Option<u32>,
}

/// Clocks of the cores; cores without cpufreq are skipped.
pub fn clocks(root: &Root) -> Vec<Clock> {
    let read = |(cpu, name): (usize, String)| {
        let folder = format!("sys/devices/system/cpu/{name}/cpufreq");
        let mhz = |file: &str| root.value::<u32>(&format!("{folder}/{file}")).map(|khz| khz / 1000);
        let clock = Clock {
            cpu,
            governor: root.line(&format!("{folder}/scaling_governor")),
            now_mhz: mhz("scaling_cur_freq"),
            limit_mhz: mhz("scaling_max_freq"),
            max_mhz: mhz("cpuinfo_max_freq"),
        };
        let known = clock.governor.is_some() || clock.now_mhz.or(clock.limit_mhz).or(clock.max_mhz).is_some();
        known.then_some(clock)
    };
    root.numbered("sys/devices/system/cpu", "cpu").into_iter().filter_map(read).collect()
}
