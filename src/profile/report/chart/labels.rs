//! Labels of points, placed so that none overlaps another label or a point, or leaves the plot.

use super::{Anchor, Item, Paint, Rect, Scene, Stroke, text_width};

/// A label to place.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The labelled point.
    pub at: (f64, f64),
    /// Alternative texts, the longest first; the first one with a free position is used.
    pub texts: Vec<String>,
    /// Colour.
    pub paint: Paint,
}

/// Places labels one by one. A label more than about a line of text away from its point is joined to it by a line.
#[derive(Clone, Debug)]
pub struct Labels {
    /// Area that no label may leave.
    bounds: Rect,
    /// Areas that are occupied by points and labels.
    taken: Vec<Rect>,
    /// Lines that labels should avoid.
    lines: Vec<Rect>,
    /// Text size.
    size: f64,
}

/// Directions from a point to its label, the best first: a Pareto front rises to the right and leaves the upper left
/// free.
const DIRECTIONS: [(f64, f64); 8] =
    [(-1.0, -1.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (1.0, 1.0), (1.0, -1.0), (0.0, 1.0), (-1.0, 1.0)];

/// Distances from the point to the nearest edge of the label, pixels.
const DISTANCES: [f64; 7] = [5.0, 9.0, 18.0, 30.0, 46.0, 66.0, 90.0];

/// How much further from its point a label may be to overlap one line fewer, pixels.
const LINE_COST: f64 = 14.0;

impl Labels {
    /// Labels stay inside `bounds`, off the squares of half-width 6 around `points`, and avoid the `lines` where
    /// possible.
    pub fn new(
        bounds: Rect,
        points: impl IntoIterator<Item = (f64, f64)>,
        lines: Vec<Rect>,
        size: f64,
    ) -> Labels {
        let square = |(x, y): (f64, f64)| Rect { x: x - 6.0, y: y - 6.0, w: 12.0, h: 12.0 };
        Labels { bounds, taken: points.into_iter().map(square).collect(), lines, size }
    }

    /// Draws a label, unless there is no free position even for its shortest text. Returns whether it was drawn.
    pub fn place(&mut self, scene: &mut Scene, label: &Label) -> bool {
        for text in &label.texts {
            let places =
                DISTANCES.iter().flat_map(|&distance| DIRECTIONS.map(|direction| (direction, distance)));
            let free = places.filter_map(|(direction, distance)| {
                let rect = self.free(text, label.at, direction, distance)?;
                let over = self.lines.iter().filter(|line| line.meets(&rect)).count();
                Some((distance + LINE_COST * over as f64, rect))
            });
            // The first one of the lowest cost.
            let Some((_, rect)) = free.min_by(|a, b| a.0.total_cmp(&b.0)) else { continue };
            self.draw(scene, label, text, rect);
            self.taken.push(rect);
            return true;
        }
        false
    }

    /// The label's box in this direction and at this distance, if that position is free.
    fn free(&self, text: &str, at: (f64, f64), (dx, dy): (f64, f64), distance: f64) -> Option<Rect> {
        // A tenth wider than measured, since the viewer's font may be wider.
        let (w, h) = (text_width(text, self.size) * 1.1 + 4.0, self.size * 1.3);
        let side = |d: f64, length: f64| match d {
            d if d > 0.0 => distance,
            d if d < 0.0 => -distance - length,
            _ => -length / 2.0,
        };
        let rect = Rect { x: at.0 + side(dx, w), y: at.1 + side(dy, h), w, h };
        (self.bounds.holds(&rect) && !self.taken.iter().any(|other| other.meets(&rect))).then_some(rect)
    }

    fn draw(&self, scene: &mut Scene, label: &Label, text: &str, rect: Rect) {
        let (x, y) = label.at;
        let near = (x.clamp(rect.x, rect.right()), y.clamp(rect.y, rect.bottom()));
        let distance = (near.0 - x).hypot(near.1 - y);
        if distance > 14.0 {
            let start = |p: f64, q: f64| p + (q - p) * 6.0 / distance;
            let from = (start(x, near.0), start(y, near.1));
            scene.line(vec![from, near], Stroke::solid(Paint::Muted, 0.75));
        }
        // Anchored on the side of its point, so that the gap does not depend on the width of the font.
        let (anchor, place) = match (rect.x >= x, rect.right() <= x) {
            (true, _) => (Anchor::Start, rect.x + 2.0),
            (_, true) => (Anchor::End, rect.right() - 2.0),
            _ => (Anchor::Middle, rect.x + rect.w / 2.0),
        };
        scene.items.push(Item::Text {
            at: (place, rect.y + self.size * 1.02),
            text: text.to_owned(),
            anchor,
            size: self.size,
            bold: false,
            paint: label.paint,
            upright: false,
            halo: true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_meet_and_stay_inside() {
        let bounds = Rect { x: 0.0, y: 0.0, w: 400.0, h: 200.0 };
        let points: Vec<_> =
            (0..12).map(|i| (40.0 + 25.0 * f64::from(i), 100.0 + f64::from(i % 3))).collect();
        let mut labels = Labels::new(bounds, points.iter().copied(), Vec::new(), 12.0);
        let mut scene = Scene::default();
        for &at in &points {
            let texts = vec!["a long label".to_owned(), "7".to_owned()];
            labels.place(&mut scene, &Label { at, texts, paint: Paint::Ink });
        }
        let placed = &labels.taken[points.len()..];
        assert!(placed.len() > 8, "{}", placed.len());
        for (i, a) in placed.iter().enumerate() {
            assert!(bounds.holds(a));
            assert!(placed[..i].iter().all(|b| !a.meets(b)));
        }
    }

    #[test]
    fn a_label_without_a_place_is_left_out() {
        let bounds = Rect { x: 0.0, y: 0.0, w: 30.0, h: 12.0 };
        let mut labels = Labels::new(bounds, [], Vec::new(), 12.0);
        let label = Label { at: (15.0, 6.0), texts: vec!["much too long".to_owned()], paint: Paint::Ink };
        assert!(!labels.place(&mut Scene::default(), &label));
    }
}
