//! The plots of a report.

mod bars;
mod cdf;
mod facets;
mod latency;
mod operators;
mod pareto;
mod resolution;
mod stages;
mod whiskers;

use super::chart::{Heading, Scene};
use super::view::View;

/// One plot: drawn at any width, since a phone and a page need different ones.
pub struct Plot<'a> {
    /// Name of its files, without the ending.
    pub name: String,
    /// What it shows.
    pub title: String,
    draw: Draw<'a>,
}

/// Draws into a scene of a width (pixels) under a heading.
type Draw<'a> = Box<dyn Fn(&mut Scene, &Heading) + 'a>;

/// Plots that belong together.
pub struct Figure<'a> {
    /// Their heading.
    pub title: &'static str,
    /// How to read them.
    pub caption: String,
    /// The plots.
    pub plots: Vec<Plot<'a>>,
    /// Whether they are small ones, side by side.
    pub panels: bool,
    /// Numbered lines below them.
    pub list: Vec<String>,
}

impl<'a> Plot<'a> {
    fn new(name: String, title: String, draw: impl Fn(&mut Scene, &Heading) + 'a) -> Plot<'a> {
        Plot { name, title, draw: Box::new(draw) }
    }

    /// Draws it.
    pub fn scene(&self, width: f64, heading: &Heading) -> Scene {
        let description = self.title.clone();
        let mut scene = Scene { width, height: 0.0, description, items: Vec::new() };
        (self.draw)(&mut scene, heading);
        scene
    }
}

/// A plot is laid out for a phone below this width, pixels.
const NARROW: f64 = 600.0;

/// All figures that there are numbers for.
pub fn figures<'a>(view: &'a View<'a>) -> Vec<Figure<'a>> {
    let all = [
        pareto::figure(view),
        resolution::figure(view),
        latency::figure(view),
        cdf::figure(view),
        operators::figure(view),
        stages::figure(view),
    ];
    all.into_iter().flatten().collect()
}
