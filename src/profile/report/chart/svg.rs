//! Writes a scene as SVG.

use std::fmt::Write;

use super::super::text::xml;
use super::{Anchor, Item, Mark, Paint, Scene, Stroke, Theme};

/// Dash patterns, in multiples of the line's width (at least 1 pixel).
const DASHES: [&str; 6] = ["", "6 3", "2 2", "8 3 2 3", "12 4", "4 2 1 2 1 2"];

/// Writes a scene as SVG: stand-alone with a white background, or for a page, whose colours and font it uses.
pub fn svg(scene: &Scene, theme: Theme) -> String {
    let (w, h) = (number(scene.width), number(scene.height));
    let mut out = String::new();
    let (font, size) = match theme {
        Theme::Page => ("", String::new()),
        Theme::Alone => (
            " font-family=\"Noto Sans, system-ui, Segoe UI, Roboto, Helvetica, Arial, sans-serif\"",
            format!(" width=\"{w}\" height=\"{h}\""),
        ),
    };
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\"{size}{font} role=\"img\" \
         aria-label=\"{}\">",
        xml(&scene.description)
    );
    if theme == Theme::Alone {
        let _ = write!(out, "<rect width=\"{w}\" height=\"{h}\" fill=\"{}\"/>", Paint::Background.of(theme));
    }
    for item in &scene.items {
        out.push('\n');
        write_item(item, theme, &mut out);
    }
    out.push_str("\n</svg>\n");
    out
}

fn write_item(item: &Item, theme: Theme, out: &mut String) {
    match item {
        Item::Line { points, stroke } => write_line(points, stroke, theme, out),
        Item::Box { rect, fill, tip } => {
            let [x, y, w, h] = [rect.x, rect.y, rect.w.max(0.0), rect.h.max(0.0)].map(number);
            let attributes =
                format!("x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" fill=\"{}\"", fill.of(theme));
            write_tipped("rect", &attributes, tip, out);
        }
        Item::Point { at, mark, radius, paint, hollow, tip } => {
            let (fill, edge) =
                if *hollow { (Paint::Background, *paint) } else { (*paint, Paint::Background) };
            let width = if *hollow { 1.75 } else { 1.0 };
            let style =
                format!("fill=\"{}\" stroke=\"{}\" stroke-width=\"{width}\"", fill.of(theme), edge.of(theme));
            let (element, place) = outline(*mark, *at, *radius);
            write_tipped(element, &format!("{place} {style}"), tip, out);
        }
        Item::Text { .. } => write_text(item, theme, out),
    }
}

fn write_tipped(element: &str, attributes: &str, tip: &str, out: &mut String) {
    let _ = match tip {
        "" => write!(out, "<{element} {attributes}/>"),
        tip => write!(out, "<{element} {attributes}><title>{}</title></{element}>", xml(tip)),
    };
}

fn write_line(points: &[(f64, f64)], stroke: &Stroke, theme: Theme, out: &mut String) {
    let mut d = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let _ = write!(d, "{}{} {}", if i == 0 { 'M' } else { 'L' }, number(*x), number(*y));
    }
    let mut more = match DASHES[stroke.dash % DASHES.len()] {
        "" => String::new(),
        dashes => {
            let scaled: Vec<String> = dashes
                .split(' ')
                .map(|n| number(n.parse::<f64>().unwrap_or(1.0) * stroke.width.max(1.0)))
                .collect();
            format!(" stroke-dasharray=\"{}\"", scaled.join(" "))
        }
    };
    if stroke.faint {
        more.push_str(" stroke-opacity=\"0.45\"");
    }
    let _ = write!(
        out,
        "<path d=\"{d}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{more}/>",
        stroke.paint.of(theme),
        number(stroke.width)
    );
}

fn write_text(item: &Item, theme: Theme, out: &mut String) {
    let Item::Text { at, text, anchor, size, bold, paint, upright, halo } = item else { return };
    let (x, y) = (number(at.0), number(at.1));
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let mut more = String::new();
    if *bold {
        more.push_str(" font-weight=\"bold\"");
    }
    if *upright {
        let _ = write!(more, " transform=\"rotate(-90 {x} {y})\"");
    }
    if *halo {
        let page = Paint::Background.of(theme);
        let _ = write!(
            more,
            " stroke=\"{page}\" stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\""
        );
    }
    let _ = write!(
        out,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-size=\"{}\" fill=\"{}\"{more}>{}</text>",
        number(*size),
        paint.of(theme),
        xml(text)
    );
}

/// Element of a mark, and the attributes for its position and size. All marks have about the same area.
fn outline(mark: Mark, (x, y): (f64, f64), r: f64) -> (&'static str, String) {
    let polygon = |corners: &[(f64, f64)]| {
        let text: Vec<String> =
            corners.iter().map(|(dx, dy)| format!("{},{}", number(x + dx * r), number(y + dy * r))).collect();
        ("polygon", format!("points=\"{}\"", text.join(" ")))
    };
    match mark {
        Mark::Circle => ("circle", format!("cx=\"{}\" cy=\"{}\" r=\"{}\"", number(x), number(y), number(r))),
        Mark::Square => polygon(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
        Mark::Triangle => polygon(&[(0.0, -1.25), (1.15, 0.85), (-1.15, 0.85)]),
        Mark::Diamond => polygon(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]),
    }
}

/// A length with at most two decimals; 0 if not finite, so that the SVG is always valid.
fn number(value: f64) -> String {
    let rounded = (value * 100.0).round() / 100.0;
    if rounded.is_finite() { (rounded + 0.0).to_string() } else { "0".to_owned() }
}
