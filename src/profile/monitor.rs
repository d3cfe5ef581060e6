//! Monitors the machine (clocks, temperatures, load, energy) while a row is timed.

use serde::{Deserialize, Serialize};

use super::stats::median;
use super::{CoreClock, EnergyUse, Round};
use crate::board::energy::{DEFAULT_INTERVAL, PowerMeter, Sampler};
use crate::board::sensors::{Clock, State};
use crate::board::{CpuList, Root};

/// Where to read the machine's state, and the meters that measure its power.
pub struct Watch<'a> {
    /// Root of the file system that holds `proc` and `sys`.
    pub root: &'a Root,
    /// Opens the power meters; called at the start of each round.
    pub meters: &'a dyn Fn() -> Vec<Box<dyn PowerMeter>>,
}

/// One round's runs and the machine's state during them, as stored in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub round: Round,
    /// Latency of each run, milliseconds.
    pub runs_ms: Vec<f64>,
    pub energy: Vec<Joules>,
}

/// Energy counted by one meter in a round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Joules {
    pub meter: String,
    pub joules: f64,
    pub seconds: f64,
    /// Number of images run in that time. The warm-up is not included: it ends before the meter starts.
    pub frames: usize,
}

/// Monitors a round that is being timed.
pub(super) struct Monitor<'a> {
    root: &'a Root,
    cpus: &'a CpuList,
    state: State,
    sampler: Option<Sampler>,
}

impl<'a> Monitor<'a> {
    /// Starts monitoring. `cpus` are the cores used; empty for all.
    pub fn start(watch: &Watch<'a>, cpus: &'a CpuList) -> Monitor<'a> {
        let state = State::read(watch.root);
        let meters = (watch.meters)();
        let sampler = (!meters.is_empty()).then(|| Sampler::start(meters, DEFAULT_INTERVAL));
        Monitor { root: watch.root, cpus, state, sampler }
    }

    /// Stops monitoring. Call it right after the last run, since clocks drop once the cores are idle.
    pub fn stop(self, seconds: &[f64]) -> Record {
        let after = State::read(self.root);
        let measured = self.sampler.map(Sampler::stop).unwrap_or_default();
        let runs_ms: Vec<f64> = seconds.iter().map(|s| s * 1e3).collect();
        let used = |cpu: usize| self.cpus.is_empty() || self.cpus.contains(cpu);
        // If no cores were pinned, the core with the highest clock is assumed to have run the model.
        let clocks = after.clocks.iter().filter(|c| used(c.cpu)).filter_map(|c| c.now_mhz);
        let mhz = if self.cpus.is_empty() { clocks.max() } else { clocks.min() };
        let celsius = after.temperatures.iter().map(|t| t.celsius).reduce(f64::max);
        let times = after.cpu_times.zip(self.state.cpu_times);
        let load = times.and_then(|(now, then)| now.since(&then));
        let frames = runs_ms.len();
        let energy = measured
            .into_iter()
            .filter_map(|m| Some(Joules { meter: m.name, joules: m.joules?, seconds: m.seconds, frames }));
        Record {
            energy: energy.collect(),
            round: Round {
                runs: frames,
                median_ms: median(&runs_ms).unwrap_or(0.0),
                mhz,
                clocks: after.clocks.iter().filter_map(CoreClock::of).collect(),
                celsius,
                other_load: load.map(|load| load.others),
                throttled: after.throttled_since(&self.state),
            },
            runs_ms,
        }
    }
}

impl CoreClock {
    fn of(clock: &Clock) -> Option<CoreClock> {
        Some(CoreClock { cpu: clock.cpu, mhz: clock.now_mhz? })
    }
}

/// Energy per frame for each meter, over all rounds.
pub(super) fn energy(records: &[Record], feeds: &dyn Fn(&str) -> Option<String>) -> Vec<EnergyUse> {
    let mut all: Vec<Joules> = Vec::new();
    for joules in records.iter().flat_map(|record| &record.energy) {
        match all.iter_mut().find(|sum| sum.meter == joules.meter) {
            Some(sum) => {
                sum.joules += joules.joules;
                sum.seconds += joules.seconds;
                sum.frames += joules.frames;
            }
            None => all.push(joules.clone()),
        }
    }
    let of = |sum: Joules| EnergyUse {
        feeds: feeds(&sum.meter),
        joules_per_frame: sum.joules / sum.frames.max(1) as f64,
        watts: sum.joules / sum.seconds.max(1e-9),
        meter: sum.meter,
    };
    all.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::profile::{Latency, Verdict};

    /// Writes the recorded state of a single-core machine with this clock and cooling state.
    fn machine(folder: &std::path::Path, mhz: u32, cooling: u32) {
        for (path, text) in [
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", format!("{}\n", mhz * 1000)),
            ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "2000000\n".to_owned()),
            ("sys/class/thermal/cooling_device0/type", "cpufreq-cpu0\n".to_owned()),
            ("sys/class/thermal/cooling_device0/cur_state", format!("{cooling}\n")),
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n".to_owned()),
            ("sys/class/thermal/thermal_zone0/temp", "61000\n".to_owned()),
        ] {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn throttling_between_two_readings_makes_a_row_invalid() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::recorded(folder.path());
        let watch = Watch { root: &root, meters: &Vec::new };
        let cpus: CpuList = [0].into_iter().collect();
        let round = |after: (u32, u32)| {
            machine(folder.path(), 2000, 0);
            let monitor = Monitor::start(&watch, &cpus);
            machine(folder.path(), after.0, after.1);
            monitor.stop(&[0.02; 12]).round
        };
        let latency = Latency::from_seconds(vec![0.02; 36]);
        let cool = [round((2000, 0)), round((2000, 0)), round((2000, 0))];
        assert_eq!((cool[0].mhz, cool[0].celsius), (Some(2000), Some(61.0)));
        assert_eq!(cool[0].clocks, [CoreClock { cpu: 0, mhz: 2000 }]);
        assert!(Verdict::new(&latency, &cool, false).valid);
        let hot = [round((2000, 0)), round((1500, 3)), round((2000, 0))];
        let verdict = Verdict::new(&latency, &hot, false);
        assert!(!verdict.valid);
        let text = verdict.reasons.join("; ");
        assert!(text.contains("clock changed: 1500 to 2000 MHz") && text.contains("throttled: "), "{text}");
    }

    #[test]
    fn energy_is_summed_by_meter() {
        let joules =
            |meter: &str, joules, frames| Joules { meter: meter.into(), joules, seconds: 2.0, frames };
        let record = |energy| Record { round: Round::default(), runs_ms: Vec::new(), energy };
        let records =
            [record(vec![joules("a", 6.0, 10), joules("b", 1.0, 10)]), record(vec![joules("a", 2.0, 30)])];
        let found = energy(&records, &|meter| (meter == "a").then(|| "all".to_owned()));
        let a = &found[0];
        assert_eq!((a.meter.as_str(), a.feeds.as_deref()), ("a", Some("all")));
        assert_eq!((a.joules_per_frame, a.watts), (0.2, 2.0));
        assert_eq!((found.len(), found[1].joules_per_frame), (2, 0.1));
    }
}
