//! Tests that reports are well-formed and complete for results of every shape.

mod fixtures;

use std::collections::BTreeMap;

use fixtures::{FULL, HOSTILE, Sweep, full, sweep};
use roxmltree::{Document, ParsingOptions};

use super::render;
use crate::profile::{Accuracy, Results};

type Files = BTreeMap<String, Vec<u8>>;

const ONE: Sweep<'_> = Sweep {
    models: &["deit-tiny"],
    sizes: &[(224, 224)],
    kinds: &["int8"],
    threads: &[1],
    metric: Some("AUC"),
    details: true,
};

fn no_rows() -> Results {
    let mut results = full();
    results.rows.clear();
    results.tests.clear();
    results.decision = None;
    results
}

/// Results of every shape, with their names.
fn shapes() -> Vec<(&'static str, Results)> {
    let many: Vec<String> = (0..60).map(|i| format!("model-{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = ["model with a very long name ".repeat(12), "x".repeat(300)];
    let long = [long[0].as_str(), long[1].as_str()];
    let sizes: Vec<(usize, usize)> = (4..34).map(|i| (16 * i, 16 * i)).collect();
    let peers = &["int8", "f32", "peer onnxruntime", "peer a b"];
    let mut equal = sweep(&Sweep { kinds: &["int8", "f32"], ..ONE });
    for row in &mut equal.rows {
        row.latency = Default::default();
        row.runs_ms = vec![2.0; 9];
        row.accuracy = Some(Accuracy {
            metric: "accuracy".into(),
            value: 1.0,
            low: Some(1.0),
            high: Some(1.0),
            images: 1,
        });
        row.operators.iter_mut().for_each(|op| (op.share, op.ms) = (0.0, 0.0));
    }
    let mut not_finite = full();
    for row in &mut not_finite.rows {
        row.latency.p90_ms = f64::INFINITY;
        row.latency.std_ms = f64::NAN;
        row.runs_ms[3] = f64::NAN;
        row.operators[0].share = f64::NAN;
        row.accuracy.as_mut().unwrap().low = Some(f64::NEG_INFINITY);
    }
    not_finite.rows[0].accuracy.as_mut().unwrap().value = f64::NAN;
    not_finite.rows[1].latency.p50_ms = f64::NAN;
    let mut invalid = full();
    invalid.rows.iter_mut().for_each(|row| row.verdict.valid = false);
    vec![
        ("full", full()),
        ("one row", sweep(&ONE)),
        ("no accuracy", sweep(&Sweep { metric: None, ..FULL })),
        ("no rows", no_rows()),
        ("60 models", sweep(&Sweep { models: &many, details: false, ..ONE })),
        ("60 sizes", sweep(&Sweep { sizes: &sizes, kinds: &["int8", "f32"], ..ONE })),
        ("Dice", sweep(&Sweep { metric: Some("Dice"), sizes: &[(128, 128), (48, 80), (224, 320)], ..ONE })),
        ("peers", sweep(&Sweep { kinds: peers, ..FULL })),
        (
            "hostile",
            sweep(&Sweep {
                models: &HOSTILE,
                kinds: &["int8", "<kind> \"]]>\""],
                metric: Some("<b>&"),
                ..FULL
            }),
        ),
        ("long", sweep(&Sweep { models: &long, ..FULL })),
        ("untrained", sweep(&Sweep { models: &["untrained:deit-tiny"], ..FULL })),
        ("equal", equal),
        ("not finite", not_finite),
        ("all invalid", invalid),
    ]
}

/// All files except the PNG files, which take most of the time.
fn files(results: &Results) -> Files {
    let list = super::files(results, false);
    let count = list.len();
    let files: Files = list.into_iter().collect();
    assert_eq!(files.len(), count, "a name comes twice");
    files
}

fn text<'a>(files: &'a Files, name: &str) -> &'a str {
    std::str::from_utf8(&files[name]).unwrap()
}

/// Parses XML; the DOCTYPE of HTML, which declares no entities, is accepted.
fn parse(text: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(text, options)
        .unwrap_or_else(|e| panic!("{e}\n{}", &text[..text.len().min(600)]))
}

