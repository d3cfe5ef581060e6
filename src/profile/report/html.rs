//! The report as an HTML page. It is also well-formed XML, so that tests can parse it, and contains no scripts.

use std::fmt::Write;

use super::chart::{Heading, Scene, Theme, css, svg};
use super::plots::{Figure, Plot};
use super::summary::summary;
use super::tables::{self, Mood, Table};
use super::text::{count, date, xml};
use super::view::View;
use super::{ENDINGS, place};

/// Widths of a plot in pixels: on a wide page, on a phone, and as a panel beside others.
const WIDE: f64 = 860.0;
const PHONE: f64 = 380.0;
const PANEL: f64 = 420.0;

/// The complete page.
pub fn page(view: &View, figures: &[Figure]) -> String {
    let mut out = head(&format!("Latency and accuracy: {}", place(view)), "");
    opening(view, &mut out);
    figures.iter().for_each(|figure| write_figure(figure, &mut out));
    write_table(&tables::rows(view), &mut out);
    tables::measured(view).iter().for_each(|table| write_table(table, &mut out));
    out.push_str("<h2>Environment</h2>\n");
    tables::environment(view).iter().for_each(|table| write_facts(table, &mut out));
    footer(figures, &mut out);
    out.push_str("</body>\n</html>\n");
    out
}

/// The beginning of a page up to `<body>`, with the report's style sheet followed by `style`.
pub fn head(title: &str, style: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n\
         <meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{}</title>\n<style>\n\
         :root{{color-scheme:light dark;{}--shade:#f4f6f8;}}\n\
         @media (prefers-color-scheme:dark){{:root{{{}--shade:#1d2329;}}}}\n\
         @media print{{:root{{color-scheme:light;{}--shade:#f4f6f8;}}}}\n{}{style}</style>\n</head>\n<body>\n",
        xml(title),
        css(false),
        css(true),
        css(false),
        include_str!("style.css")
    )
}

/// The figure of accuracy against input size; `None` if no accuracy was measured.
pub fn resolution(view: &View, figures: &[Figure]) -> Option<String> {
    view.metric?;
    let is_it = |figure: &&Figure| figure.plots.iter().any(|plot| plot.name.starts_with("resolution"));
    let mut out = String::new();
    write_figure(figures.iter().find(is_it)?, &mut out);
    Some(out)
}

fn opening(view: &View, out: &mut String) {
    let e = &view.results.environment;
    let _ = write!(
        out,
        "<h1>Latency and accuracy on {}</h1>\n<p class=\"sub\"><time datetime=\"{}\">{}</time>, microraptor {}, {}</p>\n",
        xml(&e.cpu),
        date(e.unix_time),
        date(e.unix_time),
        xml(e.version),
        xml(&count(view.rows().len(), "row"))
    );
    let summary = summary(view);
    for warning in &summary.warnings {
        let _ = writeln!(out, "<p class=\"warning\" role=\"note\">{}</p>", xml(warning));
    }
    if !summary.sentences.is_empty() {
        out.push_str("<ul class=\"summary\">\n");
        for sentence in &summary.sentences {
            let _ = writeln!(out, "<li><b>{}:</b> {}</li>", xml(&sentence.about), xml(&sentence.text));
        }
        out.push_str("</ul>\n");
    }
}

fn write_figure(figure: &Figure, out: &mut String) {
    let _ =
        writeln!(out, "<h2>{}</h2>\n<p class=\"caption\">{}</p>", xml(figure.title), xml(&figure.caption));
    out.push_str(if figure.panels { "<div class=\"panels\">\n" } else { "<div class=\"whole\">\n" });
    for plot in &figure.plots {
        out.push_str("<figure>\n");
        if figure.plots.len() > 1 {
            let _ = writeln!(out, "<h3>{}</h3>", xml(&plot.title));
        }
        write_plot(plot, figure.panels, out);
        out.push_str("</figure>\n");
    }
    out.push_str("</div>\n");
    if !figure.list.is_empty() {
        out.push_str("<ol class=\"front\">\n");
        figure.list.iter().for_each(|line| {
            let _ = writeln!(out, "<li>{}</li>", xml(line));
        });
        out.push_str("</ol>\n");
    }
}

/// Writes a panel at one width, and any other plot at two widths, of which the style sheet shows one.
fn write_plot(plot: &Plot, panel: bool, out: &mut String) {
    let drawn = |width: f64| -> Scene { plot.scene(width, &Heading::default()) };
    if panel {
        out.push_str(&svg(&drawn(PANEL), Theme::Page));
        return;
    }
    for (class, width) in [("wide", WIDE), ("narrow", PHONE)] {
        let _ = writeln!(out, "<div class=\"{class}\">{}</div>", svg(&drawn(width), Theme::Page));
    }
}

fn write_table(table: &Table, out: &mut String) {
    let title = xml(table.title);
    let _ = match table.folded {
        true => writeln!(out, "<details><summary>{title} ({})</summary>", count(table.rows.len(), "line")),
        false => writeln!(out, "<h2>{title}</h2>"),
    };
    if !table.caption.is_empty() {
        let _ = writeln!(out, "<p class=\"caption\">{}</p>", xml(&table.caption));
    }
    write_cells(table, "", out);
    if table.folded {
        out.push_str("</details>\n");
    }
}

fn write_facts(table: &Table, out: &mut String) {
    let _ = writeln!(out, "<h3>{}</h3>", xml(table.title));
    if !table.caption.is_empty() {
        let _ = writeln!(out, "<p class=\"caption\">{}</p>", xml(&table.caption));
    }
    write_cells(table, " class=\"facts\"", out);
}

fn write_cells(table: &Table, class: &str, out: &mut String) {
    let _ = writeln!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table{class}>",
        xml(table.title)
    );
    if table.head.iter().any(|name| !name.is_empty()) {
        out.push_str("<thead><tr>");
        for (column, name) in table.head.iter().enumerate() {
            let class = if table.is_left(column) { " class=\"l\"" } else { "" };
            let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", xml(name));
        }
        out.push_str("</tr></thead>\n");
    }
    out.push_str("<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let mut classes = Vec::new();
            if table.is_left(column) {
                classes.push("l");
                // Minimum widths for long text: a table too wide for the page would otherwise wrap it letter by letter.
                classes.extend(match cell.text.chars().count() {
                    0..=16 => Some("n"),
                    17..=28 => Some("t"),
                    29..=120 => Some("w"),
                    _ => Some("v"),
                });
            }
            classes.extend(match cell.mood {
                Mood::Plain => None,
                Mood::Good => Some("good"),
                Mood::Bad => Some("bad"),
            });
            let class =
                if classes.is_empty() { String::new() } else { format!(" class=\"{}\"", classes.join(" ")) };
            let _ = write!(out, "<td{class}>{}</td>", xml(&cell.text));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn footer(figures: &[Figure], out: &mut String) {
    let plots = figures.iter().map(|figure| figure.plots.len()).sum::<usize>();
    let _ = writeln!(out, "<footer><p>{}</p></footer>", xml(&beside(plots)));
}

/// Text that names the other files in the report's folder.
pub fn beside(plots: usize) -> String {
    let mut text = "All numbers: results.json (with each timed run) and results.csv.".to_owned();
    if plots > 0 {
        let endings = ENDINGS.iter().map(|ending| ending.to_uppercase()).collect::<Vec<_>>().join(" and ");
        text.push_str(&format!(" Each plot lies beside this file as {endings}."));
    }
    if !ENDINGS.contains(&"png") {
        text.push_str(" There are no PNG files: this build of microraptor is without the feature plots.");
    }
    text
}
