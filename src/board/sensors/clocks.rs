//! Clocks: cpufreq (Documentation/admin-guide/pm/cpufreq.rst in Linux).

use serde::Serialize;

use crate::board::Root;

/// Clock of one core, MHz.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// Number of the core.
    pub cpu: usize,
    /// Who sets the clock: `performance`, `schedutil`.
    pub governor: Option<String>,
    /// Now, as far as the kernel knows.
    pub now_mhz: Option<u32>,
    /// The highest that is allowed now (`scaling_max_freq`).
    pub limit_mhz: Option<u32>,
    /// The highest that the hardware has (`cpuinfo_max_freq`).
    pub max_mhz: Option<u32>,
}

/// Clocks of the cores; those without cpufreq are left out.
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
