//! Cumulative distribution of the timed runs: the share of runs that are no slower than a given latency.

use super::super::chart::{Axis, Entry, Frame, Heading, Key, Scene, Tick, legend};
use super::super::text;
use super::super::view::{View, size};
use super::facets::{Facet, Style, divide};
use super::{Figure, NARROW, Plot};
use crate::profile::Row;

/// Maximum number of steps of a curve; more would not be visible.
const STEPS: usize = 200;

/// The figure; `None` if no row has more than one stored run.
pub fn figure<'a>(view: &'a View<'a>) -> Option<Figure<'a>> {
    let rows: Vec<&Row> = view.rows().iter().filter(|row| row.runs_ms.len() > 1).collect();
    if rows.is_empty() {
        return None;
    }
    let facets = divide(rows, |row| format!("{} at {}", row.model, size(row)));
    let panels = facets.len() > 1;
    let plots = facets.into_iter().enumerate().map(|(i, facet)| {
        let name = match text::slug(&facet.name) {
            slug if slug.is_empty() && !panels => "cdf".to_owned(),
            slug => format!("cdf-{}-{slug}", i + 1),
        };
        let of = if panels { format!(", {}", facet.name) } else { String::new() };
        let title = format!("Distribution of latency{of}");
        Plot::new(name, title, move |scene, heading| draw(view, &facet, scene, heading))
    });
    Some(Figure {
        title: "Distribution of latency",
        caption: "The share of timed runs that took no longer. A steep curve is a steady machine; a long flat end, \
                  rare slow runs; a step in the middle, two states of the machine."
            .to_owned(),
        plots: plots.collect(),
        panels,
        list: Vec::new(),
    })
}

fn draw(view: &View, facet: &Facet<&Row>, scene: &mut Scene, heading: &Heading) {
    let narrow = scene.width < NARROW;
    let x = Axis::fit(
        facet.curves.iter().flat_map(|row| row.runs_ms.iter().copied()),
        if narrow { 5 } else { 8 },
        "latency of one image, ms",
    );
    let ticks = [0.0, 0.25, 0.5, 0.75, 0.9, 1.0];
    let ticks = ticks.map(|value| Tick { value, label: text::fixed(value * 100.0, 0) });
    let y = Axis::linear(0.0, 1.0, 4, "share of runs, %").with_ticks(ticks.to_vec());
    let top = heading.draw(scene);
    let frame = Frame::draw(scene, top, if narrow { 240.0 } else { 340.0 }, (x, y));

    let differs = |f: fn(&Row) -> String| facet.curves.iter().any(|row| f(row) != f(facet.curves[0]));
    let (models, sizes) = (differs(|row| row.model.clone()), differs(size));
    let mut entries = Vec::new();
    for (i, row) in facet.curves.iter().enumerate() {
        let one_size = !models && !sizes;
        let place = if one_size { view.config(row) } else { i };
        let style = Style::of(place, place, row);
        scene.line(steps(row, &frame), style.stroke);
        let name = match (models, sizes) {
            (true, _) => view.short(row),
            (false, true) => view.short_size(row),
            _ => view.short_config(row, false),
        };
        let name = format!("{name}{}", if row.verdict.valid { "" } else { " (INVALID)" });
        entries.push(Entry::new(Key::Line(style.stroke, None), &name));
    }
    legend(scene, &entries);
}

/// Steps of the empirical distribution function; with more than [`STEPS`] runs, an even selection of ranks.
fn steps(row: &Row, frame: &Frame) -> Vec<(f64, f64)> {
    let mut runs: Vec<f64> = row.runs_ms.iter().copied().filter(|ms| ms.is_finite()).collect();
    runs.sort_by(f64::total_cmp);
    let (n, kept) = (runs.len(), runs.len().min(STEPS));
    let mut points = Vec::with_capacity(2 * kept + 1);
    let mut before = frame.py(0.0);
    for i in 0..kept {
        let rank = ((i + 1) * n).div_ceil(kept);
        let (x, y) = (frame.px(runs[rank - 1]), frame.py(rank as f64 / n as f64));
        points.extend([(x, before), (x, y)]);
        before = y;
    }
    points
}
