//! Decides whether a row's times are reliable, and if not, why.

use super::stats::median;
use super::{Latency, Round, Verdict};

/// Minimum number of runs for a meaningful median and 90th percentile: the 95% confidence interval of the median then
/// exists and excludes the extremes.
const MIN_RUNS: usize = 10;

/// Maximum ratio of the 90th percentile to the median. A quiet machine stays below 1.05.
const MAX_SPREAD: f64 = 1.25;

/// Maximum ratio between the medians of the rounds.
const MAX_DRIFT: f64 = 1.15;

/// Maximum ratio between the clocks of the rounds.
const MAX_CLOCK_CHANGE: f64 = 1.05;

/// Maximum share of all cores' time that may be taken by others.
const MAX_OTHER_LOAD: f64 = 0.10;

impl Verdict {
    /// Verdict on a row from its runs and rounds. `battery` is whether the machine ran on its battery.
    pub fn new(latency: &Latency, rounds: &[Round], battery: bool) -> Verdict {
        let mut reasons: Vec<String> = [
            runs(latency),
            spread(latency),
            drift(rounds),
            clocks(rounds),
            load(rounds),
            battery.then(|| "the machine runs on its battery".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect();
        for text in rounds.iter().flat_map(|round| &round.throttled) {
            let text = format!("throttled: {text}");
            if !reasons.contains(&text) {
                reasons.push(text);
            }
        }
        Verdict { valid: reasons.is_empty(), reasons }
    }

    /// `VALID` or `INVALID`.
    pub fn word(&self) -> &'static str {
        if self.valid { "VALID" } else { "INVALID" }
    }
}

fn runs(latency: &Latency) -> Option<String> {
    (latency.runs < MIN_RUNS).then(|| format!("too few runs: {} of {MIN_RUNS}", latency.runs))
}

fn spread(latency: &Latency) -> Option<String> {
    let spread = latency.p90_ms / latency.p50_ms;
    (spread > MAX_SPREAD).then(|| {
        format!("spread: the 90th percentile is {spread:.2} times the median (at most {MAX_SPREAD})")
    })
}

fn drift(rounds: &[Round]) -> Option<String> {
    let medians = rounds.iter().map(|round| round.median_ms);
    let (least, most) = extremes(medians)?;
    let drift = most / least;
    (drift > MAX_DRIFT).then(|| {
        format!("drift: the slowest round's median is {drift:.2} times the fastest's (at most {MAX_DRIFT})")
    })
}

fn clocks(rounds: &[Round]) -> Option<String> {
    let (least, most) = extremes(rounds.iter().filter_map(|round| round.mhz.map(f64::from)))?;
    (most / least > MAX_CLOCK_CHANGE).then(|| format!("clock changed: {least:.0} to {most:.0} MHz"))
}

fn load(rounds: &[Round]) -> Option<String> {
    let loads: Vec<f64> = rounds.iter().filter_map(|round| round.other_load).collect();
    let load = median(&loads)?;
    (load > MAX_OTHER_LOAD).then(|| format!("other load: {:.0}% of the cores' time", 100.0 * load))
}

fn extremes(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.map(|v| (v, v)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(median_ms: f64) -> Round {
        Round { runs: 10, median_ms, mhz: Some(2000), other_load: Some(0.01), ..Round::default() }
    }

    fn steady(n: usize) -> Latency {
        Latency::from_seconds((0..n).map(|i| 0.020 + 1e-5 * i as f64).collect())
    }

    #[test]
    fn each_fault_is_named() {
        let good = [round(20.0), round(20.5), round(20.1)];
        assert_eq!(Verdict::new(&steady(30), &good, false), Verdict { valid: true, reasons: Vec::new() });
        let reason = |latency: &Latency, rounds: &[Round], battery| {
            let verdict = Verdict::new(latency, rounds, battery);
            assert!(!verdict.valid && verdict.reasons.len() == 1, "{verdict:?}");
            verdict.reasons[0].clone()
        };
        assert_eq!(reason(&steady(9), &good, false), "too few runs: 9 of 10");
        let wide = Latency::from_seconds((0..20).map(|i| if i < 15 { 0.02 } else { 0.03 }).collect());
        assert!(reason(&wide, &good, false).starts_with("spread: the 90th percentile is 1.50 times"));
        assert!(reason(&steady(30), &[round(20.0), round(24.0)], false).starts_with("drift: "));
        let slow = Round { mhz: Some(1500), ..round(20.0) };
        assert_eq!(reason(&steady(30), &[round(20.0), slow], false), "clock changed: 1500 to 2000 MHz");
        let busy = Round { other_load: Some(0.4), ..round(20.0) };
        let busy = [busy.clone(), busy, round(20.0)];
        assert_eq!(reason(&steady(30), &busy, false), "other load: 40% of the cores' time");
        assert_eq!(reason(&steady(30), &good, true), "the machine runs on its battery");
        let hot = Round { throttled: vec!["clock lowered for heat".into()], ..round(20.0) };
        let hot = [hot.clone(), hot];
        assert_eq!(reason(&steady(30), &hot, false), "throttled: clock lowered for heat");
        let weak = Round { throttled: vec!["under-voltage".into()], ..round(20.0) };
        let all = Verdict::new(&steady(30), &[weak], false);
        assert_eq!((all.word(), all.reasons), ("INVALID", vec!["throttled: under-voltage".to_owned()]));
    }
}
