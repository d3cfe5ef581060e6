//! Chooses the best configuration within limits, with a bootstrap estimate of the confidence in that choice.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::outcomes::Measure;
use super::stats::percentile;
use super::{Decision, Outcomes, Row};
use crate::heads::Bootstrap;

/// Percentile of the latency that a budget limits: one frame in ten may take longer.
const SHARE: f64 = 0.9;

/// Number of bootstrap resamples of runs and images.
const RESAMPLES: usize = 1000;

/// Limits on a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Maximum 90th percentile of the latency, milliseconds.
    pub budget_ms: Option<f64>,
    /// Minimum accuracy (AUC, accuracy or Dice).
    pub min_accuracy: Option<f64>,
}

/// A row's values in one resample.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ResampledRow {
    p90_ms: f64,
    accuracy: Option<f64>,
    macs: u64,
    valid: bool,
}

impl Limits {
    /// Whether any limit is set.
    pub fn any(&self) -> bool {
        self.budget_ms.is_some() || self.min_accuracy.is_some()
    }

    fn kept(&self, row: &ResampledRow) -> bool {
        self.budget_ms.is_none_or(|budget| row.p90_ms <= budget)
            && self.min_accuracy.is_none_or(|least| row.accuracy.is_some_and(|a| a >= least))
    }

    /// Index of the best row within the limits, among the VALID rows or, if none of those is within the limits, among
    /// the INVALID ones. With a latency budget the best row is the most accurate one; ties, as when no accuracies were
    /// measured, go to the row with the most multiply-accumulates, then to the fastest. Without a budget it is the
    /// fastest.
    fn choose(&self, rows: &[ResampledRow]) -> Option<usize> {
        let better = |a: &ResampledRow, b: &ResampledRow| {
            let fast = b.p90_ms.total_cmp(&a.p90_ms);
            match self.budget_ms {
                Some(_) => {
                    let accuracy = |n: &ResampledRow| n.accuracy.unwrap_or(f64::NEG_INFINITY);
                    accuracy(a).total_cmp(&accuracy(b)).then(a.macs.cmp(&b.macs)).then(fast)
                }
                None => fast,
            }
        };
        // `max_by` returns the last of equal elements; on the reversed range, that is the first row.
        let best = |valid: bool| {
            let kept = (0..rows.len()).rev().filter(|&i| rows[i].valid == valid && self.kept(&rows[i]));
            kept.max_by(|&a, &b| better(&rows[a], &rows[b]))
        };
        best(true).or_else(|| best(false))
    }

    fn texts(&self, metric: &str) -> Vec<String> {
        let budget = self.budget_ms.map(|ms| format!("90th percentile of the latency at most {ms} ms"));
        let least = self.min_accuracy.map(|least| format!("{metric} at least {least}"));
        budget.into_iter().chain(least).collect()
    }

    /// Chooses a row. `outcomes` are matched to the rows by weights, backend and size. Rows of untrained models take
    /// part, but their accuracy is ignored. An INVALID row is chosen only if no VALID row is within the limits, and the
    /// reason then says so.
    pub fn decide(&self, rows: &[Row], outcomes: &[Outcomes], seed: u64) -> Decision {
        let metric = rows.iter().find_map(|row| row.accuracy.as_ref()).map_or("accuracy", |a| &a.metric);
        let numbers = |row: &Row| ResampledRow {
            p90_ms: row.latency.p90_ms,
            accuracy: row.accuracy.as_ref().map(|a| a.value).filter(|_| !row.untrained),
            macs: row.macs.unwrap_or(0),
            valid: row.verdict.valid,
        };
        let all: Vec<ResampledRow> = rows.iter().map(numbers).collect();
        let limits = self.texts(metric);
        let Some(chosen) = self.choose(&all) else {
            let reason = self.why_none(&all, metric);
            return Decision { limits, row: None, label: None, within_limits: None, best: None, reason };
        };
        let (within, best) = self.confidence(rows, &all, outcomes, metric, chosen, seed);
        let row = &rows[chosen];
        let accuracy = all[chosen].accuracy.map(|a| format!(", {metric} {a:.3}")).unwrap_or_default();
        let doubt = if row.verdict.valid { "" } else { "; its times are INVALID: measure again" };
        let reason = format!(
            "{}: p90 {:.2} ms{accuracy}; within the limits in {:.0}% of the resamples, chosen in {:.0}%{doubt}",
            row.label(),
            row.latency.p90_ms,
            100.0 * within,
            100.0 * best
        );
        Decision {
            limits,
            row: Some(chosen),
            label: Some(row.label()),
            within_limits: Some(within),
            best: Some(best),
            reason,
        }
    }

    fn why_none(&self, all: &[ResampledRow], metric: &str) -> String {
        let fastest = all.iter().map(|n| n.p90_ms).reduce(f64::min);
        let best = all.iter().filter_map(|n| n.accuracy).reduce(f64::max);
        let mut parts = vec!["no configuration is within the limits".to_owned()];
        parts.extend(fastest.map(|ms| format!("the fastest has a p90 of {ms:.2} ms")));
        match best {
            Some(best) => parts.push(format!("the best {metric} is {best:.3}")),
            None if self.min_accuracy.is_some() => {
                parts.push("no accuracy was measured: give labelled data".into())
            }
            None => {}
        }
        parts.join("; ")
    }

