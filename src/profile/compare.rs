//! Compares two profiles: what changed, and whether the change is statistically significant.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::stats::median;
use super::{DataInfo, Outcomes, ProfileError, ResultsError, Row, SCHEMA};
use crate::heads::Bootstrap;

/// Maximum size of a results.json, in bytes: 10,000 rows of 2000 runs are 400 MB.
const MAX_BYTES: u64 = 512 << 20;

/// Number of bootstrap resamples of runs.
const RESAMPLES: usize = 1000;

/// The part of a `results.json` that a comparison uses.
#[derive(Clone, Debug, Deserialize)]
pub struct Recorded {
    environment: Machine,
    data: Option<DataInfo>,
    rows: Vec<Row>,
    outcomes: Vec<Outcomes>,
}

#[derive(Clone, Debug, Deserialize)]
struct Machine {
    cpu: String,
    version: String,
    commit: Option<String>,
}

/// Only the layout version: parsed first, so that an unsupported version is reported as such.
#[derive(Deserialize)]
struct Versioned {
    schema: u32,
}

/// Changes for the worse up to these bounds are not regressions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tolerance {
    /// Relative tolerance of the median latency: 0.05 is 5%.
    pub latency: f64,
    /// Absolute tolerance of the accuracy.
    pub accuracy: f64,
}

impl Default for Tolerance {
    fn default() -> Tolerance {
        Tolerance { latency: 0.05, accuracy: 0.01 }
    }
}

/// Change of one row between two profiles.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Label of the row.
    pub label: String,
    /// Median latency before, milliseconds.
    pub before_ms: f64,
    /// Median latency after, milliseconds.
    pub after_ms: f64,
    /// Latency after / latency before.
    pub ratio: f64,
    /// Lower end of the ratio's 95% bootstrap confidence interval, from resampled rounds and runs within them.
    pub ratio_low: f64,
    /// Upper end of that interval.
    pub ratio_high: f64,
    /// Whether both rows' times are VALID.
    pub valid: bool,
    /// Name of the accuracy metric, if both rows have the same one.
    pub metric: Option<String>,
    /// Accuracy after minus accuracy before.
    pub difference: Option<f64>,
    /// Lower end of the difference's 95% confidence interval; `None` unless the images are the same.
    pub difference_low: Option<f64>,
    /// Upper end of that interval.
    pub difference_high: Option<f64>,
    /// Two-sided p-value for the null hypothesis of no difference.
    pub p: Option<f64>,
    /// Whether the row is slower by more than the tolerance: the lower end of the ratio's interval exceeds 1 +
    /// tolerance.
    pub slower: bool,
    /// Whether the accuracy dropped by more than the tolerance, and significantly (paired test at the 5% level; without
    /// the same images, disjoint intervals).
    pub less_accurate: bool,
}

/// Comparison of two profiles, row by row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Version of this record's layout.
    pub schema: u32,
    /// Machine and program of the first profile.
    pub before: String,
    /// Machine and program of the second profile.
    pub after: String,
    /// Whether both machines have the same name.
    pub same_machine: bool,
    /// Whether both profiles used the same list of images.
    pub same_data: bool,
    /// Changes within this tolerance are not regressions.
    pub tolerance: Tolerance,
    /// Rows that both profiles have.
    pub rows: Vec<Change>,
    /// Labels of rows missing from the second profile; each counts as a regression.
    pub gone: Vec<String>,
    /// Labels of rows missing from the first profile.
    pub new: Vec<String>,
    /// Descriptions of the regressions.
    pub regressions: Vec<String>,
}

impl Recorded {
    /// Reads a `results.json`.
    ///
    /// # Errors
    /// [`ProfileError::Results`], which says what is wrong with the file.
    pub fn load(path: &Path) -> Result<Recorded, ProfileError> {
        let read = || {
            let text = super::read_bounded(path, MAX_BYTES)?;
            Recorded::parse(&text)
        };
        read().map_err(|reason| ProfileError::Results { path: path.to_owned(), reason })
    }

    fn parse(text: &str) -> Result<Recorded, ResultsError> {
        let failed = |e: serde_json::Error| ResultsError::Parse(e.to_string());
        let Versioned { schema } = serde_json::from_str(text).map_err(failed)?;
        if schema != SCHEMA {
            return Err(ResultsError::Schema { found: schema, expected: SCHEMA });
        }
        let recorded: Recorded = serde_json::from_str(text).map_err(failed)?;
        let broken = |row: &&Row| row.runs_ms.is_empty() || row.runs_ms.iter().any(|ms| *ms <= 0.0);
        if let Some(row) = recorded.rows.iter().find(broken) {
            return Err(ResultsError::Runs(row.label()));
        }
        match recorded.outcomes.iter().find(|o| !o.is_sound()) {
            Some(o) => Err(ResultsError::Outcomes(o.label())),
            None => Ok(recorded),
        }
    }

    fn title(&self) -> String {
        let Machine { cpu, version, commit } = &self.environment;
        let commit = commit.as_ref().map(|c| format!(" ({c})")).unwrap_or_default();
        format!("{cpu}, microraptor {version}{commit}")
    }

