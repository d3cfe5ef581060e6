//! `microraptor convert`

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use microraptor::Engine;
use microraptor::attest;
use microraptor::checkpoint::{self, Hints, Model};
use microraptor::convert::{Calibration, Progress, convert};
use microraptor::engine::{is_onnx, output_agreement};
use microraptor::files;
use microraptor::files::check_writable;
use microraptor::input::{Image, InputError, PhantomKind, ReadOptions, Scan, expand, phantom};
use microraptor::names::printable;
use microraptor::quant::file::{self, Written};
use microraptor::quant::{
    Agreement, Attestation, BlockPrecision, ConvertedModel, ModelFile, OutputAgreement, Precision,
};
use microraptor::vit::{Preprocess, Size};
use serde_json::json;

use super::args::{ConvertArgs, PrecisionArg};
use super::backbone;
use super::table::{render, table};
use super::{inputs, limits, progress, terminal};

/// Maximum number of calibration images from a folder. At 224 px the Hessian of the widest layer of a ViT-B, with 3072
/// inputs, is then estimated from twice as many tokens as inputs.
const MAX_IMAGES: usize = 32;

/// Number of phantoms if no folder is given.
const PHANTOMS: usize = 16;

/// Side of a phantom, in pixels.
const PHANTOM_SIDE: usize = 256;

/// Maximum size of a licence file, in bytes; a larger file next to a checkpoint is not its licence.
const MAX_LICENCE: u64 = 256 << 10;

/// Writes a model file.
pub fn run(args: &ConvertArgs) -> anyhow::Result<()> {
    check_writable(&args.output)?;
    if args.calibrate.is_none() && !args.read.is_empty() {
        bail!(
            "without --calibrate no file is read: leave out how files are read, or give a folder of images"
        );
    }
    inputs::refuse(&args.output, |inputs| {
        inputs::model(inputs, &args.model);
        inputs::board(inputs, &args.threads.placement);
        let images = args.calibrate.iter().filter_map(|folder| images_below(folder).ok());
        images.flatten().for_each(|image| inputs.add(&image));
    })?;
    args.threads.cores()?;
    let precision = match args.precision {
        PrecisionArg::Int8 => Precision::Int8,
        PrecisionArg::Fp16 => Precision::Fp16,
        PrecisionArg::F32 => Precision::F32,
    };
    let model = open(&args.model, &args.hints.hints())?;
    backbone::warn(&model.name, &model.assumed);
    // For calibration only: the model keeps its own size.
    let size = args.size.or(fixed_size(&model)).unwrap_or(model.preprocess.default_size());
    if reads_pixels(&model) {
        size.grid(model.config.patch)?;
    }
    let calibration = calibration(args, size, &model.preprocess)?;
    let licence = licence_text(&model.source);
    let bars = Bars::default();
    let reference = original(&model);
    let mut model = convert(model, precision, &calibration, licence, backbone::isa(), &bars)?;
    if let Some(reference) = reference {
        bars.stage("comparing outputs", 1);
        model.report.outputs = outputs(&reference, &model, &calibration)?;
    }
    bars.stage("attestation", 1);
    let attestation = attestation(&model)?;
    model.attestation = attestation;
    bars.finish();
    let written = file::write(&args.output, &model)?;
    if !model.report.meets_target {
        log::warn!("the accuracy aimed at was not reached; see the cosines, and give images of your own");
    }

    let mut out = terminal::stdout();
    if args.json {
        let about = json!({"output": microraptor::names::shown(&args.output), "name": model.name,
            "file_bytes": written.file_bytes, "sha256": written.sha256, "precision": model.precision,
            "plan": model.plan, "report": model.report, "source": model.source, "licence": model.licence,
            "tool": model.tool, "attestation": model.attestation});
        writeln!(out, "{}", serde_json::to_string_pretty(&about)?)?;
    } else {
        print(&model, &args.output, &written, &mut out)?;
    }
    Ok(())
}

/// Whether the backbone sees images as they are given.
#[cfg(feature = "onnx")]
fn reads_pixels(model: &Model) -> bool {
    model.graph.as_ref().is_none_or(|graph| graph.reads_pixels())
}

