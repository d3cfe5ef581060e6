//! `microraptor embed`

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use microraptor::engine::Session;
use microraptor::input::{Image, expand};
use microraptor::output::check_writable;
use microraptor::output::features::{About, FeatureSet, check_extension};
use serde_json::json;

use super::args::EmbedArgs;
use super::{backbone, progress};

/// Writes the features of images to a file.
pub fn run(args: &EmbedArgs) -> anyhow::Result<()> {
    let images = expand(&args.images)?;
    check_writable(&args.output)?;
    check_extension(&args.output)?;
    let cores = args.threads.cores()?;
    let engine = backbone::open(&args.model)?;
    engine.check_size(args.size)?;
    let mut session = engine.session(cores)?;
    let set = extract(&mut session, &images, args)?;
    set.save(&args.output)?;

    let mut out = io::stdout().lock();
    let About { rows, cols, .. } = set.about;
    let (n, dim, output) = (images.len(), set.dim, args.output.display().to_string());
    if args.json {
        let about = json!({"output": output, "images": n, "dim": dim, "rows": rows, "cols": cols,
            "model": set.about.model, "sha256": set.about.sha256, "size": args.size.to_string()});
        writeln!(out, "{about}")?;
    } else {
        writeln!(
            out,
            "{output}: cls [{n}, {dim}], patch [{n}, {}, {dim}] of {}",
            rows * cols,
            set.about.model
        )?;
    }
    Ok(())
}

fn extract(session: &mut Session, images: &[PathBuf], args: &EmbedArgs) -> anyhow::Result<FeatureSet> {
    let mut about = About::new(session.engine().about(), args.size);
    let preprocess = session.engine().about().preprocess;
    let (mut cls, mut patch, mut dim) = (Vec::new(), Vec::new(), 0);
    let bar = progress::bar(images.len(), "embedding");
    for path in images {
        let pixels = Image::open(path)?.tensor(args.size, &preprocess);
        let features = session.run(&pixels, args.size).with_context(|| path.display().to_string())?;
        (about.rows, about.cols, dim) = (features.rows, features.cols, features.dim());
        about.names.push(path.display().to_string());
        cls.extend_from_slice(&features.cls);
        patch.extend_from_slice(&features.patch);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(FeatureSet { about, cls, patch, dim })
}
