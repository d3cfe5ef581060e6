//! Results as files: JSON and CSV.

use std::io::{self, Write};
use std::path::Path;

use super::{Results, Row};
use crate::output::{OutputError, check_folder, write_atomically};

/// Writes `results.json` and `results.csv` into `folder`, which is made if need be.
///
/// # Errors
/// [`OutputError`] names the path.
pub fn save(results: &Results, folder: &Path) -> Result<(), OutputError> {
    check_folder(folder)?;
    write_atomically(&folder.join("results.json"), |file| {
        serde_json::to_writer_pretty(&mut *file, results)?;
        file.write_all(b"\n")
    })?;
    write_atomically(&folder.join("results.csv"), |file| write_csv(&results.rows, file))
}

fn write_csv(rows: &[Row], file: &mut impl Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record([
        "model",
        "backend",
        "untrained",
        "height",
        "width",
        "threads",
        "macs",
        "runs",
        "min_ms",
        "median_ms",
        "p90_ms",
        "p99_ms",
        "max_ms",
        "mean_ms",
        "metric",
        "value",
        "low",
        "high",
        "images",
    ])?;
    for row in rows {
        let (l, a) = (&row.latency, row.accuracy.as_ref());
        let number = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
        csv.write_record([
            row.model.clone(),
            row.backend.to_owned(),
            row.untrained.to_string(),
            row.height.to_string(),
            row.width.to_string(),
            row.threads.to_string(),
            row.macs.map(|m| m.to_string()).unwrap_or_default(),
            l.runs.to_string(),
            l.min_ms.to_string(),
            l.median_ms.to_string(),
            l.p90_ms.to_string(),
            l.p99_ms.to_string(),
            l.max_ms.to_string(),
            l.mean_ms.to_string(),
            a.map(|a| a.metric.to_owned()).unwrap_or_default(),
            number(a.map(|a| a.value)),
            number(a.and_then(|a| a.low)),
            number(a.and_then(|a| a.high)),
            a.map(|a| a.images.to_string()).unwrap_or_default(),
        ])?;
    }
    csv.flush()
}