    fn outcomes(&self, row: &Row) -> Option<&Outcomes> {
        self.outcomes.iter().find(|o| o.is_of(row))
    }
}

impl Comparison {
    /// Compares `after` with `before`; rows are matched by label.
    pub fn new(before: &Recorded, after: &Recorded, tolerance: Tolerance) -> Comparison {
        let same_data = match (&before.data, &after.data) {
            (Some(a), Some(b)) => a.sha256 == b.sha256,
            _ => false,
        };
        let find = |rows: &'_ [Row], label: &str| rows.iter().position(|row| row.label() == label);
        let mut rows = Vec::new();
        let mut gone = Vec::new();
        for a in &before.rows {
            match find(&after.rows, &a.label()) {
                Some(place) => {
                    rows.push(change((before, a), (after, &after.rows[place]), same_data, tolerance));
                }
                None => gone.push(a.label()),
            }
        }
        let unknown = |row: &&Row| find(&before.rows, &row.label()).is_none();
        let new = after.rows.iter().filter(unknown).map(Row::label).collect();
        let mut regressions: Vec<String> = rows.iter().flat_map(Change::regressions).collect();
        regressions.extend(gone.iter().map(|label| format!("{label}: is gone")));
        Comparison {
            schema: 1,
            before: before.title(),
            after: after.title(),
            same_machine: before.environment.cpu == after.environment.cpu,
            same_data,
            tolerance,
            rows,
            gone,
            new,
            regressions,
        }
    }
}

impl Change {
    fn regressions(&self) -> Vec<String> {
        let slower = self.slower.then(|| {
            let (low, high) = (self.ratio_low, self.ratio_high);
            format!("{}: {:.2} times as slow [{low:.2}, {high:.2}]", self.label, self.ratio)
        });
        let worse = self.less_accurate.then(|| {
            let metric = self.metric.as_deref().unwrap_or("accuracy");
            format!("{}: {metric} {:+.3}", self.label, self.difference.unwrap_or(0.0))
        });
        slower.into_iter().chain(worse).collect()
    }
}

fn change(
    (before, a): (&Recorded, &Row),
    (after, b): (&Recorded, &Row),
    same_data: bool,
    tolerance: Tolerance,
) -> Change {
    let (low, high) = ratio_interval(a, b);
    let ratio = b.latency.p50_ms / a.latency.p50_ms;
    let accuracies = a.accuracy.as_ref().zip(b.accuracy.as_ref()).filter(|(a, b)| a.metric == b.metric);
    let difference = accuracies.map(|(a, b)| b.value - a.value);
    let paired = accuracies.filter(|_| same_data).and_then(|(accuracy, _)| {
        let (x, y) = (before.outcomes(a)?, after.outcomes(b)?);
        x.compare(y, &accuracy.metric, &Bootstrap::default())
    });
    // Without the same images, a significant drop requires that the two intervals do not overlap.
    let apart = || accuracies.is_some_and(|(a, b)| a.low.zip(b.high).is_some_and(|(a, b)| b < a));
    let sure = match &paired {
        Some(test) => test.p.is_some_and(|p| p < 0.05),
        None => apart(),
    };
    Change {
        label: a.label(),
        before_ms: a.latency.p50_ms,
        after_ms: b.latency.p50_ms,
        ratio,
        ratio_low: low,
        ratio_high: high,
        valid: a.verdict.valid && b.verdict.valid,
        metric: accuracies.map(|(a, _)| a.metric.clone()),
        difference,
        difference_low: paired.as_ref().and_then(|t| t.low),
        difference_high: paired.as_ref().and_then(|t| t.high),
        p: paired.as_ref().and_then(|t| t.p),
        slower: low > 1.0 + tolerance.latency,
        less_accurate: sure && difference.is_some_and(|d| d < -tolerance.accuracy),
    }
}

/// 95% bootstrap confidence interval of the ratio of the medians. Runs within a round are correlated, so rounds are
/// drawn first, then runs within each.
fn ratio_interval(a: &Row, b: &Row) -> (f64, f64) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let (a, b) = (rounds(a), rounds(b));
    let mut ratios: Vec<f64> =
        (0..RESAMPLES).map(|_| median_of_resample(&b, &mut rng) / median_of_resample(&a, &mut rng)).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| super::stats::percentile(&ratios, share);
    (at(0.025), at(0.975))
}

/// The runs of each round. If not all runs were stored, they are split into that many parts of equal size instead.
fn rounds(row: &Row) -> Vec<&[f64]> {
    let runs = row.runs_ms.as_slice();
    let counts: Vec<usize> = row.rounds.iter().map(|round| round.runs).filter(|&n| n > 0).collect();
    if counts.iter().fold(0, |sum: usize, &n| sum.saturating_add(n)) != runs.len() {
        return runs.chunks(runs.len().div_ceil(counts.len().max(1)).max(1)).collect();
    }
    let mut start = 0;
    let cut = |n: &usize| {
        start += n;
        &runs[start - n..start]
    };
    counts.iter().map(cut).collect()
}

