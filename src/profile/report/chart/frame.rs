//! The frame of a plot: its area, two axes, grid, ticks and axis names.

use super::{Anchor, Axis, Item, Paint, Rect, Scale, Scene, Stroke, TEXT, fit, text_width};

/// Heading of one or two lines above a stand-alone plot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heading {
    /// Title of the plot; if empty, there is no heading.
    pub title: String,
    /// Machine and date of the measurement; may be empty.
    pub subtitle: String,
}

/// Margins beside a plot, pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Margins {
    /// Left margin, for the y axis.
    left: f64,
    /// Right margin.
    right: f64,
}

/// A plot's area and axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Area in which values are drawn.
    pub area: Rect,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
}

/// Height below the area for the ticks and the name of the x axis, pixels.
const BELOW: f64 = 46.0;

impl Margins {
    /// Margins with room for the labels of a y axis.
    fn of(y: &Axis) -> Margins {
        let widest = y.ticks.iter().map(|t| text_width(&t.label, TEXT)).fold(0.0, f64::max);
        Margins { left: widest.max(24.0) + 34.0, right: 16.0 }
    }
}

impl Heading {
    /// Draws the heading at the top and returns its height.
    pub fn draw(&self, scene: &mut Scene) -> f64 {
        let most = scene.width - 32.0;
        if self.title.is_empty() {
            return 0.0;
        }
        scene.items.push(Item::Text {
            at: (16.0, 26.0),
            text: fit(&self.title, 16.0, most * 0.93),
            anchor: Anchor::Start,
            size: 16.0,
            bold: true,
            paint: Paint::Ink,
            upright: false,
            halo: false,
        });
        if self.subtitle.is_empty() {
            return 32.0;
        }
        scene.text((16.0, 45.0), &fit(&self.subtitle, 12.0, most), Anchor::Start, 12.0, Paint::Muted);
        52.0
    }
}

impl Frame {
    /// Draws a frame across the scene, with an area of this `height` just below `top`. The scene's height is set to
    /// fit.
    pub fn draw(scene: &mut Scene, top: f64, height: f64, (x, y): (Axis, Axis)) -> Frame {
        let margins = Margins::of(&y);
        let area = Rect {
            x: margins.left,
            // Half a line of space for the label of the highest tick.
            y: top + 12.0,
            w: (scene.width - margins.left - margins.right).max(40.0),
            h: height,
        };
        let frame = Frame { area, x, y };
        frame.draw_y(scene);
        frame.draw_x(scene);
        scene.line(
            vec![(area.x, area.bottom()), (area.right(), area.bottom())],
            Stroke::solid(Paint::Muted, 1.25),
        );
        scene.height = area.bottom() + BELOW;
        frame
    }

    /// Horizontal position of a value on the x axis, pixels.
    pub fn px(&self, value: f64) -> f64 {
        self.area.x + self.x.at(value) * self.area.w
    }

    /// Vertical position of a value on the y axis, pixels.
    pub fn py(&self, value: f64) -> f64 {
        self.area.bottom() - self.y.at(value) * self.area.h
    }

    fn draw_y(&self, scene: &mut Scene) {
        for tick in &self.y.ticks {
            let y = self.py(tick.value);
            let width = if tick.label.is_empty() { 0.5 } else { 1.0 };
            scene.line(vec![(self.area.x, y), (self.area.right(), y)], Stroke::solid(Paint::Grid, width));
            scene.text((self.area.x - 8.0, y + 4.5), &tick.label, Anchor::End, TEXT, Paint::Muted);
        }
        scene.items.push(Item::Text {
            at: (16.0, self.area.y + self.area.h / 2.0),
            text: fit(&self.y.name, TEXT, self.area.h + 20.0),
            anchor: Anchor::Middle,
            size: TEXT,
            bold: false,
            paint: Paint::Ink,
            upright: true,
            halo: false,
        });
    }

    fn draw_x(&self, scene: &mut Scene) {
        let bottom = self.area.bottom();
        let mut free_from = f64::MIN;
        for tick in &self.x.ticks {
            let x = self.px(tick.value);
            let half = text_width(&tick.label, TEXT) / 2.0;
            let says = !tick.label.is_empty() && x - half > free_from;
            let width = if tick.label.is_empty() { 0.5 } else { 1.0 };
            scene.line(vec![(x, self.area.y), (x, bottom)], Stroke::solid(Paint::Grid, width));
            if says || self.x.scale == Scale::Log {
                let length = if says { 5.0 } else { 3.0 };
                scene.line(vec![(x, bottom), (x, bottom + length)], Stroke::solid(Paint::Muted, 1.0));
            }
            if says {
                scene.text((x, bottom + 19.0), &tick.label, Anchor::Middle, TEXT, Paint::Muted);
                free_from = x + half + 8.0;
            }
        }
        let middle = self.area.x + self.area.w / 2.0;
        let name = fit(&self.x.name, TEXT, scene.width - 16.0);
        scene.text((middle, bottom + 39.0), &name, Anchor::Middle, TEXT, Paint::Ink);
    }
}