#[test]
fn every_shape_gives_whole_files() {
    for (shape, results) in shapes() {
        let files = files(&results);
        for (name, bytes) in &files {
            let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            assert!(name.chars().all(safe) && name.matches('.').count() == 1, "{shape}: {name}");
            let text = std::str::from_utf8(bytes).unwrap();
            assert!(!text.is_empty());
            let words = text.split(|c: char| !c.is_alphanumeric());
            assert!(!words.clone().any(|word| ["NaN", "inf", "Infinity"].contains(&word)), "{shape}: {name}");
            if name.ends_with(".svg") || name.ends_with(".html") {
                let document = parse(text);
                assert!(!document.descendants().any(|node| node.has_tag_name("script")), "{shape}: {name}");
                inside(&document, shape, name);
            }
        }
        serde_json::from_slice::<serde_json::Value>(&files["results.json"]).unwrap();
        let mut csv = csv::Reader::from_reader(files["results.csv"].as_slice());
        assert!(csv.headers().unwrap().len() > 25);
        assert_eq!(csv.records().map(Result::unwrap).count(), results.rows.len(), "{shape}");
    }
}

/// Checks that every element with a position is inside its SVG.
fn inside(document: &Document, shape: &str, name: &str) {
    for svg in document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "svg")))
    {
        let view: Vec<f64> =
            svg.attribute("viewBox").unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
        assert!(view[2] > 100.0 && view[3] > 100.0, "{shape}: {name}: {view:?}");
        for node in svg.descendants() {
            for (attribute, most) in [("x", view[2]), ("cx", view[2]), ("y", view[3]), ("cy", view[3])] {
                let Some(value) = node.attribute(attribute) else { continue };
                let value: f64 = value.parse().unwrap();
                assert!((0.0..=most).contains(&value), "{shape}: {name}: {attribute} {value} of {most}");
            }
        }
        for text in svg.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")))
        {
            let width = super::chart::text_width(text.text().unwrap_or(""), 11.0);
            let x: f64 = text.attribute("x").unwrap().parse().unwrap();
            let right = match (text.attribute("text-anchor"), text.attribute("transform")) {
                (_, Some(_)) => x,
                (Some("start"), _) => x + width,
                (Some("middle"), _) => x + width / 2.0,
                _ => x,
            };
            assert!(
                right <= view[2] + 1.0,
                "{shape}: {name}: {:?} ends at {right} of {}",
                text.text(),
                view[2]
            );
        }
    }
}

#[test]
fn every_plot_has_a_picture_where_the_build_can_make_one() {
    for (shape, results) in shapes().into_iter().filter(|(shape, _)| ["one row", "hostile"].contains(shape)) {
        let files: Files = render(&results).into_iter().collect();
        let of = |ending: &str| files.keys().filter(|name| name.ends_with(ending)).count();
        assert_eq!(of(".png"), if cfg!(feature = "plots") { of(".svg") } else { 0 }, "{shape}");
        for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".png")) {
            let picture = image::load_from_memory(bytes).unwrap().to_luma8();
            assert!(picture.width() >= 1400, "{shape}: {name}");
            // Text was rendered: the rows of the title, which contain nothing else, have dark pixels.
            assert!(
                picture.enumerate_pixels().any(|(_, y, pixel)| y < 56 && pixel[0] < 80),
                "{shape}: {name}"
            );
        }
    }
}

#[test]
fn the_same_results_give_the_same_bytes() {
    assert!(files(&full()) == files(&full()));
    assert!(render(&sweep(&ONE)) == render(&sweep(&ONE)));
}

