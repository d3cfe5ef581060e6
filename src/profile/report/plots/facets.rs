//! Curves in as many plots as they need to be told apart.

use super::super::chart::{Heading, Mark, Paint, Scene, Stroke};
use super::super::view::{View, mark};
use super::Plot;
use crate::profile::{Row, distinct};

/// Curves of one plot.
const MOST: usize = 12;

/// Plots side by side before those of several groups are merged.
const PLOTS: usize = 24;

/// A group of things in one plot.
pub struct Facet<T> {
    /// What they have in common; empty where all are in one plot.
    pub name: String,
    /// The things.
    pub curves: Vec<T>,
}

/// Divides `curves` into plots of at most [`MOST`]: one, else one for each name that `by` gives them (two of a name that has
/// more).
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

/// The plots of `facets`: one called `name`, or several, numbered, each with what its curves have in common in the title.
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

/// How a curve is drawn.
#[derive(Clone, Copy)]
pub struct Style {
    /// Its line.
    pub stroke: Stroke,
    /// Its points.
    pub mark: Mark,
}

impl Style {
    /// Colour and dash by place; together they are all different up to 24.
    pub fn of(colour: usize, dash: usize, row: &Row) -> Style {
        Style { stroke: Stroke::dashed(Paint::Series(colour), 2.0, dash), mark: mark(row) }
    }

    /// Of a curve that is about one model and configuration: colours tell models apart where a plot has several, else
    /// configurations.
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
