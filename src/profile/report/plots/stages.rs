//! Stages from a file to a prediction.

use super::super::text;
use super::super::view::View;
use super::bars::{Bar, Bars, divide};
use super::{Figure, Plot};
use crate::profile::Row;

/// The figure; `None` if no stages were timed.
pub fn figure<'a>(view: &'a View<'a>) -> Option<Figure<'a>> {
    let mut parts = divide(view, |row| row.stages.is_some());
    parts.retain(|(_, rows)| !rows.is_empty());
    let several = parts.len() > 1;
    let plots: Vec<Plot> = parts
        .into_iter()
        .enumerate()
        .map(|(i, (model, rows))| {
            let name = if several { format!("stages-{}", i + 1) } else { "stages".to_owned() };
            let of = if model.is_empty() { String::new() } else { format!(", {model}") };
            let bars = bars(view, &rows, !model.is_empty());
            let title = format!("From a file to an answer{of}");
            Plot::new(name, title, move |scene, heading| bars.draw(scene, heading))
        })
        .collect();
    (!plots.is_empty()).then_some(Figure {
        title: "From a file to an answer",
        caption: "Medians of each stage, one image after the other; the number at the end is the median of the whole."
            .to_owned(),
        plots,
        panels: false,
        list: Vec::new(),
    })
}

fn bars(view: &View, rows: &[&Row], one_model: bool) -> Bars {
    let bar = |row: &&Row| {
        let stages = row.stages.as_ref()?;
        let parts = [
            stages.decode_ms,
            stages.resize_ms,
            stages.embed_ms,
            stages.blocks_ms,
            stages.head_ms.unwrap_or(0.0),
        ];
        let parts = parts.map(|ms| if ms.is_finite() { ms } else { 0.0 }).to_vec();
        let label = if one_model { view.short_size(row) } else { view.short(row) };
        Some(Bar { label, parts, end: format!("{} ms", text::short(stages.total_ms)) })
    };
    let categories = ["decode", "resize", "patch embedding", "blocks", "head"].map(str::to_owned).to_vec();
    Bars { categories, bars: rows.iter().filter_map(bar).collect(), axis: "milliseconds", write: text::short }
}