#[test]
fn the_page_says_what_it_must() {
    let files = files(&full());
    let page = text(&files, "report.html");
    for wanted in [
        "Orange Pi 5 Plus",
        "2026-11-25T19:47:28Z",
        "Most accurate of the VALID rows:",
        "Fastest of the VALID rows:",
        "int8 against f32:</b> over 29 pairs of rows alike in all else, int8 is 2.",
        "2 of 90 rows are INVALID",
        "other processes took 31% of the cores",
        "MultiStream",
        "DeLong",
        "&lt; 0.001",
        "ina3221 VDD_IN",
        "--models a b.safetensors",
        "governor ondemand",
        "5-fold cross-validation",
        "prefers-color-scheme:dark",
        "width=device-width",
        "L3 3072 KiB",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    let shas = [format!("{:064x}", 0x00c0_ffee_u64), "ab".repeat(32)];
    assert!(shas.iter().all(|sha| page.contains(sha)));
    assert_eq!(page.contains("without the feature plots"), !cfg!(feature = "plots"));
    assert!(!page.contains("UNTRAINED") && !page.contains("src=") && !page.contains("@import"));
    // The only URLs are XML namespaces: nothing is loaded.
    assert!(page.match_indices("http").all(|(i, _)| page[i..].starts_with("http://www.w3.org/")));
    let markdown = text(&files, "report.md");
    assert!(markdown.contains("## All rows") && markdown.contains("| DeLong |"));
}

#[test]
fn hollow_points_are_those_that_are_invalid_and_fronts_have_none() {
    let results = full();
    let files = files(&results);
    let plot = parse(text(&files, "pareto.svg"));
    let points: Vec<_> = plot
        .descendants()
        .filter(|node| node.children().any(|c| c.has_tag_name(("http://www.w3.org/2000/svg", "title"))))
        .collect();
    assert_eq!(points.len(), 90);
    let hollow = points.iter().filter(|node| node.attribute("fill") == Some("#ffffff")).count();
    assert_eq!(hollow, 2);
    let view = super::view::View::new(&results);
    assert!(view.front.len() > 3 && view.front.iter().all(|&i| results.rows[i].verdict.valid));
    let values =
        |i: &usize| (results.rows[*i].latency.p50_ms, results.rows[*i].accuracy.as_ref().unwrap().value);
    assert!(
        view.front.windows(2).all(|w| values(&w[0]).0 < values(&w[1]).0 && values(&w[0]).1 < values(&w[1]).1)
    );
}

#[test]
fn what_is_not_sure_is_said() {
    let page = |results: &Results| text(&files(results), "report.html").to_owned();
    let untrained = page(&sweep(&Sweep { models: &["untrained:deit-tiny"], ..FULL }));
    assert!(untrained.contains("UNTRAINED: the weights of untrained:deit-tiny come from a seed"));
    assert!(!untrained.contains("latency only"));
    let mut beside = sweep(&Sweep { models: &["deit-tiny", "untrained:deit-tiny"], ..FULL });
    beside.rows.iter_mut().filter(|row| row.untrained).for_each(|row| row.accuracy = None);
    let beside = page(&beside);
    assert!(beside.contains("UNTRAINED, latency only: the weights of untrained:deit-tiny come from a seed"));
    assert!(!beside.contains("random features"));
    assert!(page(&no_rows()).contains("Nothing was measured"));
    assert!(page(&sweep(&Sweep { metric: None, ..ONE })).contains("No accuracy was measured"));
    let mut one = sweep(&ONE);
    one.rows[0].verdict.valid = false;
    assert!(page(&one).contains("The only row is INVALID"));
}

#[test]
fn hostile_names_are_text() {
    let results = sweep(&Sweep { models: &HOSTILE, ..FULL });
    let files = files(&results);
    let page = text(&files, "report.html");
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") && !page.contains("<script"));
    let cells: Vec<String> = parse(page)
        .descendants()
        .filter(|node| node.tag_name().name() == "td")
        .filter_map(|node| node.text().map(str::to_owned))
        .collect();
    assert!(cells.iter().any(|cell| cell == HOSTILE[1]));
    let markdown = text(&files, "report.md");
    assert!(markdown.contains("pipe\\|\\`tick\\` \\# new\\*line\\*") && !markdown.contains("<script"));
    let mut csv = csv::Reader::from_reader(files["results.csv"].as_slice());
    let names: Vec<String> = csv.records().map(|record| record.unwrap()[0].to_owned()).collect();
    assert!(HOSTILE.iter().all(|name| names.iter().any(|found| found == name)));
}

/// Writes a report of each shape below the folder `REPORTS`, for visual inspection.
#[test]
#[ignore = "writes files: REPORTS=/tmp/reports cargo test -- --ignored reports_to_look_at"]
fn reports_to_look_at() {
    let folder = std::env::var_os("REPORTS").expect("REPORTS names a folder");
    for (shape, results) in shapes() {
        let folder = std::path::Path::new(&folder).join(shape.replace(' ', "-"));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in render(&results) {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
}
