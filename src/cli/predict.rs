//! `microraptor predict`

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use microraptor::engine::Session;
use microraptor::heads::{Head, cls_and_mean};
use microraptor::input::{Image, expand};
use serde::Serialize;
use serde_json::{Map, Value};

use super::args::PredictArgs;
use super::backbone;

/// Prints one JSON line an image.
pub fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let images = expand(&args.images)?;
    let head = Head::load(&args.head)?;
    let cores = args.threads.cores()?;
    let engine = backbone::open_for(&head, &args.head, &args.model)?;
    let mut session = engine.session(cores)?;
    let mut out = io::stdout().lock();
    for path in &images {
        let line = predict(&mut session, &head, path)?;
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    Ok(())
}

fn predict(session: &mut Session, head: &Head, path: &Path) -> anyhow::Result<Line> {
    let start = Instant::now();
    let image = Image::open(path)?;
    let decoded = Instant::now();
    let pixels = image.tensor(head.size, &head.preprocess);
    let resized = Instant::now();
    let features = session.run(&pixels, head.size).with_context(|| path.display().to_string())?;
    let embedded = Instant::now();
    let prediction = head.linear.predict(&cls_and_mean(&features.cls, &features.patch))?;
    let end = Instant::now();

    let names = &head.linear.classes;
    let mut present = prediction.classes.iter().map(|&c| names[c].clone());
    let probabilities = names.iter().cloned().zip(prediction.probabilities.iter().map(|&p| p.into()));
    let ms = |from: Instant, to: Instant| ((to - from).as_secs_f64() * 1e6).round() / 1e3;
    Ok(Line {
        file: path.display().to_string(),
        class: if head.linear.multi_label { present.collect() } else { present.next().into() },
        probabilities: probabilities.collect(),
        ms: Milliseconds {
            decode: ms(start, decoded),
            resize: ms(decoded, resized),
            backbone: ms(resized, embedded),
            head: ms(embedded, end),
            total: ms(start, end),
        },
    })
}

/// What is said of one image.
#[derive(Serialize)]
struct Line {
    file: String,
    /// One class, or for a multi-label head the list of those that are there.
    class: Value,
    probabilities: Map<String, Value>,
    ms: Milliseconds,
}

/// How long each stage took.
#[derive(Serialize)]
struct Milliseconds {
    decode: f64,
    resize: f64,
    backbone: f64,
    head: f64,
    total: f64,
}