    /// Share of resamples in which row `chosen` is within the limits, and share in which it is chosen again.
    fn confidence(
        &self,
        rows: &[Row],
        all: &[ResampledRow],
        outcomes: &[Outcomes],
        metric: &str,
        chosen: usize,
        seed: u64,
    ) -> (f64, f64) {
        let of = |row: &Row| {
            outcomes.iter().find(|o| o.is_of(row)).filter(|_| !row.untrained).map(|o| o.measure(metric))
        };
        let measures: Vec<Option<Measure>> = rows.iter().map(of).collect();
        let strata = outcomes.first().map(Outcomes::strata).unwrap_or_default();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut within, mut again, mut done) = (0, 0, 0usize);
        let mut resample = |weights: &[u32]| {
            let draw = |i: usize, rng: &mut ChaCha8Rng| ResampledRow {
                p90_ms: p90_of_resample(&rows[i].runs_ms, rng),
                accuracy: match &measures[i] {
                    // The metric is undefined if a resample lacks a class: use the value over all images instead.
                    Some(measure) => measure.value(weights).or(all[i].accuracy),
                    None => all[i].accuracy,
                },
                macs: all[i].macs,
                valid: all[i].valid,
            };
            let drawn: Vec<ResampledRow> = (0..rows.len()).map(|i| draw(i, &mut rng)).collect();
            within += usize::from(self.kept(&drawn[chosen]));
            again += usize::from(self.choose(&drawn) == Some(chosen));
            done += 1;
        };
        Bootstrap { resamples: RESAMPLES, seed }.resample(&strata, &mut resample);
        (within as f64 / done as f64, again as f64 / done as f64)
    }
}

fn p90_of_resample(runs_ms: &[f64], rng: &mut ChaCha8Rng) -> f64 {
    if runs_ms.is_empty() {
        return f64::INFINITY;
    }
    let mut drawn: Vec<f64> = runs_ms.iter().map(|_| runs_ms[rng.random_range(0..runs_ms.len())]).collect();
    drawn.sort_by(f64::total_cmp);
    percentile(&drawn, SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Accuracy, Latency, Verdict};

    fn row(size: usize, ms: f64, auc: f64) -> Row {
        let runs: Vec<f64> = (0..50).map(|i| ms * (1.0 + 0.001 * i as f64)).collect();
        Row {
            model: "m".into(),
            sha256: "s".into(),
            backend: "microraptor int8".into(),
            height: size,
            width: size,
            threads: 1,
            macs: Some(size as u64),
            latency: Latency::from_seconds(runs.iter().map(|ms| ms / 1e3).collect()),
            runs_ms: runs,
            verdict: Verdict { valid: true, reasons: Vec::new() },
            accuracy: Some(Accuracy { metric: "AUC".into(), value: auc, low: None, high: None, images: 40 }),
            ..Row::default()
        }
    }

    /// Noisy scores, those of the second class higher by `apart`.
    fn outcomes(size: usize, apart: f64) -> Outcomes {
        let score = |i: usize| ((i * 7919 % 997) as f64 / 997.0 + apart * (i % 2) as f64) / (1.0 + apart);
        Outcomes {
            model: "m".into(),
            sha256: "s".into(),
            backend: "microraptor int8".into(),
            height: size,
            width: size,
            truth: (0..40).map(|i| i % 2).collect(),
            values: (0..40).map(|i| vec![Some(1.0 - score(i)), Some(score(i))]).collect(),
        }
    }

    #[test]
    fn a_budget_takes_the_most_accurate_and_an_accuracy_the_fastest() {
        let rows = [row(128, 10.0, 0.85), row(224, 30.0, 0.95), row(512, 200.0, 0.96)];
        let all = [outcomes(128, 0.3), outcomes(224, 0.8), outcomes(512, 0.82)];
        let decide = |budget_ms, min_accuracy| Limits { budget_ms, min_accuracy }.decide(&rows, &all, 1);
        let found = decide(Some(40.0), None);
        assert_eq!(
            (found.row, found.limits[0].as_str()),
            (Some(1), "90th percentile of the latency at most 40 ms")
        );
        assert_eq!(found.within_limits, Some(1.0));
        assert!(found.best.unwrap() > 0.9, "{found:?}");
        assert_eq!(found.label.as_deref(), Some("m int8 224 px 1 thread"));
        assert_eq!(decide(None, Some(0.9)).row, Some(1));
        assert_eq!(decide(None, Some(0.8)).row, Some(0));
        // The budget equals the row's own p90, so only part of the resamples are within it.
        let tight = decide(Some(rows[1].latency.p90_ms), None);
        assert_eq!(tight.row, Some(1));
        assert!((0.3..0.95).contains(&tight.within_limits.unwrap()), "{tight:?}");
        // An INVALID row is chosen only if no VALID row is within the limits.
        let mut doubted = rows.clone();
        doubted[1].verdict.valid = false;
        let decide_on =
            |rows: &[Row]| Limits { budget_ms: Some(40.0), min_accuracy: None }.decide(rows, &all, 1);
        assert_eq!(decide_on(&doubted).row, Some(0));
        doubted[0].verdict.valid = false;
        let found = decide_on(&doubted);
        assert!(found.row == Some(1) && found.reason.ends_with("INVALID: measure again"), "{found:?}");
        let none = decide(Some(5.0), None);
        assert_eq!(none.row, None);
        assert!(none.reason.contains("the fastest has a p90 of 10.44 ms"), "{}", none.reason);
    }

    #[test]
    fn without_accuracy_a_budget_takes_what_computes_most() {
        let bare = |size, ms| Row { accuracy: None, untrained: true, ..row(size, ms, 0.0) };
        let rows = [bare(128, 10.0), bare(224, 30.0), bare(512, 200.0)];
        assert_eq!(Limits { budget_ms: Some(40.0), min_accuracy: None }.decide(&rows, &[], 1).row, Some(1));
        let none = Limits { budget_ms: None, min_accuracy: Some(0.9) }.decide(&rows, &[], 1);
        assert!(none.row.is_none() && none.reason.contains("give labelled data"), "{none:?}");
    }
}
