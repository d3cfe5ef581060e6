//! Horizontal stacked bars, one per row.

use super::super::chart::{
    Anchor, Axis, Entry, Heading, Item, Key, Paint, Rect, Scene, Stroke, TEXT, fit, legend, text_width,
};
use super::super::text;
use super::super::view::View;
use super::NARROW;
use crate::profile::Row;

/// Maximum number of bars per plot.
const MOST: usize = 30;

/// A bar.
pub struct Bar {
    /// Label of the bar.
    pub label: String,
    /// Lengths of the parts, one for each category.
    pub parts: Vec<f64>,
    /// Text at the end of the bar; may be empty.
    pub end: String,
}

/// Bars with common categories and axis.
pub struct Bars {
    /// Names of the parts.
    pub categories: Vec<String>,
    /// The bars.
    pub bars: Vec<Bar>,
    /// Name of the axis, with the unit.
    pub axis: &'static str,
    /// Formats the length of a part.
    pub write: fn(f64) -> String,
}

/// Divides rows into plots of at most [`MOST`] bars, keeping rows of one model together where possible. Each plot comes
/// with the name of its model, which is empty if it holds several models or all rows.
pub fn divide<'a>(view: &View<'a>, keep: impl Fn(&&'a Row) -> bool) -> Vec<(String, Vec<&'a Row>)> {
    let rows: Vec<&Row> = view.rows().iter().filter(keep).collect();
    if rows.len() <= MOST {
        return vec![(String::new(), rows)];
    }
    let mut plots: Vec<(String, Vec<&Row>)> = Vec::new();
    for of_model in rows.chunk_by(|a, b| a.model == b.model) {
        for part in of_model.chunks(MOST) {
            let name = text::shorten(&part[0].model, 40);
            match plots.last_mut() {
                Some((of, last)) if last.len() + part.len() <= MOST => {
                    last.extend(part);
                    of.clear();
                }
                _ => plots.push((name, part.to_vec())),
            }
        }
    }
    plots
}

impl Bars {
    /// Draws the bars and their legend.
    pub fn draw(&self, scene: &mut Scene, heading: &Heading) {
        let narrow = scene.width < NARROW;
        let top = heading.draw(scene) + 6.0;
        let widest = self.bars.iter().map(|bar| text_width(&bar.label, 12.5) * 1.08).fold(0.0, f64::max);
        let left = if narrow { 16.0 } else { (widest + 26.0).min(scene.width * 0.42) };
        let ends = self.bars.iter().map(|bar| text_width(&bar.end, 12.0)).fold(0.0, f64::max);
        let right = scene.width - ends - 22.0;
        let totals = self.bars.iter().map(|bar| bar.parts.iter().sum::<f64>());
        let axis = Axis::from_zero(totals, if narrow { 4 } else { 6 }, self.axis);
        let (step, thick) = if narrow { (42.0, 17.0) } else { (26.0, 18.0) };
        let area = Rect { x: left, y: top, w: right - left, h: step * self.bars.len() as f64 };
        draw_axis(scene, &axis, area);
        for (i, bar) in self.bars.iter().enumerate() {
            let y = top + step * i as f64 + step - thick - 4.0;
            self.draw_bar(scene, bar, &axis, Rect { y, h: thick, ..area });
            let label = fit(&bar.label, 12.5, if narrow { scene.width - 32.0 } else { left - 26.0 });
            match narrow {
                true => scene.text((left, y - 5.0), &label, Anchor::Start, 12.5, Paint::Ink),
                false => scene.text((left - 8.0, y + 13.5), &label, Anchor::End, 12.5, Paint::Ink),
            }
        }
        scene.height = area.bottom() + 48.0;
        let entry = |(i, name): (usize, &String)| Entry::new(Key::Swatch(Paint::Series(i)), name);
        legend(scene, &self.categories.iter().enumerate().map(entry).collect::<Vec<_>>());
    }

    fn draw_bar(&self, scene: &mut Scene, bar: &Bar, axis: &Axis, area: Rect) {
        let mut sum = 0.0;
        for (i, &part) in bar.parts.iter().enumerate() {
            let (from, to) = (axis.at(sum), axis.at(sum + part.max(0.0)));
            sum += part.max(0.0);
            let rect = Rect { x: area.x + from * area.w, w: (to - from) * area.w, ..area };
            if rect.w < 0.05 {
                continue;
            }
            let says = (self.write)(part);
            let tip = format!("{}: {} {says}", bar.label, self.categories[i]);
            // A gap between parts makes them distinguishable without colour.
            let gap = if rect.w > 3.0 { 1.0 } else { 0.0 };
            scene.fill(Rect { w: rect.w - gap, ..rect }, Paint::Series(i), &tip);
            if text_width(&says, 11.0) + 8.0 < rect.w {
                let at = (rect.x + rect.w / 2.0, rect.y + 13.0);
                scene.text(at, &says, Anchor::Middle, 11.0, Paint::On(i));
            }
        }
        let end = (area.x + axis.at(sum) * area.w + 6.0, area.y + 13.0);
        if !bar.end.is_empty() {
            scene.text(end, &bar.end, Anchor::Start, 12.0, Paint::Ink);
        }
    }
}

fn draw_axis(scene: &mut Scene, axis: &Axis, area: Rect) {
    let bottom = area.bottom() + 4.0;
    for tick in &axis.ticks {
        let x = area.x + axis.at(tick.value) * area.w;
        scene.line(vec![(x, area.y), (x, bottom)], Stroke::solid(Paint::Grid, 1.0));
        scene.text((x, bottom + 16.0), &tick.label, Anchor::Middle, TEXT, Paint::Muted);
    }
    scene.line(vec![(area.x, bottom), (area.right(), bottom)], Stroke::solid(Paint::Muted, 1.25));
    scene.items.push(Item::Text {
        at: (area.x + area.w / 2.0, bottom + 35.0),
        text: axis.name.clone(),
        anchor: Anchor::Middle,
        size: TEXT,
        bold: false,
        paint: Paint::Ink,
        upright: false,
        halo: false,
    });
}
