//! Which places of the pictures the answers come from.

use super::super::chart::{Anchor, Heading, Paint, Rect, Scene};
use super::super::text;
use super::super::view::View;
use super::{Figure, Plot};
use crate::profile::Why;

/// Longest side of a map, pixels.
const SIDE: f64 = 320.0;

/// The figure; `None` if nothing was explained.
pub fn figure<'a>(view: &'a View<'a>) -> Option<Figure<'a>> {
    let all = &view.results.why;
    let several = all.len() > 1;
    let plot = |(i, why): (usize, &'a Why)| {
        let name = if several { format!("why-{}", i + 1) } else { "why".to_owned() };
        let size = crate::vit::Size { height: why.height, width: why.width };
        let title = format!("{}, {}, {size} px", why.model, why.backend);
        Plot::new(name, title, move |scene, heading| draw(why, scene, heading))
    };
    let plots: Vec<Plot> = all.iter().enumerate().map(plot).collect();
    let images = all.iter().map(|why| why.images).max().unwrap_or(0);
    (!plots.is_empty()).then(|| Figure {
        title: "Where the answers come from",
        caption: format!(
            "The logit of the answer is a sum with a term for each patch token, one for the CLS token, and a bias; of more than \
             two classes, less the mean of the other logits. A square's area is the mean magnitude of the term at its place, \
             over {images} held-out images: no picture is shown. Large squares at the border, or where a scanner writes, are a \
             reason to look. A token has seen the whole picture: this is no cause. predict --explain draws the terms of one \
             picture over it."
        ),
        plots,
        panels: true,
        list: Vec::new(),
    })
}

fn draw(why: &Why, scene: &mut Scene, heading: &Heading) {
    let top = heading.draw(scene) + 8.0;
    let cell = (SIDE.min(scene.width - 32.0)) / why.rows.max(why.cols).max(1) as f64;
    let (left, largest) = (16.0, why.cells.iter().copied().filter(|v| v.is_finite()).fold(0.0, f64::max));
    let (width, height) = (cell * why.cols as f64, cell * why.rows as f64);
    scene.fill(Rect { x: left, y: top, w: width, h: height }, Paint::Grid, "");
    for (place, &value) in why.cells.iter().enumerate() {
        if !(value > 0.0 && value.is_finite()) {
            continue;
        }
        let (row, column) = (place / why.cols, place % why.cols);
        let side = cell * (value / largest).sqrt();
        let at = |n: usize| n as f64 * cell + (cell - side) / 2.0;
        let rect = Rect { x: left + at(column), y: top + at(row), w: side, h: side };
        let tip = format!("row {}, column {}: {}", row + 1, column + 1, text::short(value));
        scene.fill(rect, Paint::Series(0), &tip);
    }
    let lines = [
        format!("largest square {}", text::short(largest)),
        format!("all patches {}, CLS {}", text::short(why.patches), text::short(why.cls)),
    ];
    for (n, line) in lines.iter().enumerate() {
        let at = (left, top + height + 20.0 + 17.0 * n as f64);
        scene.text(at, line, Anchor::Start, 12.0, Paint::Muted);
    }
    scene.height = top + height + 46.0;
}
