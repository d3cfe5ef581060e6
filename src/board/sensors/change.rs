//! Throttling between two readings of a machine's sensors.

use serde::Serialize;

use super::{State, Throttle};

/// A clock that dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClockFall {
    /// Number of the core.
    pub cpu: usize,
    /// `clock`: the core ran slower; `limit`: its highest allowed clock was lowered.
    pub what: &'static str,
    /// Clock before, MHz.
    pub from_mhz: u32,
    /// Clock after, MHz.
    pub to_mhz: u32,
}

impl State {
    /// What slowed the machine down between `before` and now, one line each: flags set in either reading, counts that
    /// grew, and since-boot flags that were newly set.
    pub fn throttled_since(&self, before: &State) -> Vec<String> {
        let same = |a: &Throttle, b: &Throttle| (&a.source, a.what) == (&b.source, b.what);
        let now = |t: &Throttle| {
            let old = before.throttles.iter().find(|old| same(old, t));
            change(old, t).map(|change| format!("{} {change} ({})", t.what, t.source))
        };
        let gone = |old: &&Throttle| old.now == Some(true) && !self.throttles.iter().any(|t| same(old, t));
        let lost = before.throttles.iter().filter(gone);
        let lost = lost.map(|old| format!("{} before ({})", old.what, old.source));
        self.throttles.iter().filter_map(now).chain(lost).collect()
    }

    /// Cores whose clock or highest allowed clock is now lower than `before` by more than the fraction `share`. An idle
    /// core's clock drops too unless the governor is `performance`, so read both states under the same load.
    pub fn clock_change(&self, before: &State, share: f64) -> Vec<ClockFall> {
        let mut falls = Vec::new();
        for new in &self.clocks {
            let Some(old) = before.clocks.iter().find(|old| old.cpu == new.cpu) else { continue };
            let pairs = [("clock", old.now_mhz, new.now_mhz), ("limit", old.limit_mhz, new.limit_mhz)];
            for (what, from, to) in pairs {
                let Some((from_mhz, to_mhz)) = from.zip(to) else { continue };
                if f64::from(to_mhz) < f64::from(from_mhz) * (1.0 - share) {
                    falls.push(ClockFall { cpu: new.cpu, what, from_mhz, to_mhz });
                }
            }
        }
        falls
    }
}

/// When the machine was slowed down; `None` if it was not, or if it is unknown.
fn change(old: Option<&Throttle>, new: &Throttle) -> Option<String> {
    let before = old.is_some_and(|old| old.now == Some(true));
    let after = new.now == Some(true);
    if before || after {
        let when = if !after { "before" } else { "now" };
        return Some(if before && after { "before and now".to_owned() } else { when.to_owned() });
    }
    let old = old?;
    // A source without `since_boot` reports its current step as the count.
    let grown = new.since_boot.and(new.count.zip(old.count)).map(|(new, old)| new.saturating_sub(old));
    match grown.filter(|&n| n > 0) {
        Some(n) => Some(format!("in between, {n} times")),
        None => {
            (old.since_boot == Some(false) && new.since_boot == Some(true)).then(|| "in between".to_owned())
        }
    }
}
