//! The plots of a report.

mod bars;
mod cdf;
mod facets;
mod latency;
mod operators;
mod pareto;
pub mod reliability;
mod resolution;
mod stages;
mod whiskers;
mod why;

use super::chart::{Heading, Scene};
use super::view::View;

/// One plot. It can be drawn at any width, since a phone and a wide page need different layouts.
pub struct Plot<'a> {
    /// Name of its files, without the extension.
    pub name: String,
    /// Title.
    pub title: String,
    draw: Draw<'a>,
}

/// Draws a plot into a scene, below a heading.
type Draw<'a> = Box<dyn Fn(&mut Scene, &Heading) + 'a>;

/// A group of related plots.
pub struct Figure<'a> {
    /// Heading.
    pub title: &'static str,
    /// Explanation of the plots.
    pub caption: String,
    /// The plots.
    pub plots: Vec<Plot<'a>>,
    /// Whether the plots are small panels, side by side.
    pub panels: bool,
    /// Numbered lines below the plots.
    pub list: Vec<String>,
}

impl<'a> Plot<'a> {
    fn new(name: String, title: String, draw: impl Fn(&mut Scene, &Heading) + 'a) -> Plot<'a> {
        Plot { name, title, draw: Box::new(draw) }
    }

    /// Draws the plot at this width, in pixels.
    pub fn scene(&self, width: f64, heading: &Heading) -> Scene {
        let description = self.title.clone();
        let mut scene = Scene { width, height: 0.0, description, items: Vec::new() };
        (self.draw)(&mut scene, heading);
        scene
    }
}

/// Below this width, in pixels, a plot is laid out for a phone.
const NARROW: f64 = 600.0;

/// All figures for which there is data.
pub fn figures<'a>(view: &'a View<'a>) -> Vec<Figure<'a>> {
    let all = [
        pareto::figure(view),
        resolution::figure(view),
        latency::figure(view),
        cdf::figure(view),
        operators::figure(view),
        stages::figure(view),
        why::figure(view),
    ];
    all.into_iter().flatten().collect()
}
