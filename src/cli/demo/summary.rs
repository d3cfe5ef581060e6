//! Text summary of the demonstration.

use microraptor::heads::Evaluation;
use microraptor::profile::{Results, Row};
use microraptor::vit::Size;

use crate::cli::report::shown;

/// Metrics of a head, and the number of images they were measured on.
pub fn scores(judgement: &Evaluation) -> String {
    match judgement {
        Evaluation::Classes(_, report) => format!(
            "accuracy {}, AUC {}, on {} images",
            shown(report.accuracy),
            shown(report.auc),
            report.images
        ),
        Evaluation::Dense(_, report) => {
            let with = report.classes.first();
            let (images, missed, alarms) = with.map_or((0, 0, 0), |c| (c.images, c.missed, c.false_alarms));
            format!(
                "Dice {}, on {images} images with a lesion, of which {missed} were missed; found in {alarms} of {} without one",
                shown(report.dice),
                report.images - images
            )
        }
    }
}

/// Latency of the backbone at `size`, for each number of threads.
pub fn latency(results: &Results, size: Size) -> String {
    let rows: Vec<&Row> = results.rows.iter().filter(|row| row.size() == size).collect();
    let text = |row: &&Row| {
        let threads = if row.threads == 1 { "thread" } else { "threads" };
        let doubt = if row.verdict.valid { "" } else { " (INVALID)" };
        format!("{:.2} ms on {} {threads}{doubt}", row.latency.p50_ms, row.threads)
    };
    let why =
        if rows.iter().all(|row| row.verdict.valid) { "" } else { "; the report says why it is INVALID" };
    format!("median {}{why}", rows.iter().map(text).collect::<Vec<_>>().join(", "))
}

/// Accuracy at each size, one line per size.
pub fn resolution(results: &Results) -> Vec<String> {
    let mut rows: Vec<&Row> = results.rows.iter().collect();
    // The number of threads does not change accuracy.
    rows.dedup_by_key(|row| row.size());
    let text = |row: &Row| {
        let a = row.accuracy.as_ref()?;
        let interval = a.low.zip(a.high).map(|(low, high)| format!(" [{low:.3}, {high:.3}]"));
        Some(format!("{} px: {} {:.3}{}", row.size(), a.metric, a.value, interval.unwrap_or_default()))
    };
    rows.into_iter().filter_map(text).collect()
}
