//! Report of a profile: an HTML page and Markdown for people, plots for papers, JSON and CSV for programs.
//!
//! [`render`] creates all files in memory. They load no external resources: the page embeds its style sheet and plots.
//! The output is deterministic: the same results give the same bytes.

mod chart;
mod csv;
mod html;
mod markdown;
mod plots;
mod summary;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod view;

pub use self::html::head;
pub use self::text::xml;

use self::chart::{Heading, Theme, svg};
use self::plots::{Figure, Plot, figures};
use self::view::View;
use super::Results;
use crate::heads::ReliabilityBin;

/// Name and content of a file.
pub type ReportFile = (String, Vec<u8>);

/// Width of a stand-alone plot, pixels; its PNG is twice as wide.
const ALONE: f64 = 840.0;

/// All files of a report: `report.html`, `report.md`, `results.json`, `results.csv`, and each plot as `NAME.svg` and,
/// with the feature `plots`, `NAME.png`. File names consist of lower-case letters, digits, hyphens and one dot.
pub fn render(results: &Results) -> Vec<ReportFile> {
    files(results, true)
}

/// All files, with or without the PNG files.
fn files(results: &Results, with_pictures: bool) -> Vec<ReportFile> {
    let view = View::new(results);
    let figures = figures(&view);
    let mut json = serde_json::to_vec_pretty(results).expect("results are numbers, text and lists");
    json.push(b'\n');
    let mut files = vec![
        ("report.html".to_owned(), html::page(&view, &figures).into_bytes()),
        ("report.md".to_owned(), markdown::document(&view, &figures).into_bytes()),
        ("results.json".to_owned(), json),
        ("results.csv".to_owned(), csv::csv(results)),
    ];
    files.extend(plot_files(&view, &figures, with_pictures));
    files
}

/// HTML fragment with accuracy against input size, for a page that begins with [`head`]; `None` if no accuracy was
/// measured.
pub fn resolution(results: &Results) -> Option<String> {
    let view = View::new(results);
    html::resolution(&view, &figures(&view))
}

/// A reliability diagram of these curves, by their names, as stand-alone SVG.
pub fn reliability(title: &str, subtitle: &str, curves: &[(String, Vec<ReliabilityBin>)]) -> String {
    let heading = Heading { title: title.to_owned(), subtitle: subtitle.to_owned() };
    svg(&plots::reliability::draw(&heading, curves), Theme::Alone)
}

/// File extensions of the formats in which this build writes each plot.
const ENDINGS: &[&str] = if cfg!(feature = "plots") { &["svg", "png"] } else { &["svg"] };

/// Machine, date and program version of the measurement, in one line.
fn place(view: &View) -> String {
    let e = &view.results.environment;
    format!("{}, {}, microraptor {}", e.cpu, text::date(e.unix_time), e.version)
}

fn plot_files(view: &View, figures: &[Figure], with_pictures: bool) -> Vec<ReportFile> {
    let draw = |plot: &Plot| {
        let heading = Heading { title: plot.title.clone(), subtitle: place(view) };
        (plot.name.clone(), svg(&plot.scene(ALONE, &heading), Theme::Alone))
    };
    let drawn: Vec<(String, String)> = figures.iter().flat_map(|figure| &figure.plots).map(draw).collect();
    let mut files = if with_pictures { pictures(&drawn) } else { Vec::new() };
    files.extend(drawn.into_iter().map(|(name, svg)| (format!("{name}.svg"), svg.into_bytes())));
    files
}

/// Converts the plots to PNG.
#[cfg(feature = "plots")]
fn pictures(drawn: &[(String, String)]) -> Vec<ReportFile> {
    use rayon::prelude::*;
    let picture = |(name, svg): &(String, String)| Some((format!("{name}.png"), chart::png(svg)?));
    crate::parallel::in_pool(|| drawn.par_iter().filter_map(picture).collect())
}

/// This build does not write PNG files.
#[cfg(not(feature = "plots"))]
fn pictures(_drawn: &[(String, String)]) -> Vec<ReportFile> {
    Vec::new()
}
