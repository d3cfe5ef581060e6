//! Legends: what the colours, shapes and dashes of a plot mean, in lines below it.

use super::{Anchor, Mark, Paint, Rect, Scene, Stroke, fit, text_width};

/// What stands before an entry's text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key {
    /// A square of a colour.
    Swatch(Paint),
    /// A mark, perhaps hollow.
    Mark(Mark, Paint, bool),
    /// A line with a mark on it, or without.
    Line(Stroke, Option<Mark>),
}

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it is about.
    pub key: Key,
    /// What that means.
    pub text: String,
}

/// Size of its text.
const SIZE: f64 = 12.5;
/// Height of a line.
const LINE: f64 = 20.0;
/// Between entries.
const GAP: f64 = 18.0;

impl Entry {
    /// An entry.
    pub fn new(key: Key, text: &str) -> Entry {
        Entry { key, text: text.to_owned() }
    }

    fn key_width(&self) -> f64 {
        if matches!(self.key, Key::Line(..)) { 38.0 } else { 16.0 }
    }
}

/// Draws numbered lines at the bottom of the scene, which grows by what they take.
pub fn numbered(scene: &mut Scene, lines: &[String]) {
    for (i, line) in lines.iter().enumerate() {
        scene.height += 18.0;
        let most = (scene.width - 60.0) * 0.93;
        scene.text((38.0, scene.height), &format!("{}", i + 1), Anchor::End, SIZE, Paint::Ink);
        scene.text((46.0, scene.height), &fit(line, SIZE, most), Anchor::Start, SIZE, Paint::Ink);
    }
    scene.height += if lines.is_empty() { 0.0 } else { 14.0 };
}

/// Draws entries at the bottom of the scene, as many in a line as there is room for; the scene grows by what it takes.
pub fn legend(scene: &mut Scene, entries: &[Entry]) {
    let left = 16.0;
    let right = scene.width - 16.0;
    let (mut x, mut y) = (left, scene.height + 16.0);
    for entry in entries {
        let most = right - left - entry.key_width() - 6.0;
        // Less than all: room for a wider font.
        let text = fit(&entry.text, SIZE, most * 0.87);
        let width = entry.key_width() + 6.0 + text_width(&text, SIZE) * 1.15;
        if x > left && x + width > right {
            (x, y) = (left, y + LINE);
        }
        draw_key(scene, entry, (x, y - 4.5));
        scene.text((x + entry.key_width() + 6.0, y), &text, Anchor::Start, SIZE, Paint::Ink);
        x += width + GAP;
    }
    if !entries.is_empty() {
        scene.height = y + 14.0;
    }
}

fn draw_key(scene: &mut Scene, entry: &Entry, (x, y): (f64, f64)) {
    let middle = x + entry.key_width() / 2.0;
    match entry.key {
        Key::Swatch(paint) => scene.fill(Rect { x: x + 1.0, y: y - 6.5, w: 13.0, h: 13.0 }, paint, ""),
        Key::Mark(mark, paint, hollow) => scene.point((middle, y), mark, paint, hollow, ""),
        Key::Line(stroke, mark) => {
            scene.line(vec![(x, y), (x + entry.key_width(), y)], stroke);
            if let Some(mark) = mark {
                scene.point((middle, y), mark, stroke.paint, false, "");
            }
        }
    }
}
