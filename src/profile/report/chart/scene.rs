//! Scenes: the elements of a chart.

use super::Paint;

/// A drawing: items in the order in which they are painted. Lengths are in pixels; y points down.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scene {
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// Description of the content, for screen readers.
    pub description: String,
    /// Items.
    pub items: Vec<Item>,
}

/// Style of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stroke {
    /// Colour.
    pub paint: Paint,
    /// Width.
    pub width: f64,
    /// Index of the dash pattern; 0 is a solid line.
    pub dash: usize,
    /// Whether the line is translucent.
    pub faint: bool,
}

/// A rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub w: f64,
    /// Height.
    pub h: f64,
}

/// Shape of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A circle.
    Circle,
    /// A square.
    Square,
    /// A triangle pointing up.
    Triangle,
    /// A square standing on a corner.
    Diamond,
}

/// The part of a text that is at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// One element of a scene.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A polyline.
    Line {
        /// The points.
        points: Vec<(f64, f64)>,
        /// Style of the line.
        stroke: Stroke,
    },
    /// A filled rectangle.
    Box {
        /// Position and size.
        rect: Rect,
        /// Colour.
        fill: Paint,
        /// Tooltip; empty for none.
        tip: String,
    },
    /// A point.
    Point {
        /// Centre.
        at: (f64, f64),
        /// Shape.
        mark: Mark,
        /// Half of the width.
        radius: f64,
        /// Colour.
        paint: Paint,
        /// Whether only its outline is painted.
        hollow: bool,
        /// Tooltip; empty for none.
        tip: String,
    },
    /// One line of text.
    Text {
        /// Position of the baseline.
        at: (f64, f64),
        /// The text.
        text: String,
        /// The part of the text that is at this position.
        anchor: Anchor,
        /// Text size.
        size: f64,
        /// Whether the text is bold.
        bold: bool,
        /// Colour.
        paint: Paint,
        /// Whether the text runs upwards.
        upright: bool,
        /// Whether the text has an outline in the page's colour, to be readable over lines.
        halo: bool,
    },
}

impl Stroke {
    /// A solid line.
    pub fn solid(paint: Paint, width: f64) -> Stroke {
        Stroke { paint, width, dash: 0, faint: false }
    }

    /// A line with this dash pattern.
    pub fn dashed(paint: Paint, width: f64, dash: usize) -> Stroke {
        Stroke { paint, width, dash, faint: false }
    }
}

impl Rect {
    /// Right edge.
    pub fn right(&self) -> f64 {
        self.x + self.w
    }

    /// Lower edge.
    pub fn bottom(&self) -> f64 {
        self.y + self.h
    }

    /// Whether the two overlap; touching edges do not count.
    pub fn meets(&self, other: &Rect) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }

    /// Whether `other` is inside, edges included.
    pub fn holds(&self, other: &Rect) -> bool {
        self.x <= other.x
            && other.right() <= self.right()
            && self.y <= other.y
            && other.bottom() <= self.bottom()
    }
}

impl Scene {
    /// Adds a line.
    pub fn line(&mut self, points: Vec<(f64, f64)>, stroke: Stroke) {
        self.items.push(Item::Line { points, stroke });
    }

    /// Adds plain text.
    pub fn text(&mut self, at: (f64, f64), text: &str, anchor: Anchor, size: f64, paint: Paint) {
        let (text, bold, upright, halo) = (text.to_owned(), false, false, false);
        self.items.push(Item::Text { at, text, anchor, size, bold, paint, upright, halo });
    }

    /// Adds a rectangle.
    pub fn fill(&mut self, rect: Rect, fill: Paint, tip: &str) {
        self.items.push(Item::Box { rect, fill, tip: tip.to_owned() });
    }

    /// Adds a point.
    pub fn point(&mut self, at: (f64, f64), mark: Mark, paint: Paint, hollow: bool, tip: &str) {
        self.items.push(Item::Point { at, mark, radius: 4.5, paint, hollow, tip: tip.to_owned() });
    }
}
