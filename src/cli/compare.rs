//! `microraptor compare`

use std::io::{self, Write};
use std::path::Path;

use anyhow::bail;
use microraptor::profile::{Change, Comparison, Recorded, Tolerance};

use super::args::CompareArgs;
use super::limits;
use super::table::{render, table};
use super::terminal;

/// Prints what changed between two profiles; true if nothing became worse by more than the tolerance.
pub fn run(args: &CompareArgs) -> anyhow::Result<bool> {
    if !(args.accuracy_tolerance >= 0.0 && args.accuracy_tolerance.is_finite()) {
        bail!("--accuracy-tolerance {}: give 0 or more", args.accuracy_tolerance);
    }
    let load = |path: &Path| {
        let _watched = limits::Watched::new(path.display().to_string());
        Recorded::load(path)
    };
    let (before, after) = (load(&args.before)?, load(&args.after)?);
    let tolerance = Tolerance { latency: args.tolerance.0, accuracy: args.accuracy_tolerance };
    let comparison = Comparison::new(&before, &after, tolerance);
    let mut out = terminal::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&comparison)?)?;
    } else {
        print(&comparison, &mut out)?;
    }
    Ok(comparison.regressions.is_empty())
}

fn print(comparison: &Comparison, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "before  {}\nafter   {}\n", comparison.before, comparison.after)?;
    let metric = comparison.rows.iter().find_map(|row| row.metric.clone());
    let mut header = vec!["configuration", "before ms", "after ms", "ratio [95%]", ""];
    header.extend(metric.as_deref());
    header.extend(metric.as_ref().map(|_| "p"));
    let mut table = table(&header, 1);
    for row in &comparison.rows {
        table.add_row(cells(row, metric.is_some()));
    }
    writeln!(out, "{}\n", render(&table))?;
    for label in &comparison.gone {
        writeln!(out, "gone: {label}")?;
    }
    for label in &comparison.new {
        writeln!(out, "new: {label}")?;
    }
    if !comparison.same_machine {
        writeln!(out, "note: the machines have different names: the ratios say little about the program")?;
    }
    if metric.is_some() && !comparison.same_data {
        writeln!(out, "note: the lists of images differ: accuracies are compared by their intervals alone")?;
    }
    if comparison.rows.iter().any(|row| !row.valid) {
        writeln!(out, "note: * marks rows that one of the profiles calls INVALID")?;
    }
    let Tolerance { latency, accuracy } = comparison.tolerance;
    match comparison.regressions.as_slice() {
        [] => writeln!(
            out,
            "no regression: nothing is slower by more than {:.0}%, or less accurate by more than {accuracy}, for certain",
            100.0 * latency
        ),
        all => all.iter().try_for_each(|text| writeln!(out, "regression: {text}")),
    }
}

fn cells(row: &Change, with_accuracy: bool) -> Vec<String> {
    let faster = row.ratio_high < 1.0;
    let word = match (row.slower, faster, row.ratio_low > 1.0) {
        (true, ..) => "SLOWER",
        (_, true, _) => "faster",
        (.., true) => "slower, within tolerance",
        _ => "",
    };
    let doubt = if row.valid { "" } else { " *" };
    let mut cells = vec![
        format!("{}{doubt}", row.label),
        format!("{:.2}", row.before_ms),
        format!("{:.2}", row.after_ms),
        format!("{:.3} [{:.3}, {:.3}]", row.ratio, row.ratio_low, row.ratio_high),
        word.to_owned(),
    ];
    if with_accuracy {
        let change = match (row.difference, row.difference_low.zip(row.difference_high)) {
            (Some(d), Some((low, high))) => format!("{d:+.3} [{low:+.3}, {high:+.3}]"),
            (Some(d), None) => format!("{d:+.3}"),
            (None, _) => "-".to_owned(),
        };
        let worse = if row.less_accurate { " WORSE" } else { "" };
        cells.push(format!("{change}{worse}"));
        cells.push(row.p.map_or("-".to_owned(), |p| format!("{p:.3}")));
    }
    cells
}
