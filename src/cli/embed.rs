//! `microraptor embed`

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use microraptor::engine::{Features, Session};
use microraptor::files::shown;
use microraptor::input::{Image, InputError, expand};
use microraptor::output::check_writable;
use microraptor::output::features::{About, FeatureWriter, check_extension};
use microraptor::vit::Size;
use rayon::prelude::*;
use serde_json::json;

use super::args::EmbedArgs;
use super::{backbone, inputs, limits, private, progress, terminal};

/// Images that a thread runs between two writes. More would keep more features in memory, fewer would let threads wait for
/// each other more often.
const PER_THREAD: usize = 2;

/// Writes the features of images to a file.
pub fn run(args: &EmbedArgs) -> anyhow::Result<()> {
    let images = expand(&args.images)?;
    check_writable(&args.output)?;
    private::when_dicom(images.iter().map(PathBuf::as_path));
    check_extension(&args.output)?;
    inputs::refuse(&args.output, |inputs| {
        inputs::model(inputs, &args.model);
        inputs::board(inputs, &args.threads.placement);
        images.iter().for_each(|image| inputs.add(image));
    })?;
    let cores = args.threads.cores()?;
    let engine = backbone::open(&args.model, &args.hints.hints())?;
    let size = backbone::size(args.size, &engine.about().preprocess);
    engine.check_size(size)?;
    let mut session = engine.session(cores)?;
    let (about, dim) = extract(&mut session, &images, size, args)?;

    let mut out = terminal::stdout();
    let About { rows, cols, .. } = about;
    let (n, output) = (images.len(), shown(&args.output));
    if args.json {
        let summary = json!({"output": output, "images": n, "dim": dim, "rows": rows, "cols": cols,
            "model": about.model, "sha256": about.sha256, "size": size.to_string()});
        writeln!(out, "{summary}")?;
    } else {
        writeln!(out, "{output}: cls [{n}, {dim}], patch [{n}, {}, {dim}] of {}", rows * cols, about.model)?;
    }
    Ok(())
}

/// Writes the features of `images`, and returns what the file says of itself and the width of a token.
fn extract(
    session: &mut Session,
    images: &[PathBuf],
    size: Size,
    args: &EmbedArgs,
) -> anyhow::Result<(About, usize)> {
    let mut about = About::new(session.engine().about(), size);
    about.names = images.iter().map(shown).collect();
    let preprocess = session.engine().about().preprocess;
    let (mut writer, mut dim) = (None, 0);
    let bar = progress::bar(images.len(), "embedding");
    let mut watched: Option<limits::Watched> = None;
    for paths in images.chunks(PER_THREAD * session.threads()) {
        let name = match paths {
            [path] => path.display().to_string(),
            several => format!("{} and {} more", several[0].display(), several.len() - 1),
        };
        match &watched {
            Some(watched) => watched.next(name),
            None => watched = Some(limits::Watched::new(name)),
        }
        let open = |path: &PathBuf| Ok(Image::open(path)?.tensor(size, &preprocess));
        let pixels: Vec<Result<Vec<f32>, InputError>> = paths.par_iter().map(open).collect();
        let pixels = pixels.into_iter().collect::<Result<Vec<_>, _>>()?;
        for features in run_all(session, paths, &pixels, size)? {
            if writer.is_none() {
                (about.rows, about.cols, dim) = (features.rows, features.cols, features.dim());
                writer = Some(FeatureWriter::create(&args.output, about.clone(), dim)?);
            }
            if let Some(writer) = &mut writer {
                writer.push(&features)?;
            }
            bar.inc(1);
        }
    }
    drop(watched);
    if let Some(writer) = writer {
        writer.finish()?;
    }
    bar.finish_and_clear();
    Ok((about, dim))
}

/// The features of a few images: each on a thread of its own, unless that would leave threads idle.
fn run_all(
    session: &mut Session,
    paths: &[PathBuf],
    pixels: &[Vec<f32>],
    size: Size,
) -> anyhow::Result<Vec<Features>> {
    if pixels.len() >= session.threads() {
        let pixels: Vec<&[f32]> = pixels.iter().map(Vec::as_slice).collect();
        // An error does not say of which image it is: one by one, below, it does.
        if let Ok(features) = session.run_batch(&pixels, size) {
            return Ok(features);
        }
    }
    let one = |(path, pixels): (&PathBuf, &Vec<f32>)| {
        session.run(pixels, size).cloned().with_context(|| path.display().to_string())
    };
    paths.iter().zip(pixels).map(one).collect()
}
