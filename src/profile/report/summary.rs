//! Summary at the top of a report, computed from the rows.

use super::super::{Row, stats};
use super::text;
use super::view::View;

/// The main results, and warnings about their validity.
pub struct Summary {
    /// Main results, one sentence each.
    pub sentences: Vec<Sentence>,
    /// Warnings: untrained weights, INVALID rows, no accuracy.
    pub warnings: Vec<String>,
}

/// A sentence with its topic in front.
pub struct Sentence {
    /// Topic, such as `Fastest`.
    pub about: String,
    /// Rest of the sentence.
    pub text: String,
}

/// Builds the summary.
pub fn summary(view: &View) -> Summary {
    let found = [best(view), fastest(view), int8(view), decision(view)];
    let warnings = [nothing(view), invalid(view), untrained(view), latency_only(view), no_accuracy(view)];
    Summary {
        sentences: found.into_iter().flatten().collect(),
        warnings: warnings.into_iter().flatten().collect(),
    }
}

/// The VALID rows, or all rows if none is VALID.
fn believed<'a>(view: &View<'a>) -> Vec<&'a Row> {
    let valid: Vec<&Row> = view.rows().iter().filter(|row| row.verdict.valid).collect();
    if valid.is_empty() { view.rows().iter().collect() } else { valid }
}

fn of_valid(view: &View) -> &'static str {
    let all = view.rows().iter().all(|row| row.verdict.valid);
    let none = !view.rows().iter().any(|row| row.verdict.valid);
    if all || none { "" } else { " of the VALID rows" }
}

fn best(view: &View) -> Option<Sentence> {
    let metric = view.metric?;
    let rows = believed(view);
    let with = rows.iter().filter_map(|row| view.accuracy(row).map(|a| (row, a)));
    // Ties go to the fastest row.
    let (row, a) = with.max_by(|(r, a), (s, b)| {
        a.value.total_cmp(&b.value).then(s.latency.p50_ms.total_cmp(&r.latency.p50_ms))
    })?;
    let text = format!(
        "{}, with {metric} {} at a median of {} ms.",
        row.label(),
        text::interval(a.value, a.low, a.high, text::accuracy),
        text::ms(row.latency.p50_ms)
    );
    Some(Sentence { about: format!("Most accurate{}", of_valid(view)), text })
}

fn fastest(view: &View) -> Option<Sentence> {
    let rows = believed(view);
    let row = rows.iter().min_by(|a, b| a.latency.p50_ms.total_cmp(&b.latency.p50_ms))?;
    let accuracy = view
        .accuracy(row)
        .map(|a| format!(", with {} {}", a.metric, text::interval(a.value, a.low, a.high, text::accuracy)));
    let text = format!(
        "{}, at a median of {} ms (90% of its runs within {} ms){}.",
        row.label(),
        text::ms(row.latency.p50_ms),
        text::ms(row.latency.p90_ms),
        accuracy.unwrap_or_default()
    );
    Some(Sentence { about: format!("Fastest{}", of_valid(view)), text })
}

/// Speed-up and accuracy difference of int8 against f32, over pairs of rows that are otherwise identical.
fn int8(view: &View) -> Option<Sentence> {
    let rows = believed(view);
    let of = |precision: &str| {
        let precision = precision.to_owned();
        let ours = move |row: &&&Row| row.precision.as_ref() == Some(&precision) && row.isa.is_some();
        rows.iter().filter(ours).copied().collect::<Vec<&Row>>()
    };
    let (small, wide) = (of("int8"), of("f32"));
    let alike = |a: &Row, b: &Row| {
        a.model == b.model && a.size() == b.size() && a.threads == b.threads && a.isa == b.isa
    };
    let pairs: Vec<(&Row, &Row)> =
        small.iter().filter_map(|a| Some((*a, *wide.iter().find(|b| alike(a, b))?))).collect();
    let speed = |(a, b): &(&Row, &Row)| b.latency.p50_ms / a.latency.p50_ms;
    let speeds: Vec<f64> = pairs.iter().map(speed).filter(|s| s.is_finite()).collect();
    let times = stats::median(&speeds)?;
    let (low, high) =
        (speeds.iter().copied().fold(times, f64::min), speeds.iter().copied().fold(times, f64::max));
    let range = match speeds.len() {
        1 => String::new(),
        _ => format!(" ({} to {})", text::fixed(low, 2), text::fixed(high, 2)),
    };
    let gain = format!("int8 is {} times as fast{range}", text::fixed(times, 2));
    let differences: Vec<f64> =
        pairs.iter().filter_map(|(a, b)| Some(view.accuracy(a)?.value - view.accuracy(b)?.value)).collect();
    let cost = accuracy_cost(view, &differences);
    let text = format!("over {} of rows alike in all else, {gain}{cost}.", text::count(pairs.len(), "pair"));
    Some(Sentence { about: "int8 against f32".to_owned(), text })
}

fn accuracy_cost(view: &View, differences: &[f64]) -> String {
    let Some(metric) = view.metric.filter(|_| !differences.is_empty()) else { return String::new() };
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    let worst = differences.iter().copied().fold(f64::INFINITY, f64::min);
    let tail = match differences.len() {
        1 => String::new(),
        _ => format!(" on average ({} at worst)", text::signed(worst)),
    };
    format!("; its {metric} differs by {}{tail}", text::signed(mean))
}

fn decision(view: &View) -> Option<Sentence> {
    let decision = view.results.decision.as_ref()?;
    let limits = match decision.limits.as_slice() {
        [] => String::new(),
        limits => format!(" (limits: {})", text::list(limits)),
    };
    Some(Sentence { about: format!("Chosen{limits}"), text: format!("{}.", decision.reason) })
}

fn nothing(view: &View) -> Option<String> {
    view.rows().is_empty().then(|| "Nothing was measured: there is no row.".to_owned())
}

fn invalid(view: &View) -> Option<String> {
    let (rows, invalid) = (view.rows().len(), view.rows().iter().filter(|row| !row.verdict.valid).count());
    if invalid == 0 {
        return None;
    }
    let which = match (invalid, rows) {
        (1, 1) => "The only row is INVALID".to_owned(),
        (_, rows) if invalid == rows => format!("All {rows} rows are INVALID"),
        (1, rows) => format!("1 of {rows} rows is INVALID"),
        (_, rows) => format!("{invalid} of {rows} rows are INVALID"),
    };
    Some(format!("{which}: the times cannot be relied on; the table says why."))
}

fn untrained(view: &View) -> Option<String> {
    let models = seeded(view, true)?;
    Some(format!(
        "UNTRAINED: the weights of {models} come from a seed. The latency is real; the accuracy says what random features \
         can do, not what the architecture can."
    ))
}

fn latency_only(view: &View) -> Option<String> {
    let models = seeded(view, false)?;
    Some(format!(
        "UNTRAINED, latency only: the weights of {models} come from a seed. The latency is real; no accuracy was measured."
    ))
}

/// Names of the models whose weights come from a seed: if `judged`, those with an accuracy, otherwise those without
/// one.
fn seeded(view: &View, judged: bool) -> Option<String> {
    let models = view.results.untrained(judged);
    (!models.is_empty()).then(|| text::list(&models))
}

fn no_accuracy(view: &View) -> Option<String> {
    (view.metric.is_none() && !view.rows().is_empty())
        .then(|| "No accuracy was measured: there was no labelled data.".to_owned())
}