#[cfg(not(feature = "onnx"))]
fn reads_pixels(_: &Model) -> bool {
    true
}

/// The only size that the graph around the backbone takes.
#[cfg(feature = "onnx")]
fn fixed_size(model: &Model) -> Option<Size> {
    model.graph.as_ref()?.fixed_size()
}

#[cfg(not(feature = "onnx"))]
fn fixed_size(_: &Model) -> Option<Size> {
    None
}

/// The f32 engine of a model with a graph around it, to compare outputs with.
#[cfg(feature = "onnx")]
fn original(model: &Model) -> Option<Engine> {
    model.graph.as_ref()?;
    Some(Engine::from_model(model.clone(), backbone::isa()))
}

#[cfg(not(feature = "onnx"))]
fn original(_: &Model) -> Option<Engine> {
    None
}

/// How well the outputs of the converted graph agree with those of `reference` on the calibration images.
fn outputs(
    reference: &Engine,
    model: &ConvertedModel,
    calibration: &Calibration,
) -> anyhow::Result<Vec<OutputAgreement>> {
    let converted = engine(model)?;
    Ok(output_agreement(reference, &converted, &calibration.images, calibration.size)?)
}

/// What the converted model computes of generated pictures, for devices to compare with; `None` if its graph does a part of
/// it, whose bits need not be the same on every machine.
fn attestation(model: &ConvertedModel) -> anyhow::Result<Option<Attestation>> {
    let found = attest::of_model(&engine(model)?).context("the attestation")?;
    if found.is_none() {
        log::info!("{}: no attestation is stored: it {}", model.name, attest::Reason::NotExact);
    }
    Ok(found)
}

/// The engine of a model that is not written yet.
fn engine(model: &ConvertedModel) -> anyhow::Result<Engine> {
    let file = ModelFile { model: model.clone(), sha256: String::new(), file_bytes: 0 };
    Ok(Engine::from_converted(Path::new(&model.name), file, backbone::isa())?)
}

/// Reads CHECKPOINT, which must not be a converted model.
fn open(path: &Path, hints: &Hints) -> anyhow::Result<Model> {
    if backbone::is_demo(path) || file::is_ours(path) {
        bail!("{} is a converted model already; give the checkpoint that it was made from", path.display());
    }
    if is_onnx(path) {
        return open_onnx(path, hints);
    }
    match backbone::untrained(path) {
        Some(name) => backbone::seeded(name, hints),
        None => {
            let spinner = progress::spinner(format!("reading {}", path.display()));
            let model =
                checkpoint::load_with(path, hints).map_err(|error| backbone::hint(path, error.into()));
            spinner.finish_and_clear();
            model
        }
    }
}

#[cfg(feature = "onnx")]
fn open_onnx(path: &Path, hints: &Hints) -> anyhow::Result<Model> {
    let preprocess = checkpoint::preprocess_beside(path)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match checkpoint::onnx::import(path)? {
        Some(imported) => Ok(Model::from_onnx(name, path, imported, preprocess, hints)?),
        None => bail!(
            "{} holds no vision transformer of the family, and nothing else can be converted; it runs as it is, in f32",
            path.display()
        ),
    }
}

#[cfg(not(feature = "onnx"))]
fn open_onnx(path: &Path, _: &Hints) -> anyhow::Result<Model> {
    bail!("{}: this build cannot read ONNX (it was built with --no-default-features)", path.display())
}

/// The images of `--calibrate`, or phantoms.
fn calibration(args: &ConvertArgs, size: Size, preprocess: &Preprocess) -> anyhow::Result<Calibration> {
    let Some(folder) = &args.calibrate else {
        let image = |i: usize| phantom(i as u64, PhantomKind::ALL[i % 3], PHANTOM_SIDE).image;
        let images = (0..PHANTOMS).map(|i| image(i).tensor(size, preprocess)).collect();
        return Ok(Calibration { from: "phantoms".into(), images, size });
    };
    let files = images_below(folder)?;
    let (count, read) = (files.len().min(MAX_IMAGES), args.read.options());
    let bar = progress::bar(count, "reading images");
    let mut images = Vec::with_capacity(count);
    for i in 0..count {
        let file = &files[i * files.len() / count];
        let _watched = limits::Watched::new(file.display().to_string());
        images.push(frame(file, &read)?.tensor(size, preprocess));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Calibration { from: "images".into(), images, size })
}

