//! Accuracy against latency, and the Pareto front.

use super::super::chart::{
    Anchor, Axis, Entry, Frame, Heading, Item, Key, Label, Labels, Mark, Paint, Rect, Scene, Stroke, legend,
    numbered,
};
use super::super::text;
use super::super::view::{View, mark, mark_name};
use super::whiskers::{horizontal, vertical};
use super::{Figure, NARROW, Plot};
use crate::profile::{Accuracy, Row, distinct};

/// Maximum length of a front whose points are labelled with names in the plot; longer fronts have numbers only.
const NAMED: usize = 6;

/// Radius of a point on the front, pixels.
const FRONT: f64 = 6.5;

/// A row with its accuracy and whether it is on the Pareto front.
struct Point<'a> {
    row: &'a Row,
    accuracy: &'a Accuracy,
    front: bool,
}

/// The figure; `None` if no accuracy was measured.
pub fn figure<'a>(view: &'a View<'a>) -> Option<Figure<'a>> {
    let metric = view.metric?;
    let left_out = view.rows().iter().filter(|r| r.accuracy.is_some() && view.accuracy(r).is_none()).count();
    let mut caption = "Each point is a row of the table. Across: the median latency, with a whisker to the 90th \
                       percentile. Up: the accuracy with its 95% interval. The stepped line is the Pareto front: no \
                       VALID row is both faster and more accurate than one on it."
        .to_owned();
    if left_out > 0 {
        let left_out = text::count(left_out, "row");
        caption.push_str(&format!(" Left out: {left_out} whose accuracy is not {metric}."));
    }
    if view.front.is_empty() {
        caption.push_str(" No row is VALID, so that there is no front.");
    }
    let title = format!("{metric} against latency");
    Some(Figure {
        title: "Accuracy against latency",
        caption,
        list: list(view),
        plots: vec![Plot::new("pareto".to_owned(), title, |scene, heading| draw(view, scene, heading))],
        panels: false,
    })
}

/// The rows of the front, in words.
fn list(view: &View) -> Vec<String> {
    let line = |&i: &usize| {
        let row = &view.rows()[i];
        let a = view.accuracy(row)?;
        let value = text::interval(a.value, a.low, a.high, text::accuracy);
        Some(format!("{}: {} {value}, {} ms", row.label(), a.metric, text::ms(row.latency.p50_ms)))
    };
    view.front.iter().filter_map(line).collect()
}

fn draw(view: &View, scene: &mut Scene, heading: &Heading) {
    let points = points(view);
    let narrow = scene.width < NARROW;
    let (tick_count, height) = if narrow { (4, 320.0) } else { (7, 420.0) };
    let latencies = points.iter().flat_map(|p| [p.row.latency.p50_ms, p.row.latency.p90_ms]);
    let accuracies =
        points.iter().flat_map(|p| [Some(p.accuracy.value), p.accuracy.low, p.accuracy.high]).flatten();
    let metric = view.metric.unwrap_or_default();
    let x = Axis::fit(latencies, tick_count, "latency of one image, ms (median to p90)");
    let y = Axis::fit(accuracies, 6, &format!("{metric} with 95% interval"));
    let top = heading.draw(scene);
    let frame = Frame::draw(scene, top, height, (x, y));

    draw_whiskers(view, &points, &frame, scene);
    draw_front(view, &frame, scene);
    // Points on the front are drawn over the others.
    for on_front in [false, true] {
        for point in points.iter().filter(|p| p.front == on_front) {
            draw_point(view, point, &frame, scene);
        }
    }
    draw_labels(view, &points, &frame, scene);
    legend(scene, &entries(view, &points));
    // On a page, the list is below the plot instead.
    if !heading.title.is_empty() {
        numbered(scene, &list(view));
    }
}

fn points<'a>(view: &View<'a>) -> Vec<Point<'a>> {
    let rows = view.rows().iter().enumerate();
    let point =
        |(i, row)| view.accuracy(row).map(|accuracy| Point { row, accuracy, front: view.front.contains(&i) });
    rows.filter_map(point).collect()
}

fn place(point: &Point, frame: &Frame) -> (f64, f64) {
    (frame.px(point.row.latency.p50_ms), frame.py(point.accuracy.value))
}

fn draw_whiskers(view: &View, points: &[Point], frame: &Frame, scene: &mut Scene) {
    for point in points {
        let width = if point.front { 1.75 } else { 1.0 };
        let paint = Paint::Series(view.model(point.row));
        let stroke = Stroke { faint: !point.front, ..Stroke::solid(paint, width) };
        let (x, y) = place(point, frame);
        horizontal(scene, y, (x, frame.px(point.row.latency.p90_ms)), stroke);
        if let Some((low, high)) = point.accuracy.low.zip(point.accuracy.high) {
            vertical(scene, x, (frame.py(low), frame.py(high)), stroke);
        }
    }
}

