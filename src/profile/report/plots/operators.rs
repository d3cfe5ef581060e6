//! Time per operator inside the backbone.

use super::super::chart::SERIES;
use super::super::text;
use super::super::view::View;
use super::bars::{Bar, Bars, divide};
use super::{Figure, Plot};
use crate::profile::{Row, distinct};

/// The figure; `None` if no operators were timed.
pub fn figure<'a>(view: &'a View<'a>) -> Option<Figure<'a>> {
    let names = biggest(view);
    if names.is_empty() {
        return None;
    }
    let mut parts = divide(view, |row| !row.operators.is_empty());
    let several = parts.len() > 1;
    let plots = parts.drain(..).enumerate().map(|(i, (model, rows))| {
        let name = if several { format!("operators-{}", i + 1) } else { "operators".to_owned() };
        let of = if model.is_empty() { String::new() } else { format!(", {model}") };
        let bars = bars(view, &names, &rows, !model.is_empty());
        Plot::new(name, format!("Share of a run by operator{of}"), move |scene, heading| {
            bars.draw(scene, heading)
        })
    });
    Some(Figure {
        title: "Operators",
        caption: "Share of a run that each operator takes; the smallest are one part. Their rates are in the table of \
                  operators below."
            .to_owned(),
        plots: plots.collect(),
        panels: false,
        list: Vec::new(),
    })
}

/// Names of the operators that take the most time, largest first. If there are more operators than colours, one colour
/// is left for all others.
fn biggest(view: &View) -> Vec<String> {
    let all = || view.rows().iter().flat_map(|row| &row.operators);
    let total = |name: &str| all().filter(|op| op.name == name).map(|op| op.share).sum::<f64>();
    let mut names: Vec<String> = distinct(all().map(|op| op.name.clone()));
    names.sort_by(|a, b| total(b).total_cmp(&total(a)));
    if names.len() > SERIES {
        names.truncate(SERIES - 1);
    }
    names
}

fn bars(view: &View, names: &[String], rows: &[&Row], one_model: bool) -> Bars {
    let rest = rows.iter().flat_map(|row| &row.operators).any(|op| !names.contains(&op.name));
    let mut categories = names.to_vec();
    if rest {
        categories.push("all others".to_owned());
    }
    let share =
        |row: &Row, name: &str| row.operators.iter().filter(|op| op.name == name).map(|op| op.share).sum();
    let bar = |row: &&Row| {
        let mut parts: Vec<f64> = names.iter().map(|name| share(row, name)).collect();
        if rest {
            parts.push(row.operators.iter().filter(|op| !names.contains(&op.name)).map(|op| op.share).sum());
        }
        let parts = parts.into_iter().map(|part| if part.is_finite() { part * 100.0 } else { 0.0 }).collect();
        let label = if one_model { view.short_size(row) } else { view.short(row) };
        Bar { label, parts, end: String::new() }
    };
    let bars = rows.iter().map(bar).collect();
    Bars { categories, bars, axis: "share of a run, %", write: |part| format!("{}%", text::fixed(part, 0)) }
}
