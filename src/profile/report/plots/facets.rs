//! Divides curves into as many plots as needed to keep them distinguishable.

use super::super::chart::{Heading, Mark, Paint, Scene, Stroke};
use super::super::view::{View, mark};
use super::Plot;
use crate::profile::{Row, distinct};

/// Maximum number of curves per plot.
const MOST: usize = 12;

/// Maximum number of groups with their own plots; more groups are merged into shared plots.
const PLOTS: usize = 24;

/// The curves of one plot.
pub struct Facet<T> {
    /// What the curves have in common; empty if there is only one plot.
    pub name: String,
    /// The curves.
    pub curves: Vec<T>,
}

/// Divides `curves` into plots of at most [`MOST`]: a single plot if they fit, otherwise at least one for each name
/// that `by` returns, or shared ones if there are more than [`PLOTS`] names.
pub fn divide<T>(curves: Vec<T>, by: impl Fn(&T) -> String) -> Vec<Facet<T>> {
    if curves.len() <= MOST {
        return vec![Facet { name: String::new(), curves }];
    }
    let names = distinct(curves.iter().map(&by));
    let merged = names.len() > PLOTS;
    let mut facets: Vec<Facet<T>> = Vec::new();
    let mut rest = curves;
    for name in names {
        let (group, others): (Vec<T>, Vec<T>) = rest.into_iter().partition(|curve| by(curve) == name);
        rest = others;
        for (i, curve) in group.into_iter().enumerate() {
            match facets.last_mut() {
                Some(last) if last.curves.len() < MOST && (merged || i > 0) => {
                    if last.name != name && !last.name.ends_with('…') {
                        last.name.push_str(", …");
                    }
                    last.curves.push(curve);
                }
                _ => facets.push(Facet { name: name.clone(), curves: vec![curve] }),
            }
        }
    }
    facets
}

/// The plots of `facets`: one called `name`, or several numbered ones, with the facet's name in the title.
pub fn plots<'a, T: 'a>(
    facets: Vec<Facet<T>>,
    name: &str,
    title: &str,
    draw: impl Fn(&Facet<T>, &mut Scene, &Heading) + Copy + 'a,
) -> Vec<Plot<'a>> {
    let several = facets.len() > 1;
    let plot = |(i, facet): (usize, Facet<T>)| {
        let (name, title) = match several {
            true => (format!("{name}-{}", i + 1), format!("{title}, {}", facet.name)),
            false => (name.to_owned(), title.to_owned()),
        };
        Plot::new(name, title, move |scene, heading| draw(&facet, scene, heading))
    };
    facets.into_iter().enumerate().map(plot).collect()
}

/// Line and mark of a curve.
#[derive(Clone, Copy)]
pub struct Style {
    /// Line.
    pub stroke: Stroke,
    /// Mark of its points.
    pub mark: Mark,
}

impl Style {
    /// Style with the colour and dash of these indices. With the same index for both, the first 24 styles are distinct.
    pub fn of(colour: usize, dash: usize, row: &Row) -> Style {
        Style { stroke: Stroke::dashed(Paint::Series(colour), 2.0, dash), mark: mark(row) }
    }

    /// Style of a curve for one model and configuration: the colour stands for the model if the plot has several
    /// models, otherwise for the configuration.
    pub fn of_config(view: &View, row: &Row, several_models: bool) -> Style {
        let config = view.config(row);
        Style::of(if several_models { view.model(row) } else { config }, config, row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_holds_no_more_than_can_be_told_apart() {
        let divide = |n: usize, groups: usize| divide((0..n).collect(), |i| format!("{}", i % groups));
        assert_eq!(divide(12, 3).len(), 1);
        assert_eq!(divide(13, 3).len(), 3);
        assert_eq!(divide(60, 3).iter().map(|f| f.curves.len()).collect::<Vec<_>>(), [12, 8, 12, 8, 12, 8]);
        assert_eq!(divide(60, 60).len(), 5);
        assert_eq!(divide(0, 1)[0].curves.len(), 0);
    }
}
