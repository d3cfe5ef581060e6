//! `microraptor embed`

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use microraptor::engine::Session;
use microraptor::features::Extractor;
use microraptor::files::check_writable;
use microraptor::input::{Images, InputError, ReadOptions, Scan, ScanInfo, expand, is_picture_name};
use microraptor::names::{printable, shown};
use microraptor::output::features::{About, FeatureWriter, check_extension};
use microraptor::vit::{Preprocess, Size};
use rayon::prelude::*;
use serde_json::json;

use super::args::EmbedArgs;
use super::{backbone, inputs, limits, private, progress, terminal};

/// Number of frames per thread between two writes. More frames would hold more features in memory; with fewer, threads
/// would wait for each other more often.
const PER_THREAD: usize = 2;

/// Writes the features of images, clips and volumes to a file.
pub fn run(args: &EmbedArgs) -> anyhow::Result<()> {
    let found = if args.bags { Images::at(args.images.clone()) } else { expand(&args.images)? };
    check_writable(&args.output)?;
    private::when_dicom(found.hold_dicom());
    let images = found.paths;
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
    let session = engine.session(cores)?.pin_caller();
    let bar = progress::bar(images.len(), "embedding");
    let mut embedding = Embedding::new(session, size, &args.output);
    embedding.all(&images, &args.read.options(), &bar)?;
    bar.finish_and_clear();
    let (about, dim, arrays) = embedding.finish()?;

    let mut out = terminal::stdout();
    let (n, output) = (about.names.len(), shown(&args.output));
    let About { rows, cols, .. } = about;
    if args.json {
        let arrays: serde_json::Map<String, serde_json::Value> =
            arrays.into_iter().map(|(name, shape)| (name, json!(shape))).collect();
        let summary = json!({"output": output, "images": images.len(), "frames": n, "dim": dim, "rows": rows,
            "cols": cols, "model": about.model, "sha256": about.sha256, "size": size.to_string(), "arrays": arrays});
        writeln!(out, "{summary}")?;
    } else {
        let arrays: Vec<String> =
            arrays.iter().map(|(name, shape)| format!("{} {shape:?}", printable(name))).collect();
        writeln!(out, "{output}: {} of {}", arrays.join(", "), about.model)?;
    }
    Ok(())
}

/// Names and shapes of the arrays in the output.
type Arrays = Vec<(String, Vec<usize>)>;

/// Label of a frame's row in the output.
struct Row {
    name: String,
    frame: usize,
}

/// State while features are computed and written.
struct Embedding<'a> {
    session: Session,
    extractor: Extractor<Row>,
    output: &'a Path,
    preprocess: Preprocess,
    /// Created with the first row.
    writer: Option<FeatureWriter>,
    dim: usize,
}

impl Embedding<'_> {
    fn new(session: Session, size: Size, output: &Path) -> Embedding<'_> {
        let preprocess = session.engine().about().preprocess;
        let extractor = Extractor::new(size, preprocess);
        Embedding { session, extractor, output, preprocess, writer: None, dim: 0 }
    }

    fn together(&self) -> usize {
        PER_THREAD * self.session.threads()
    }

    /// Runs every frame of `images`.
    fn all(&mut self, images: &[PathBuf], read: &ReadOptions, bar: &ProgressBar) -> anyhow::Result<()> {
        let mut watched: Option<limits::Watched> = None;
        for paths in images.chunks(self.together()) {
            let name = match paths {
                [path] => path.display().to_string(),
                several => format!("{} and {} more", several[0].display(), several.len() - 1),
            };
            match &watched {
                Some(watched) => watched.next(name),
                None => watched = Some(limits::Watched::new(name)),
            }
            // Files named like pictures are decoded in parallel. Volumes are held one at a time.
            let (size, preprocess) = (self.extractor.size(), self.preprocess);
            let open = |path: &PathBuf| is_picture_name(path).then(|| begin(path, read, size, &preprocess));
            let begun: Vec<Option<Result<_, InputError>>> = paths.par_iter().map(open).collect();
            for (path, begun) in paths.iter().zip(begun) {
                let (mut scan, first) = begun.unwrap_or_else(|| begin(path, read, size, &preprocess))?;
                let Some(first) = first else { bail!("{}: holds no frames", path.display()) };
                self.extractor.push_tensor(row(scan.info(), 0), first);
                self.flush_when(self.together())?;
                let mut number = 1;
                while let Some(frame) = scan.next() {
                    self.extractor.push(row(scan.info(), number), &frame?);
                    self.flush_when(self.together())?;
                    number += 1;
                }
                bar.inc(1);
            }
        }
        self.flush()
    }

    /// Calls [`Self::flush`] if at least `count` frames are waiting.
    fn flush_when(&mut self, count: usize) -> anyhow::Result<()> {
        if self.extractor.waiting() >= count { self.flush() } else { Ok(()) }
    }

    /// Runs the waiting frames and writes their features.
    fn flush(&mut self) -> anyhow::Result<()> {
        let Embedding { session, extractor, output, writer, dim, .. } = self;
        let (model, size) = (session.engine().clone(), extractor.size());
        let place = |row: &Row| match row.frame {
            0 | 1 => row.name.clone(),
            frame => format!("{} frame {frame}", row.name),
        };
        extractor.run(session, place, |row, features| {
            if writer.is_none() {
                let mut about = About::new(model.about(), size);
                *dim = features.dim();
                (about.rows, about.cols) = (features.rows, features.cols);
                *writer = Some(FeatureWriter::create(*output, about, features)?);
            }
            if let Some(writer) = writer {
                writer.push(row.name.clone(), row.frame, features)?;
            }
            anyhow::Ok(())
        })
    }

    /// Completes the file; returns its description, the token width, and the names and shapes of its arrays.
    fn finish(self) -> anyhow::Result<(About, usize, Arrays)> {
        let writer = self.writer.context("there is nothing to embed")?;
        let arrays = writer.arrays();
        Ok((writer.finish()?, self.dim, arrays))
    }
}

/// Opens a scan and prepares the network input of its first frame.
fn begin(
    path: &Path,
    read: &ReadOptions,
    size: Size,
    preprocess: &Preprocess,
) -> Result<(Scan, Option<Vec<f32>>), InputError> {
    let mut scan = Scan::open(path, read)?;
    let first = scan.next().transpose()?;
    Ok((scan, first.map(|image| image.tensor(size, preprocess))))
}

/// Row label of frame `number` (from 0, in the order in which the scan yields frames): its file and its number there.
fn row(info: &ScanInfo, number: usize) -> Row {
    let source = info.source_frame(number);
    let name = info.files.get(source.file).map_or_else(|| info.name.clone(), shown);
    Row { name, frame: source.frame }
}
