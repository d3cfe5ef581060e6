//! RAPL's energy counters (Documentation/power/powercap/powercap.rst in Linux) as a meter.

use std::time::Instant;

use super::PowerMeter;
use crate::board::sensors::{Energy, energies};
use crate::board::{BoardError, Root};

/// Joules of all packages between two readings of the counters, each of which wrapped round at most once; None where no
/// package was read both times. At 100 W a counter of 262 kJ wraps round after 44 minutes.
///
/// Counted are the packages alone: cores and GPU are within them, and they are within `psys`. What the memory's own counter
/// (`dram`, on servers) has comes on top and is left out, as most machines lack it. The zones of `intel-rapl-mmio` are
/// those of `intel-rapl` once more.
pub fn package_joules(before: &[Energy], after: &[Energy]) -> Option<f64> {
    let passed = |new: &Energy| {
        let old = before.iter().find(|old| old.zone == new.zone && is_package(old))?;
        let (from, to) = (old.microjoules?, new.microjoules?);
        // The counter starts at 0 again after `wraps_at`; one that fell and has no range was reset.
        Some(if to >= from { to - from } else { to.saturating_add(new.wraps_at?.saturating_sub(from)) })
    };
    let passed: Vec<u64> = after.iter().filter_map(passed).collect();
    (!passed.is_empty()).then(|| passed.iter().map(|&uj| uj as f64).sum::<f64>() / 1e6)
}

/// `intel-rapl:0` is a package, on AMD too; `intel-rapl:0:0` is a part of it.
fn is_package(energy: &Energy) -> bool {
    let top = energy.zone.strip_prefix("intel-rapl:").is_some_and(|number| !number.contains(':'));
    top && energy.name.starts_with("package")
}

/// The packages' counters.
#[derive(Debug)]
pub struct RaplMeter {
    root: Root,
    last: Vec<Energy>,
    at: Instant,
    joules: f64,
}

impl RaplMeter {
    /// The counters of this machine; None where it has none or may not read them (it takes root since Linux 5.10).
    pub fn open(root: &Root) -> Option<RaplMeter> {
        let last = RaplMeter::read(root);
        let readable = last.iter().any(|energy| energy.microjoules.is_some());
        readable.then(|| RaplMeter { root: root.clone(), last, at: Instant::now(), joules: 0.0 })
    }

    fn read(root: &Root) -> Vec<Energy> {
        energies(root).into_iter().filter(is_package).collect()
    }

    /// Takes the counters up to now; the joules since the last time. An error leaves them for the next time.
    fn advance(&mut self) -> Result<f64, BoardError> {
        let now = RaplMeter::read(&self.root);
        let whole = now.len() == self.last.len() && now.iter().all(|energy| energy.microjoules.is_some());
        let passed = if whole { package_joules(&self.last, &now) } else { None };
        let passed = passed.ok_or_else(|| BoardError::Meter {
            meter: self.name(),
            reason: "the counters cannot be read any more; only root may, unless energy_uj was made readable"
                .to_owned(),
        })?;
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
