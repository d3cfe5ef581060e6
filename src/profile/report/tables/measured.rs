//! Tables of scenarios, tests, operators, stages, energy and cold starts.

use super::super::text::{self, NOTHING, maybe};
use super::super::view::View;
use super::{Cell, Mood, Table};
use crate::profile::{PairedTest, Row, Scenario};

/// MultiStream, Offline and Camera.
pub fn scenarios(view: &View) -> Table {
    let head = [
        "row",
        "scenario",
        "images a query",
        "median ms",
        "p90",
        "p99",
        "max",
        "queries",
        "images/s",
        "camera fps",
        "dropped",
        "missed",
        "deadline ms",
    ];
    let mut table = Table::new("Scenarios", &head, 2);
    table.caption = "Named as in MLPerf Inference (arXiv 1911.02549). MultiStream and Offline: latency of a query of \
                     several images. Camera: from a frame's exposure to its features; dropped frames were not looked at \
                     since a newer one had come, missed ones were late."
        .to_owned();
    let each = view.rows().iter().flat_map(|row| row.scenarios.iter().map(move |scenario| (row, scenario)));
    each.for_each(|(row, scenario)| table.push(scenario_cells(row, scenario)));
    table
}

fn scenario_cells(row: &Row, s: &Scenario) -> Vec<String> {
    let l = &s.latency;
    vec![
        row.label(),
        s.name.clone(),
        s.images.to_string(),
        text::ms(l.p50_ms),
        text::ms(l.p90_ms),
        text::ms(l.p99_ms),
        text::ms(l.max_ms),
        l.runs.to_string(),
        text::short(s.images_per_second),
        maybe(s.fps, text::short),
        maybe(s.dropped, |n| n.to_string()),
        maybe(s.missed, |n| n.to_string()),
        maybe(s.deadline_ms, text::short),
    ]
}

/// Paired accuracy tests.
pub fn tests(view: &View) -> Table {
    let head = ["reference", "compared", "number", "difference [95%]", "p", "test"];
    let mut table = Table::new("Accuracies compared", &head, 3);
    table.text_last = true;
    table.caption =
        "Both configurations on the same images. Difference: that of the compared one less that of the \
                     reference. p: two-sided, of no difference; not corrected for the number of tests."
            .to_owned();
    view.results.tests.iter().for_each(|test| table.push(test_cells(test)));
    table
}

fn test_cells(test: &PairedTest) -> Vec<String> {
    vec![
        test.a.clone(),
        test.b.clone(),
        test.metric.clone(),
        text::interval(test.difference, test.low, test.high, text::signed),
        maybe(test.p, text::p_value),
        test.test.clone(),
    ]
}

/// Times and rates of operators.
pub fn operators(view: &View) -> Table {
    let head = ["row", "operator", "numbers", "ms", "share", "GMAC/s", "of peak"];
    let mut table = Table::new("Operators", &head, 3);
    table.folded = true;
    table.caption =
        "Milliseconds of the fastest of some runs with timed operators, of all threads together divided by their \
                     number. Of peak: against what registers alone allow on this machine, which is in the protocol below."
            .to_owned();
    for row in view.rows() {
        for op in &row.operators {
            table.push([
                row.label(),
                op.name.clone(),
                op.numbers.clone().unwrap_or_else(|| NOTHING.to_owned()),
                text::ms(op.ms),
                text::percent(op.share),
                maybe(op.gmacs, text::short),
                maybe(op.of_peak, text::percent),
            ]);
        }
    }
    table
}

/// Stages from a file to a prediction.
pub fn stages(view: &View) -> Table {
    let head = ["row", "decode ms", "resize", "patch embedding", "blocks", "head", "total", "images"];
    let mut table = Table::new("Stages", &head, 1);
    table.folded = true;
    for row in view.rows() {
        let Some(s) = &row.stages else { continue };
        table.push([
            row.label(),
            text::ms(s.decode_ms),
            text::ms(s.resize_ms),
            text::ms(s.embed_ms),
            text::ms(s.blocks_ms),
            maybe(s.head_ms, text::ms),
            text::ms(s.total_ms),
            s.images.to_string(),
        ]);
    }
    table
}

/// Energy per meter.
pub fn energy(view: &View) -> Table {
    let mut table = Table::new("Energy", &["row", "meter", "feeds", "joules a frame", "mean watts"], 3);
    table.caption =
        "All that the meter counted during the runs, by the number of runs: what the machine takes when it \
                     is idle is in it."
            .to_owned();
    for row in view.rows() {
        for use_ in &row.energy {
            table.push([
                row.label(),
                use_.meter.clone(),
                use_.feeds.clone().unwrap_or_else(|| NOTHING.to_owned()),
                text::short(use_.joules_per_frame),
                text::short(use_.watts),
            ]);
        }
    }
    table
}

/// Cold starts.
pub fn cold(view: &View) -> Table {
    let head = ["row", "load ms", "first image ms", "process ms", "resident MiB", "peak MiB"];
    let mut table = Table::new("Cold start", &head, 1);
    table.caption =
        "A new process: reading and packing the model; the first image (plan, memory, run); from its start \
                     to its end."
            .to_owned();
    for row in view.rows() {
        let Some(cold) = &row.cold else { continue };
        table.push([
            row.label(),
            text::ms(cold.load_ms),
            text::ms(cold.first_ms),
            text::ms(cold.process_ms),
            maybe(cold.resident_kib, text::mib),
            maybe(cold.peak_kib, text::mib),
        ]);
    }
    table
}

/// A cell with the reasons for throttling, or `no`.
pub fn throttled(reasons: &[String]) -> Cell {
    match reasons {
        [] => Cell::from("no"),
        reasons => Cell { text: reasons.join(", "), mood: Mood::Bad },
    }
}
