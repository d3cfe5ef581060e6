//! What a chart is made of.

use super::Paint;

/// A drawing: items in the order in which they are painted. Lengths are in pixels, y grows downwards.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scene {
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// What it shows, for those who do not see it.
    pub description: String,
    /// Its items.
    pub items: Vec<Item>,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stroke {
    /// Colour.
    pub paint: Paint,
    /// Width.
    pub width: f64,
    /// Place in the list of dash patterns; 0 is a whole line.
    pub dash: usize,
    /// Whether it lets through what is behind it.
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
    /// A triangle that points upwards.
    Triangle,
    /// A square that stands on a corner.
    Diamond,
}

/// Which part of a text is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// One thing to paint.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A line through points.
    Line {
        /// The points.
        points: Vec<(f64, f64)>,
        /// How.
        stroke: Stroke,
    },
    /// A filled rectangle.
    Box {
        /// Where.
        rect: Rect,
        /// Its colour.
        fill: Paint,
        /// Said when it is pointed at.
        tip: String,
    },
    /// A point.
    Point {
        /// Its centre.
        at: (f64, f64),
        /// Its shape.
        mark: Mark,
        /// Half of its width.
        radius: f64,
        /// Its colour.
        paint: Paint,
        /// Whether only its outline is painted.
        hollow: bool,
        /// Said when it is pointed at.
        tip: String,
    },
    /// One line of text.
    Text {
        /// Where its base line is.
        at: (f64, f64),
        /// What it says.
        text: String,
        /// Which part of it is there.
        anchor: Anchor,
        /// Size.
        size: f64,
        /// Whether it is bold.
        bold: bool,
        /// Colour.
        paint: Paint,
        /// Whether it runs upwards.
        upright: bool,
        /// Whether it has an edge of the page's colour, to be read over lines.
        halo: bool,
    },
}

impl Stroke {
    /// A whole line.
    pub fn solid(paint: Paint, width: f64) -> Stroke {
        Stroke { paint, width, dash: 0, faint: false }
    }

    /// A line of dashes.
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

    /// Whether the two have a point in common.
    pub fn meets(&self, other: &Rect) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }

    /// Whether `other` is inside.
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

    /// Adds a plain text.
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