fn median_of_resample(rounds: &[&[f64]], rng: &mut ChaCha8Rng) -> f64 {
    let mut drawn = Vec::new();
    for _ in rounds {
        let round = rounds[rng.random_range(0..rounds.len())];
        drawn.extend(round.iter().map(|_| round[rng.random_range(0..round.len())]));
    }
    median(&drawn).expect("checked when it was read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Accuracy, Latency, Round, Verdict};

    fn row(threads: usize, rounds: [f64; 3]) -> Row {
        let runs: Vec<f64> =
            rounds.iter().flat_map(|ms| (0..10).map(move |i| ms * (1.0 + 0.002 * f64::from(i)))).collect();
        Row {
            model: "m".into(),
            backend: "microraptor f32".into(),
            height: 32,
            width: 32,
            threads,
            latency: Latency::from_seconds(runs.iter().map(|ms| ms / 1e3).collect()),
            rounds: rounds.map(|ms| Round { runs: 10, median_ms: ms, ..Round::default() }).into(),
            runs_ms: runs,
            verdict: Verdict { valid: true, reasons: Vec::new() },
            ..Row::default()
        }
    }

    fn recorded(rows: Vec<Row>, scores: &[f64]) -> Recorded {
        let outcomes = Outcomes {
            model: "m".into(),
            sha256: String::new(),
            backend: "microraptor f32".into(),
            height: 32,
            width: 32,
            truth: (0..scores.len()).map(|i| i % 2).collect(),
            values: scores.iter().map(|&s| vec![Some(1.0 - s), Some(s)]).collect(),
        };
        let auc = outcomes.measure("AUC").value(&vec![1; scores.len()]);
        let accuracy = auc.map(|value| Accuracy {
            metric: "AUC".into(),
            value,
            low: Some(value - 0.05),
            high: Some(value + 0.05),
            images: scores.len(),
        });
        let info = DataInfo {
            name: "d".into(),
            sha256: "d".into(),
            images: 40,
            held_out: 40,
            folds: None,
            classes: vec!["a".into(), "b".into()],
        };
        Recorded {
            environment: Machine { cpu: "c".into(), version: "1".into(), commit: None },
            data: Some(info),
            rows: rows.into_iter().map(|row| Row { accuracy: accuracy.clone(), ..row }).collect(),
            outcomes: vec![outcomes],
        }
    }

    fn scores(apart: f64) -> Vec<f64> {
        (0..200).map(|i| ((i * 7919 % 997) as f64 / 997.0 + apart * (i % 2) as f64) / (1.0 + apart)).collect()
    }

    #[test]
    fn only_what_is_worse_past_the_tolerance_and_chance_is_a_regression() {
        let base = recorded(vec![row(1, [20.0, 20.4, 20.2])], &scores(0.8));
        let compare = |b: &Recorded| Comparison::new(&base, b, Tolerance::default());
        let same = compare(&base);
        assert!(same.regressions.is_empty() && same.same_data && same.same_machine, "{same:?}");
        assert_eq!((same.rows[0].ratio, same.rows[0].p), (1.0, Some(1.0)));

        let slow = compare(&recorded(vec![row(1, [24.0, 24.4, 24.2])], &scores(0.8)));
        assert!(slow.rows[0].slower && slow.regressions.len() == 1, "{slow:?}");
        assert!(slow.regressions[0].starts_with("m f32 32 px 1 thread: 1.20 times as slow ["));
        // Slower in the median, but one round of three is as fast as before, so the change is not certain.
        let noisy = compare(&recorded(vec![row(1, [24.0, 20.0, 24.2])], &scores(0.8)));
        assert!(!noisy.rows[0].slower && noisy.rows[0].ratio > 1.1, "{noisy:?}");
        // Significantly slower, but within the tolerance of 5%.
        assert!(!compare(&recorded(vec![row(1, [20.6, 20.9, 20.8])], &scores(0.8))).rows[0].slower);

        let worse = compare(&recorded(vec![row(1, [20.0, 20.4, 20.2])], &scores(0.2)));
        assert!(worse.rows[0].less_accurate && worse.rows[0].p.unwrap() < 0.05, "{worse:?}");
        let gone = compare(&recorded(vec![row(2, [20.0, 20.4, 20.2])], &scores(0.8)));
        assert_eq!((gone.gone.len(), gone.new.len(), gone.regressions.len()), (1, 1, 1));
    }

    #[test]
    fn what_is_no_result_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        for (text, problem) in [
            ("", "EOF"),
            ("{}", "missing field `schema`"),
            (r#"{"schema": 3}"#, "has schema 3"),
            (r#"{"schema": 4, "rows": 1}"#, ""),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Recorded::load(&path).unwrap_err().to_string();
            assert!(
                error.contains("results.json: ") && error.contains(problem) && !error.contains('\n'),
                "{error}"
            );
        }
        assert!(Recorded::load(folder.path()).is_err());
    }
}
