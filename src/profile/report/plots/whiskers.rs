//! Whiskers: thin lines with caps, which show intervals.

use super::super::chart::{Scene, Stroke};

/// Half the length of a cap, pixels.
const CAP: f64 = 3.0;

/// Draws a vertical whisker at `x`, with a cap at each end.
pub fn vertical(scene: &mut Scene, x: f64, (from, to): (f64, f64), stroke: Stroke) {
    scene.line(vec![(x, from), (x, to)], stroke);
    for y in [from, to] {
        scene.line(vec![(x - CAP, y), (x + CAP, y)], stroke);
    }
}

/// Draws a horizontal whisker at `y`. Only its far end has a cap: the near end is at a point.
pub fn horizontal(scene: &mut Scene, y: f64, (from, to): (f64, f64), stroke: Stroke) {
    scene.line(vec![(from, y), (to, y)], stroke);
    scene.line(vec![(to, y - CAP), (to, y + CAP)], stroke);
}
