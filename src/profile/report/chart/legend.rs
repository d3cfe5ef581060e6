//! Legends below a plot, which explain its colours, marks and dashes.

use super::{Anchor, Mark, Paint, Rect, Scene, Stroke, fit, text_width};

/// Symbol in front of an entry's text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key {
    /// A coloured square.
    Swatch(Paint),
    /// A mark, hollow if `true`.
    Mark(Mark, Paint, bool),
    /// A line, with or without a mark on it.
    Line(Stroke, Option<Mark>),
}

/// One entry of a legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Symbol.
    pub key: Key,
    /// Meaning of the symbol.
    pub text: String,
}

/// Text size.
const SIZE: f64 = 12.5;
/// Line height.
const LINE: f64 = 20.0;
/// Gap between entries.
const GAP: f64 = 18.0;

impl Entry {
    /// Creates an entry.
    pub fn new(key: Key, text: &str) -> Entry {
        Entry { key, text: text.to_owned() }
    }

    fn key_width(&self) -> f64 {
        if matches!(self.key, Key::Line(..)) { 38.0 } else { 16.0 }
    }
}

/// Draws numbered lines at the bottom of the scene and increases its height accordingly.
pub fn numbered(scene: &mut Scene, lines: &[String]) {
    for (i, line) in lines.iter().enumerate() {
        scene.height += 18.0;
        let most = (scene.width - 60.0) * 0.93;
        scene.text((38.0, scene.height), &format!("{}", i + 1), Anchor::End, SIZE, Paint::Ink);
        scene.text((46.0, scene.height), &fit(line, SIZE, most), Anchor::Start, SIZE, Paint::Ink);
    }
    scene.height += if lines.is_empty() { 0.0 } else { 14.0 };
}

/// Draws entries at the bottom of the scene, as many per line as fit, and increases its height accordingly.
pub fn legend(scene: &mut Scene, entries: &[Entry]) {
    let left = 16.0;
    let right = scene.width - 16.0;
    let (mut x, mut y) = (left, scene.height + 16.0);
    for entry in entries {
        let most = right - left - entry.key_width() - 6.0;
        // Leaves some space for a wider font.
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