/// The images of a folder; if it has none, those of its subfolders, as in a labelled data set.
fn images_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let none = match expand(&[folder.to_owned()]) {
        Err(error @ InputError::NoImages { .. }) => error,
        images => return Ok(images?.paths),
    };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    let mut files = Vec::new();
    for folder in folders {
        match expand(&[folder]) {
            Err(InputError::NoImages { .. }) => {}
            images => files.extend(images?.paths),
        }
    }
    if files.is_empty() { Err(none.into()) } else { Ok(files) }
}

/// A picture, or the middle frame of a clip or volume; the first frame if the number of frames is not known in advance.
fn frame(path: &Path, read: &ReadOptions) -> anyhow::Result<Image> {
    let mut scan = Scan::open(path, read)?;
    let middle = scan.info().frames.unwrap_or(1) / 2;
    for _ in 0..middle {
        scan.next().transpose()?;
    }
    scan.next().transpose()?.with_context(|| format!("{}: holds no frames", path.display()))
}

/// The licence text next to the checkpoint `source`, if there is one.
fn licence_text(source: &Path) -> Option<String> {
    let names = ["LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "LICENCE.md", "LICENCE.txt"];
    names.iter().find_map(|name| files::text(&source.with_file_name(name), MAX_LICENCE).ok())
}

fn print(model: &ConvertedModel, output: &Path, written: &Written, out: &mut impl Write) -> io::Result<()> {
    let mut rows = table(
        &["block", "qkv", "attention", "proj", "up", "down", "CLS mean", "min", "patch mean", "p1", "min"],
        6,
    );
    let cosines = |a: &Agreement| {
        [a.cls.mean, a.cls.min, a.patches.mean, a.patches.p1, a.patches.min].map(|c| format!("{c:.6}"))
    };
    for (i, (plan, agreement)) in model.plan.blocks.iter().zip(&model.report.blocks).enumerate() {
        let BlockPrecision { qkv, attention, proj, up, down } = plan;
        let mut row = vec![i.to_string(), qkv.to_string(), attention.to_string()];
        row.extend([proj, up, down].map(ToString::to_string));
        row.extend(cosines(agreement));
        rows.add_row(row);
    }
    let mut row = vec!["features".to_owned()];
    row.resize(6, String::new());
    row.extend(cosines(&model.report.total));
    rows.add_row(row);
    writeln!(out, "{}\n", render(&rows))?;
    if !model.report.outputs.is_empty() {
        let mut rows = table(&["output", "cosine mean", "min", "largest difference", "same class"], 1);
        for OutputAgreement { name, cosine, difference, same_class } in &model.report.outputs {
            let same = same_class.map_or(String::new(), |share| format!("{:.2}%", 100.0 * share));
            let numbers =
                [format!("{:.6}", cosine.mean), format!("{:.6}", cosine.min), format!("{difference:.4}")];
            let mut row = vec![printable(name).into_owned()];
            row.extend(numbers);
            row.push(same);
            rows.add_row(row);
        }
        writeln!(out, "{}\n", render(&rows))?;
    }
    for (key, value) in model.summary() {
        writeln!(out, "{key:<14}{value}")?;
    }
    writeln!(out, "{:<14}{}, {:.1} MB", "written to", output.display(), written.file_bytes as f64 / 1e6)
}

/// A progress bar for each stage.
#[derive(Default)]
struct Bars(Mutex<Option<ProgressBar>>);

impl Bars {
    fn finish(&self) {
        if let Some(bar) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bars {
    fn stage(&self, name: &str, steps: usize) {
        self.finish();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress::bar(steps, name));
    }

    fn step(&self) {
        if let Some(bar) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(1);
        }
    }
}
