//! Intervals: a thin line with a cap at each end.

use super::super::chart::{Scene, Stroke};

/// Half of a cap, pixels.
const CAP: f64 = 3.0;

/// A vertical whisker at `x`.
pub fn vertical(scene: &mut Scene, x: f64, (from, to): (f64, f64), stroke: Stroke) {
    scene.line(vec![(x, from), (x, to)], stroke);
    for y in [from, to] {
        scene.line(vec![(x - CAP, y), (x + CAP, y)], stroke);
    }
}

/// A horizontal whisker at `y`, with a cap at its far end only: the near one is at a point.
pub fn horizontal(scene: &mut Scene, y: f64, (from, to): (f64, f64), stroke: Stroke) {
    scene.line(vec![(from, y), (to, y)], stroke);
    scene.line(vec![(to, y - CAP), (to, y + CAP)], stroke);
}
