//! A reliability diagram: how often what was predicted was so, against the probability that was predicted.

use super::super::chart::{Axis, Entry, Frame, Heading, Key, Mark, Paint, Scene, Stroke, legend};
use super::whiskers::vertical;
use crate::heads::{ReliabilityBin, wilson};

/// Side of the square area, pixels.
const SIDE: f64 = 420.0;

/// The marks of the curves, in their order.
const MARKS: [Mark; 4] = [Mark::Square, Mark::Circle, Mark::Triangle, Mark::Diamond];

/// Draws the bins of each curve, by its name. Whiskers are 95% binomial intervals; the dashed line is where predictions
/// agree with what is so.
pub fn draw(heading: &Heading, curves: &[(String, Vec<ReliabilityBin>)]) -> Scene {
    let mut scene =
        Scene { width: SIDE + 100.0, height: 0.0, description: heading.title.clone(), items: Vec::new() };
    let top = heading.draw(&mut scene);
    let axis = |name: &str| Axis::linear(0.0, 1.0, 5, name);
    let axes = (axis("mean predicted probability of a bin"), axis("share that was so, with 95% interval"));
    let frame = Frame::draw(&mut scene, top, SIDE, axes);
    let ideal = Stroke { paint: Paint::Muted, width: 1.25, dash: 1, faint: false };
    scene.line(vec![(frame.px(0.0), frame.py(0.0)), (frame.px(1.0), frame.py(1.0))], ideal);
    let mut entries = vec![Entry::new(Key::Line(ideal, None), "as predicted")];
    for (number, (name, bins)) in curves.iter().enumerate() {
        let (paint, mark) = (Paint::Series(number), MARKS[number % MARKS.len()]);
        let stroke = Stroke { paint, width: 1.75, dash: 0, faint: false };
        let at = |bin: &ReliabilityBin| (frame.px(bin.predicted), frame.py(bin.observed));
        scene.line(bins.iter().map(at).collect(), Stroke { faint: true, ..stroke });
        for bin in bins {
            let so = (bin.observed * bin.images as f64).round() as u64;
            let interval = wilson(so, bin.images);
            let (x, y) = at(bin);
            vertical(
                &mut scene,
                x,
                (frame.py(interval.low), frame.py(interval.high)),
                Stroke::solid(paint, 1.0),
            );
            let tip = format!(
                "{name}: predicted {:.3}, {so} of {} = {:.3}",
                bin.predicted, bin.images, bin.observed
            );
            scene.point((x, y), mark, paint, false, &tip);
        }
        entries.push(Entry::new(Key::Line(stroke, Some(mark)), name));
    }
    legend(&mut scene, &entries);
    scene
}
