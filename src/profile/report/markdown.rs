//! The report as Markdown, for a README or the supplement of a paper.

use std::fmt::Write;

use super::html::beside;
use super::plots::Figure;
use super::summary::summary;
use super::tables::{self, Table};
use super::text::{date, markdown};
use super::view::View;

/// The Markdown document. Plots are linked as SVG files in the same folder.
pub fn document(view: &View, figures: &[Figure]) -> String {
    let e = &view.results.environment;
    let mut out = String::new();
    let _ = writeln!(out, "# Latency and accuracy on {}\n", markdown(&e.cpu));
    let _ = writeln!(out, "{}, microraptor {}\n", date(e.unix_time), markdown(e.version));
    let summary = summary(view);
    summary.warnings.iter().for_each(|warning| {
        let _ = writeln!(out, "> **Note:** {}\n", markdown(warning));
    });
    summary.sentences.iter().for_each(|sentence| {
        let _ = writeln!(out, "- **{}:** {}", markdown(&sentence.about), markdown(&sentence.text));
    });
    for figure in figures {
        let _ = writeln!(out, "\n## {}\n\n{}\n", figure.title, markdown(&figure.caption));
        for plot in &figure.plots {
            let _ = writeln!(out, "![{}]({}.svg)\n", markdown(&plot.title), plot.name);
        }
        figure.list.iter().enumerate().for_each(|(i, line)| {
            let _ = writeln!(out, "{}. {}", i + 1, markdown(line));
        });
    }
    let all = [vec![tables::rows(view)], tables::measured(view), tables::environment(view)];
    all.iter().flatten().for_each(|table| write_table(table, &mut out));
    let _ = writeln!(out, "\n{}", markdown(&beside(figures.iter().map(|figure| figure.plots.len()).sum())));
    out
}

fn write_table(table: &Table, out: &mut String) {
    let _ = writeln!(out, "\n## {}\n", table.title);
    if !table.caption.is_empty() {
        let _ = writeln!(out, "{}\n", markdown(&table.caption));
    }
    let line =
        |cells: &mut dyn Iterator<Item = String>| format!("| {} |", cells.collect::<Vec<_>>().join(" | "));
    let _ = writeln!(out, "{}", line(&mut table.head.iter().map(|name| markdown(name))));
    let rule = |column: usize| if table.is_left(column) { "---" } else { "---:" }.to_owned();
    let _ = writeln!(out, "{}", line(&mut (0..table.head.len()).map(rule)));
    for row in &table.rows {
        let _ = writeln!(out, "{}", line(&mut row.iter().map(|cell| markdown(&cell.text))));
    }
}
