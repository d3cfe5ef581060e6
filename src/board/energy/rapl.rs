//! RAPL energy counters (Documentation/power/powercap/powercap.rst in Linux) as a meter.

use std::time::Instant;

use super::PowerMeter;
use crate::board::sensors::{Energy, energies};
use crate::board::{BoardError, MeterError, Root};

/// Joules of all packages between two readings of the counters; `None` if no package was read both times. Each counter
/// may wrap round at most once in between: at 100 W a counter of 262 kJ wraps after 44 minutes.
///
/// Only the packages are counted: they include cores and GPU, and are themselves included in `psys`. The separate
/// memory counter (`dram`, on servers) is not part of a package and is ignored, as most machines lack it. The zones of
/// `intel-rapl-mmio` duplicate those of `intel-rapl`.
pub fn package_joules(before: &[Energy], after: &[Energy]) -> Option<f64> {
    let passed = |new: &Energy| {
        let old = before.iter().find(|old| old.zone == new.zone && is_package(old))?;
        let (from, to) = (old.microjoules?, new.microjoules?);
        // The counter restarts at 0 after `wraps_at`. A counter that fell and has no range was reset.
        Some(if to >= from { to - from } else { to.saturating_add(new.wraps_at?.saturating_sub(from)) })
    };
    let passed: Vec<u64> = after.iter().filter_map(passed).collect();
    (!passed.is_empty()).then(|| passed.iter().map(|&uj| uj as f64).sum::<f64>() / 1e6)
}

/// `intel-rapl:0` is a package, on AMD too; `intel-rapl:0:0` is part of one.
fn is_package(energy: &Energy) -> bool {
    let top = energy.zone.strip_prefix("intel-rapl:").is_some_and(|number| !number.contains(':'));
    top && energy.name.starts_with("package")
}

/// The energy counters of all packages.
#[derive(Debug)]
pub struct RaplMeter {
    root: Root,
    last: Vec<Energy>,
    at: Instant,
    joules: f64,
}

impl RaplMeter {
    /// This machine's counters; `None` if it has none or they are not readable (only root may since Linux 5.10).
    pub fn open(root: &Root) -> Option<RaplMeter> {
        let last = RaplMeter::read(root);
        let readable = last.iter().any(|energy| energy.microjoules.is_some());
        readable.then(|| RaplMeter { root: root.clone(), last, at: Instant::now(), joules: 0.0 })
    }

    fn read(root: &Root) -> Vec<Energy> {
        energies(root).into_iter().filter(is_package).collect()
    }

    /// Reads the counters and returns the joules since the last reading. On error they are left to the next reading.
    fn advance(&mut self) -> Result<f64, BoardError> {
        let now = RaplMeter::read(&self.root);
        let whole = now.len() == self.last.len() && now.iter().all(|energy| energy.microjoules.is_some());
        let passed = if whole { package_joules(&self.last, &now) } else { None };
        let passed =
            passed.ok_or_else(|| BoardError::Meter { meter: self.name(), reason: MeterError::NoCounters })?;
        self.last = now;
        self.joules += passed;
        Ok(passed)
    }
}

impl PowerMeter for RaplMeter {
    fn name(&self) -> String {
        let n = self.last.len();
        let packages = if n == 1 { "package".to_owned() } else { format!("{n} packages") };
        format!("RAPL ({packages}, without memory and board)")
    }

    fn milliwatts(&mut self) -> Result<f64, BoardError> {
        let passed = self.advance()?;
        let seconds = self.at.elapsed().as_secs_f64();
        self.at = Instant::now();
        Ok(if seconds > 0.0 { passed / seconds * 1e3 } else { 0.0 })
    }

    fn joules(&mut self) -> Option<f64> {
        self.milliwatts().ok()?;
        Some(self.joules)
    }
}
