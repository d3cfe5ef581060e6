//! Results as files: JSON and CSV.

use std::io::{self, Write};
use std::path::Path;

use super::{Results, Row};
use crate::output::{OutputError, check_writable, write_atomically};

/// Names of the files.
const JSON: &str = "results.json";
const CSV: &str = "results.csv";

/// Finds out whether [`save`] could write into `folder`, before the minutes whose result is to go there. Makes nothing.
///
/// # Errors
/// [`OutputError`] names the path.
pub fn check_folder(folder: &Path) -> Result<(), OutputError> {
    if folder.is_dir() {
        return [JSON, CSV].iter().try_for_each(|name| check_writable(&folder.join(name)));
    }
    // The folder will be made in the nearest one that is there.
    let above = folder.ancestors().skip(1).find(|path| path.as_os_str().is_empty() || path.exists());
    match (folder.exists(), above) {
        (false, Some(above)) => check_writable(&above.join(folder.file_name().unwrap_or_default())),
        _ => check_writable(&folder.join(JSON)),
    }
}

/// Writes `results.json` and `results.csv` into `folder`, which is made if need be.
///
/// # Errors
/// [`OutputError`] names the path.
pub fn save(results: &Results, folder: &Path) -> Result<(), OutputError> {
    std::fs::create_dir_all(folder).map_err(|source| OutputError::new(folder, source))?;
    write_atomically(&folder.join(JSON), |file| {
        serde_json::to_writer_pretty(&mut *file, results)?;
        file.write_all(b"\n")
    })?;
    write_atomically(&folder.join(CSV), |file| write_csv(&results.rows, file))
}

fn write_csv(rows: &[Row], file: &mut impl Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record([
        "model",
        "backend",
        "isa",
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
            row.isa.unwrap_or_default().to_owned(),
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
