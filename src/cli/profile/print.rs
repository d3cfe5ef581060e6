//! Prints a profile on the terminal.

use std::io::{self, Write};

use microraptor::profile::{Results, Row};

use crate::cli::models::giga;
use crate::cli::table::{render, table};

/// Prints the table and the notes on it.
pub fn print(results: &Results, out: &mut impl Write) -> io::Result<()> {
    let e = &results.environment;
    writeln!(out, "{}, {} cores, {} {}, microraptor {}\n", e.cpu, e.cores, e.os, e.arch, e.version)?;
    let metric = results.rows.iter().find_map(|r| r.accuracy.as_ref()).map(|a| a.metric.clone());
    let accuracy = metric.as_ref().map(|m| format!("{m} [95%]"));
    let joules = results.rows.iter().any(|row| !row.energy.is_empty());
    let mut header = vec![
        "model", "runs on", "size", "threads", "GMAC", "GMAC/s", "peak", "min ms", "median", "p90", "p99",
        "runs",
    ];
    header.extend(joules.then_some("J/frame"));
    header.extend(accuracy.as_deref());
    header.push("");
    let mut table = table(&header, 2);
    for row in &results.rows {
        table.add_row(cells(row, joules, metric.is_some()));
    }
    writeln!(out, "{}\n", render(&table))?;
    scenarios(results, out)?;
    invalid(results, out)?;
    writeln!(
        out,
        "Latency is one image through the backbone, pixels to features; decoding and resizing are not in it."
    )?;
    if let Some(data) = &results.data {
        let how = match data.folds {
            Some(folds) => format!("by cross-validation in {folds} parts of"),
            None => "on".to_owned(),
        };
        let (head, images) = (&results.protocol.head, data.held_out);
        writeln!(
            out,
            "Accuracy is that of a {head} head trained at each size, {how} {images} held-out images of {}, with a bootstrap interval.",
            data.name
        )?;
    }
    significant(results, out)?;
    untrained(results, out)?;
    if let Some(decision) = &results.decision {
        writeln!(out, "\nfor {}: {}", decision.limits.join(" and "), decision.reason)?;
    }
    Ok(())
}

/// Notes which numbers are meaningful for models with random weights.
fn untrained(results: &Results, out: &mut impl Write) -> io::Result<()> {
    let names = |judged| results.untrained(judged).into_iter().map(plain).collect::<Vec<_>>().join(" and ");
    let (judged, timed) = (names(true), names(false));
    if !timed.is_empty() {
        writeln!(
            out,
            "UNTRAINED, latency only: the weights of {timed} come from a seed. The latency is real; give a\n\
             checkpoint for the accuracy (`microraptor models` says where they are)."
        )?;
    }
    if !judged.is_empty() {
        writeln!(
            out,
            "UNTRAINED: the weights of {judged} come from a seed. The latency is real; the accuracy says what random\n\
             features can do, not what DINOv3 can. Give a checkpoint for that (`microraptor models` says where they are)."
        )?;
    }
    Ok(())
}

/// The model's name without the suffix ` (untrained)`.
fn plain(model: &str) -> &str {
    model.trim_end_matches(" (untrained)")
}

fn ms(v: f64) -> String {
    if v < 100.0 { format!("{v:.2}") } else { format!("{v:.1}") }
}

fn cells(row: &Row, joules: bool, with_accuracy: bool) -> Vec<String> {
    let l = &row.latency;
    let mut cells = vec![
        if row.untrained { format!("{} (untrained)", plain(&row.model)) } else { row.model.clone() },
        row.runs_on(),
        row.size().to_string(),
        row.threads.to_string(),
        row.macs.map_or("-".into(), giga),
        row.gmacs.map_or("-".into(), |gmacs| format!("{gmacs:.0}")),
        row.of_peak.map_or("-".into(), |share| format!("{:.0}%", 100.0 * share)),
        ms(l.min_ms),
        ms(l.p50_ms),
        ms(l.p90_ms),
        ms(l.p99_ms),
        l.runs.to_string(),
    ];
    if joules {
        cells.push(row.energy.first().map_or("-".into(), |e| format!("{:.3}", e.joules_per_frame)));
    }
    if with_accuracy {
        cells.push(match &row.accuracy {
            Some(a) => match (a.low, a.high) {
                (Some(low), Some(high)) => format!("{:.3} [{low:.3}, {high:.3}]", a.value),
                _ => format!("{:.3}", a.value),
            },
            None if row.untrained => "latency only".into(),
            None => "-".into(),
        });
    }
    cells.push(if row.verdict.valid { "" } else { "INVALID" }.to_owned());
    cells
}

fn scenarios(results: &Results, out: &mut impl Write) -> io::Result<()> {
    let all: Vec<_> =
        results.rows.iter().flat_map(|row| row.scenarios.iter().map(move |s| (row, s))).collect();
    if all.is_empty() {
        return Ok(());
    }
    let mut table = table(
        &["configuration", "scenario", "images/s", "median ms", "p99", "queries", "dropped", "late"],
        2,
    );
    let count = |n: Option<usize>| n.map_or("-".to_owned(), |n| n.to_string());
    for (row, s) in all {
        let name = match (s.fps, s.images) {
            (Some(fps), _) => format!("{} {fps} fps", s.name),
            (None, images) => format!("{} of {images}", s.name),
        };
        table.add_row([
            row.label(),
            name,
            format!("{:.1}", s.images_per_second),
            ms(s.latency.p50_ms),
            ms(s.latency.p99_ms),
            s.latency.runs.to_string(),
            count(s.dropped),
            count(s.missed),
        ]);
    }
    writeln!(out, "{}\n", render(&table))
}

/// Lists the first INVALID rows with their reasons, and the number of the others.
fn invalid(results: &Results, out: &mut impl Write) -> io::Result<()> {
    let bad: Vec<&Row> = results.rows.iter().filter(|row| !row.verdict.valid).collect();
    if bad.is_empty() {
        return Ok(());
    }
    writeln!(out, "INVALID: {} of {} rows' times cannot be relied on:", bad.len(), results.rows.len())?;
    for row in bad.iter().take(SHOWN) {
        writeln!(out, "  {}: {}", row.label(), row.verdict.reasons.join("; "))?;
    }
    if bad.len() > SHOWN {
        writeln!(out, "  and {} more", bad.len() - SHOWN)?;
    }
    writeln!(out)
}

/// Maximum number of rows, or of tests, that are listed.
const SHOWN: usize = 6;

/// Lists the significant differences.
fn significant(results: &Results, out: &mut impl Write) -> io::Result<()> {
    let found: Vec<_> = results.tests.iter().filter(|t| t.p.is_some_and(|p| p < 0.05)).collect();
    if results.tests.is_empty() {
        return Ok(());
    }
    if found.is_empty() {
        return writeln!(
            out,
            "Of {} paired tests between configurations none finds a difference (p < 0.05).",
            results.tests.len()
        );
    }
    writeln!(
        out,
        "Of {} paired tests between configurations {} a difference (p < 0.05; not corrected for their number):",
        results.tests.len(),
        if found.len() == 1 { "one finds".to_owned() } else { format!("{} find", found.len()) }
    )?;
    for t in found.iter().take(SHOWN) {
        let p = t.p.unwrap_or(1.0);
        writeln!(out, "  {} less {}: {} {:+.3}, p {p:.3} ({})", t.b, t.a, t.metric, t.difference, t.test)?;
    }
    Ok(())
}
