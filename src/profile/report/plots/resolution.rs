//! Accuracy against input size.

use super::super::chart::{Axis, Entry, Frame, Heading, Key, Scene, Stroke, Tick, legend};
use super::super::text;
use super::super::view::{View, side};
use super::facets::{Facet, Style, divide, plots};
use super::whiskers::vertical;
use super::{Figure, NARROW};
use crate::profile::{Row, distinct};

/// The rows of one model and backend, ordered by size. There is one row per size, since accuracy does not depend on the
/// instruction set or the number of threads.
type Curve<'a> = Vec<&'a Row>;

/// The figure; `None` if no accuracy was measured.
pub fn figure<'a>(view: &'a View<'a>) -> Option<Figure<'a>> {
    let metric = view.metric?;
    let facets = divide(curves(view), |curve| curve[0].model.clone());
    let title = format!("{metric} against input size");
    let plots =
        plots(facets, "resolution", &title, move |facet, scene, heading| draw(view, facet, scene, heading));
    Some(Figure {
        title: "Accuracy against input size",
        caption: "Each head was fitted and measured at the size that it is shown at. Whiskers: 95% interval. Points of \
                  one size are drawn side by side."
            .to_owned(),
        panels: plots.len() > 1,
        plots,
        list: Vec::new(),
    })
}

fn curves<'a>(view: &View<'a>) -> Vec<Curve<'a>> {
    let mut curves: Vec<Curve> = Vec::new();
    for row in view.rows().iter().filter(|row| view.accuracy(row).is_some()) {
        let same = |curve: &&mut Curve| curve[0].model == row.model && curve[0].backend == row.backend;
        match curves.iter_mut().find(same) {
            Some(curve) if curve.iter().any(|other| other.size() == row.size()) => {}
            Some(curve) => curve.push(row),
            None => curves.push(vec![row]),
        }
    }
    curves.iter_mut().for_each(|curve| curve.sort_by(|a, b| side(a).total_cmp(&side(b))));
    curves
}

/// An axis of input sizes, with a tick at each size of the rows.
pub fn size_axis<'a>(rows: impl Iterator<Item = &'a Row>) -> Axis {
    let mut sizes: Vec<(f64, String)> = rows.map(|row| (side(row), row.size().to_string())).collect();
    sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
    sizes.dedup_by(|a, b| a.1 == b.1);
    // Linear, not logarithmic: sizes differ by a factor of about ten at most, and their labels need even spacing.
    let (low, high) = (sizes.first().map_or(0.0, |s| s.0), sizes.last().map_or(1.0, |s| s.0));
    let room = ((high - low) * 0.06).max(high * 0.02).max(1.0);
    let square = sizes.iter().all(|(_, label)| !label.contains('x'));
    let ticks = sizes.into_iter().map(|(value, label)| Tick { value, label }).collect();
    let shape = if square { "" } else { " (height x width where not square)" };
    let name = format!("input size, pixels{shape}");
    Axis::linear((low - room).max(0.0), high + room, 4, &name).with_ticks(ticks)
}

fn draw(view: &View, facet: &Facet<Curve>, scene: &mut Scene, heading: &Heading) {
    let all: Vec<&Row> = view.rows().iter().filter(|row| view.accuracy(row).is_some()).collect();
    let ends = all.iter().filter_map(|row| view.accuracy(row));
    let ends = ends.flat_map(|a| [Some(a.value), a.low, a.high]).flatten();
    let y = Axis::fit(ends, 6, &format!("{} with 95% interval", view.metric.unwrap_or_default()));
    let top = heading.draw(scene);
    let height = if scene.width < NARROW { 280.0 } else { 360.0 };
    let frame = Frame::draw(scene, top, height, (size_axis(all.into_iter()), y));

    let several = facet.curves.iter().any(|curve| curve[0].model != facet.curves[0][0].model);
    let styles: Vec<Style> = facet.curves.iter().map(|curve| style(view, curve[0], several)).collect();
    // Points of one size are drawn side by side, but do not reach those of the next size.
    let places: Vec<f64> = frame.x.ticks.iter().map(|tick| frame.px(tick.value)).collect();
    let nearest = places.windows(2).map(|pair| pair[1] - pair[0]).fold(frame.area.w, f64::min);
    let step = (nearest * 0.6 / styles.len() as f64).min(6.0);
    let dodge = |i: usize| (i as f64 - (styles.len() as f64 - 1.0) / 2.0) * step;
    let mut entries = Vec::new();
    for (i, (curve, style)) in facet.curves.iter().zip(&styles).enumerate() {
        draw_curve(view, curve, style, dodge(i), &frame, scene);
        let row = curve[0];
        let model = if several { format!("{} ", row.model) } else { String::new() };
        let untrained = if row.untrained { " (UNTRAINED)" } else { "" };
        let name = format!("{model}{}{untrained}", row.kind());
        entries.push(Entry::new(Key::Line(style.stroke, Some(style.mark)), &name));
    }
    legend(scene, &entries);
}

fn style(view: &View, row: &Row, several: bool) -> Style {
    let kinds = distinct(view.rows().iter().map(Row::kind));
    let place = kinds.iter().position(|other| *other == row.kind()).unwrap_or(0);
    Style::of(if several { view.model(row) } else { place }, place, row)
}

fn draw_curve(view: &View, curve: &Curve, style: &Style, dodge: f64, frame: &Frame, scene: &mut Scene) {
    let paint = style.stroke.paint;
    let points: Vec<(f64, f64)> = curve
        .iter()
        .filter_map(|row| view.accuracy(row).map(|a| (frame.px(side(row)) + dodge, frame.py(a.value))))
        .collect();
    scene.line(points.clone(), style.stroke);
    for (row, &at) in curve.iter().zip(&points) {
        let Some(a) = view.accuracy(row) else { continue };
        if let Some((low, high)) = a.low.zip(a.high) {
            vertical(scene, at.0, (frame.py(low), frame.py(high)), Stroke::solid(paint, 1.25));
        }
        let value = text::interval(a.value, a.low, a.high, text::accuracy);
        let tip = format!("{} {} at {} px: {} {value}", row.model, row.kind(), row.size(), a.metric);
        scene.point(at, style.mark, paint, false, &tip);
    }
}
