//! Inner and outer contours of masks: asked for, measured, and printed.

use std::io::{self, Write};

use microraptor::heads::{ContourHeld, ContourReport};
use microraptor::input::{INNER, LabelMap, OUTSIDE};
use microraptor::pipeline::Pipeline;

use super::loaded::Loaded;

/// Asks `pipeline` for the contours of the masks of its `heads`, as these were opened.
pub fn ask(pipeline: &mut Pipeline, heads: &[Loaded]) {
    for (number, loaded) in heads.iter().enumerate() {
        pipeline.contour(number, loaded.contours);
    }
}

/// The inner and the outer region of `zones`, each as a mask of two classes.
pub fn regions(zones: &LabelMap) -> [LabelMap; 2] {
    let of = |test: fn(u8) -> bool| LabelMap {
        labels: zones.labels.iter().map(|&zone| u8::from(test(zone))).collect(),
        ..*zones
    };
    [of(|zone| zone == INNER), of(|zone| zone != OUTSIDE)]
}

/// Prints what the contours are worth.
pub fn print(report: &ContourReport, scores: usize, out: &mut impl Write) -> io::Result<()> {
    let ContourReport { rule, images, with_foreground, outer_region, inner_region, both } = report;
    let percent = 100.0 * rule.share;
    writeln!(
        out,
        "\ncontours at coverage {}, by {scores} images that were set aside ({images} images here, {with_foreground} with \
         foreground):",
        rule.coverage
    )?;
    print_held("outer contour", &format!("holds {percent}% of the foreground"), outer_region, *images, out)?;
    print_held("inner contour", &format!("is {percent}% foreground"), inner_region, *images, out)?;
    let p = rule.coverage;
    writeln!(
        out,
        "  both               of {both} images; each is guaranteed {p} at least on average, both together {:.3} (for images \
         exchangeable with those set aside)",
        (2.0 * p - 1.0).max(0.0)
    )
}

fn print_held(
    name: &str,
    says: &str,
    held: &ContourHeld,
    images: u64,
    out: &mut impl Write,
) -> io::Result<()> {
    let area = held.area_ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    writeln!(
        out,
        "  {name:<18} {says}: in {} of {images} images, {:.3} [{:.3}, {:.3}] (binomial); {area} times the area of the masks, \
         empty in {}",
        held.held, held.measured, held.interval.low, held.interval.high, held.empty
    )
}
