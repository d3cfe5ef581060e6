//! The table of all rows.

use super::super::text::{self, NOTHING, maybe};
use super::super::view::View;
use super::{Cell, Mood, Table};
use crate::profile::{Row, distinct};

/// Names of the columns between the accuracy and the meters.
const NUMBERS: [&str; 13] = [
    "median ms [95%]",
    "min",
    "p90",
    "p95",
    "p99",
    "p99.9",
    "max",
    "mean",
    "std",
    "runs",
    "GMAC",
    "GMAC/s",
    "of peak",
];

/// The table.
pub fn table(view: &View) -> Table {
    let meters = distinct(view.rows().iter().flat_map(|row| &row.energy).map(|use_| use_.meter.as_str()));
    let mut head: Vec<String> = ["#", "verdict", "model", "runs on", "size", "threads", "cores"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    let left = head.len();
    let columns = Columns {
        metric: view.metric,
        cold: view.rows().iter().any(|row| row.cold.is_some()),
        meters,
        chosen: view.results.decision.as_ref().and_then(|decision| decision.row),
    };
    head.extend(columns.metric.map(|metric| format!("{metric} [95%]")));
    head.extend(NUMBERS.map(str::to_owned));
    head.extend(columns.meters.iter().map(|meter| format!("J/frame, {meter}")));
    if columns.cold {
        head.extend(["cold start ms", "peak MiB"].map(str::to_owned));
    }
    head.push("reasons".to_owned());
    let rows = view.rows().iter().enumerate().map(|(i, row)| columns.cells(view, i, row)).collect();
    let caption = "Latency is one image through the backbone, pixels to features, in milliseconds; of a peer it \
                   includes decoding and resizing. Percentiles are runs that happened (nearest rank). The interval of \
                   the median is that of order statistics."
        .to_owned();
    Table { title: "All rows", caption, head, left, text_last: true, rows, folded: false }
}

struct Columns<'a> {
    metric: Option<&'a str>,
    meters: Vec<&'a str>,
    cold: bool,
    chosen: Option<usize>,
}

impl Columns<'_> {
    fn cells(&self, view: &View, place: usize, row: &Row) -> Vec<Cell> {
        let untrained = if row.untrained { " UNTRAINED" } else { "" };
        let mut cells: Vec<Cell> = [
            (place + 1).to_string(),
            format!("{}{untrained}", row.model),
            row.runs_on(),
            row.size().to_string(),
            row.threads.to_string(),
            if row.cores.is_empty() { "any".to_owned() } else { row.cores.to_string() },
        ]
        .map(Cell::from)
        .to_vec();
        if self.metric.is_some() {
            cells.push(accuracy(view, row).into());
        }
        cells.extend(numbers(row).map(Cell::from));
        for meter in &self.meters {
            let found = row.energy.iter().find(|use_| use_.meter == *meter);
            cells.push(maybe(found.map(|use_| use_.joules_per_frame), text::short).into());
        }
        if self.cold {
            let cold = row.cold.as_ref();
            cells.push(maybe(cold.map(|cold| cold.process_ms), text::ms).into());
            cells.push(maybe(cold.and_then(|cold| cold.peak_kib), text::mib).into());
        }
        // The verdict comes right after the row's number: next to the numbers it concerns, it would be out of view.
        cells.insert(1, verdict(row, self.chosen == Some(place)));
        cells.push(row.verdict.reasons.join("; ").into());
        cells
    }
}

fn accuracy(view: &View, row: &Row) -> String {
    let Some(a) = &row.accuracy else { return NOTHING.to_owned() };
    let value = text::interval(a.value, a.low, a.high, text::accuracy);
    // A metric other than the column's is named in the cell.
    if view.metric == Some(a.metric.as_str()) { value } else { format!("{} {value}", a.metric) }
}

fn numbers(row: &Row) -> [String; NUMBERS.len()] {
    let l = &row.latency;
    [
        text::interval(l.p50_ms, l.p50_low_ms, l.p50_high_ms, text::ms),
        text::ms(l.min_ms),
        text::ms(l.p90_ms),
        text::ms(l.p95_ms),
        text::ms(l.p99_ms),
        text::ms(l.p999_ms),
        text::ms(l.max_ms),
        text::ms(l.mean_ms),
        text::ms(l.std_ms),
        l.runs.to_string(),
        maybe(row.macs, |macs| text::fixed(macs as f64 / 1e9, 2)),
        maybe(row.gmacs, text::short),
        maybe(row.of_peak, text::percent),
    ]
}

fn verdict(row: &Row, chosen: bool) -> Cell {
    let (word, mood) = if row.verdict.valid { ("VALID", Mood::Good) } else { ("INVALID", Mood::Bad) };
    Cell { text: format!("{word}{}", if chosen { ", chosen" } else { "" }), mood }
}