fn draw_front(view: &View, frame: &Frame, scene: &mut Scene) {
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for row in view.front.iter().map(|&i| &view.rows()[i]) {
        let (x, y) = (frame.px(row.latency.p50_ms), frame.py(view.accuracy(row).map_or(0.0, |a| a.value)));
        steps.extend(steps.last().map(|last| (x, last.1)));
        steps.push((x, y));
    }
    if let Some(&(_, y)) = steps.last() {
        steps.push((frame.area.right(), y));
        scene.line(steps, Stroke::dashed(Paint::Muted, 1.5, 1));
    }
}

fn draw_point(view: &View, point: &Point, frame: &Frame, scene: &mut Scene) {
    let (row, a) = (point.row, point.accuracy);
    let tip = format!(
        "{}: {} {}, median {} ms, p90 {} ms{}",
        row.label(),
        a.metric,
        text::interval(a.value, a.low, a.high, text::accuracy),
        text::ms(row.latency.p50_ms),
        text::ms(row.latency.p90_ms),
        if row.verdict.valid { "" } else { ", INVALID" }
    );
    scene.items.push(Item::Point {
        at: place(point, frame),
        mark: mark(row),
        radius: if point.front { FRONT } else { 4.5 },
        paint: Paint::Series(view.model(row)),
        hollow: !row.verdict.valid,
        tip,
    });
}

/// Bounding boxes of a point's whiskers and, for a point on the front, of the line to its right.
fn whisker_boxes(point: &Point, frame: &Frame) -> Vec<Rect> {
    let (x, y) = place(point, frame);
    let right = frame.px(point.row.latency.p90_ms).max(x + if point.front { 30.0 } else { 0.0 });
    let mut boxes = vec![Rect { x, y: y - 1.0, w: right - x, h: 2.0 }];
    boxes.extend(point.accuracy.low.zip(point.accuracy.high).map(|(low, high)| {
        let (top, bottom) = (frame.py(high), frame.py(low));
        Rect { x: x - 2.0, y: top, w: 4.0, h: bottom - top }
    }));
    boxes
}

fn draw_labels(view: &View, points: &[Point], frame: &Frame, scene: &mut Scene) {
    let size = 12.0;
    let lines = points.iter().flat_map(|point| whisker_boxes(point, frame)).collect();
    let mut labels = Labels::new(frame.area, points.iter().map(|p| place(p, frame)), lines, size);
    for (number, &i) in view.front.iter().enumerate() {
        let row = &view.rows()[i];
        let Some(accuracy) = view.accuracy(row) else { continue };
        let number = (number + 1).to_string();
        let mut texts = vec![number.clone()];
        if scene.width >= NARROW && view.front.len() <= NAMED {
            texts.insert(0, format!("{number}  {}", view.short(row)));
        }
        let at = place(&Point { row, accuracy, front: true }, frame);
        labels.place(scene, &Label { at, texts, paint: Paint::Ink });
    }
    if view.front.is_empty() {
        let at = (frame.area.right() - 8.0, frame.area.bottom() - 10.0);
        scene.text(at, "no VALID row: no front", Anchor::End, size, Paint::Muted);
    }
}

fn entries(view: &View, points: &[Point]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for model in distinct(points.iter().map(|p| view.model(p.row))) {
        let row = points.iter().find(|p| view.model(p.row) == model).map(|p| p.row);
        let untrained = row.is_some_and(|row| row.untrained);
        let name = format!("{}{}", view.models[model], if untrained { " (UNTRAINED)" } else { "" });
        entries.push(Entry::new(Key::Swatch(Paint::Series(model)), &name));
    }
    for (mark, name) in distinct(points.iter().map(|p| (mark(p.row), mark_name(p.row)))) {
        entries.push(Entry::new(Key::Mark(mark, Paint::Ink, false), name));
    }
    if points.iter().any(|p| !p.row.verdict.valid) {
        entries.push(Entry::new(Key::Mark(Mark::Circle, Paint::Ink, true), "hollow: INVALID"));
    }
    if !view.front.is_empty() {
        let stroke = Stroke::dashed(Paint::Muted, 1.5, 1);
        entries.push(Entry::new(Key::Line(stroke, None), "Pareto front"));
    }
    entries
}
