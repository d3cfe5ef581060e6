//! Latency against input size.

use super::super::chart::{Axis, Entry, Frame, Heading, Item, Key, Mark, Paint, Scene, Stroke, legend};
use super::super::text;
use super::super::view::{View, config, side};
use super::facets::{Facet, Style, divide, plots};
use super::resolution::size_axis;
use super::whiskers::vertical;
use super::{Figure, NARROW};
use crate::profile::Row;

/// The rows of one model and configuration, ordered by size.
type Curve<'a> = Vec<&'a Row>;

/// The figure; `None` if there are no rows.
pub fn figure<'a>(view: &'a View<'a>) -> Option<Figure<'a>> {
    if view.rows().is_empty() {
        return None;
    }
    let facets = divide(curves(view), |curve| curve[0].model.clone());
    let title = "Latency against input size";
    let plots =
        plots(facets, "latency", title, move |facet, scene, heading| draw(view, facet, scene, heading));
    Some(Figure {
        title,
        caption: "Median latency of one image; whiskers go to the 90th percentile. Hollow: INVALID."
            .to_owned(),
        panels: plots.len() > 1,
        plots,
        list: Vec::new(),
    })
}

fn curves<'a>(view: &View<'a>) -> Vec<Curve<'a>> {
    let mut curves: Vec<Curve> = Vec::new();
    for row in view.rows() {
        let same = |curve: &&mut Curve| curve[0].model == row.model && config(curve[0]) == config(row);
        match curves.iter_mut().find(same) {
            Some(curve) => curve.push(row),
            None => curves.push(vec![row]),
        }
    }
    curves.iter_mut().for_each(|curve| curve.sort_by(|a, b| side(a).total_cmp(&side(b))));
    curves
}

fn draw(view: &View, facet: &Facet<Curve>, scene: &mut Scene, heading: &Heading) {
    // All plots have the same axes, so that they can be compared.
    let latencies = view.rows().iter().flat_map(|row| [row.latency.p50_ms, row.latency.p90_ms]);
    let y = Axis::fit(latencies, 6, "latency of one image, ms");
    let top = heading.draw(scene);
    let height = if scene.width < NARROW { 280.0 } else { 380.0 };
    let frame = Frame::draw(scene, top, height, (size_axis(view.rows().iter()), y));

    let several = facet.curves.iter().any(|curve| curve[0].model != facet.curves[0][0].model);
    let mut entries = Vec::new();
    for curve in &facet.curves {
        let style = Style::of_config(view, curve[0], several);
        draw_curve(curve, &style, &frame, scene);
        let name = view.short_config(curve[0], several);
        entries.push(Entry::new(Key::Line(style.stroke, Some(style.mark)), &name));
    }
    if facet.curves.iter().flatten().any(|row| !row.verdict.valid) {
        entries.push(Entry::new(Key::Mark(Mark::Circle, Paint::Ink, true), "hollow: INVALID"));
    }
    legend(scene, &entries);
}

fn draw_curve(curve: &Curve, style: &Style, frame: &Frame, scene: &mut Scene) {
    let place = |row: &Row| (frame.px(side(row)), frame.py(row.latency.p50_ms));
    scene.line(curve.iter().map(|row| place(row)).collect(), style.stroke);
    for row in curve {
        let (at, paint) = (place(row), style.stroke.paint);
        vertical(scene, at.0, (at.1, frame.py(row.latency.p90_ms)), Stroke::solid(paint, 1.25));
        let tip = format!(
            "{}: median {} ms, p90 {} ms",
            row.label(),
            text::ms(row.latency.p50_ms),
            text::ms(row.latency.p90_ms)
        );
        let hollow = !row.verdict.valid;
        scene.items.push(Item::Point { at, mark: style.mark, radius: 4.5, paint, hollow, tip });
    }
}
