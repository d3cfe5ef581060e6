//! `microraptor predict`

mod deployed;
mod files;
mod line;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use microraptor::engine::{Features, Session};
use microraptor::heads::{
    Collector, FeatureKind, Head, HeadError, Outcome, Predictor, ScanFeatures, geometry,
};
use microraptor::input::{Image, InputError, ReadOptions, Scan, ScanInfo, expand};
use microraptor::stamp::Stamp;
use microraptor::vit::{Preprocess, Size};

use super::args::PredictArgs;
use super::{backbone, limits, progress, terminal};
use files::Files;
use line::{HeadLine, Line, Milliseconds};

/// Prints one JSON line an image, a clip or a volume.
pub fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let (model, args, deployed) = deployed::resolve(args)?;
    let args = &args;
    if let Some(deployed) = &deployed {
        backbone::default_isa(deployed.isa())?;
    }
    let inputs = inputs(args)?;
    let heads = args.heads.iter().map(|path| Loaded::open(path)).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(deployed) = &deployed {
        deployed.check_head(&heads[0])?;
    }
    let mut files = Files::new(args, &model, &inputs, &heads)?;
    let cores = args.threads.cores()?;
    let engine = backbone::open(&model, &args.hints.hints())?;
    if let Some(deployed) = &deployed {
        deployed.check_model(engine.about())?;
    }
    for loaded in &heads {
        loaded.head.check_backbone(engine.about()).with_context(|| loaded.path.display().to_string())?;
    }
    let mut session = engine.session(cores)?;
    let predictors: Vec<Predictor> =
        heads.iter().map(|loaded| Predictor::new(&loaded.head.model, backbone::isa())).collect();
    let groups = groups(&heads, args);
    if groups.len() > 1 && inputs.contains(&PathBuf::from("-")) {
        bail!(
            "standard input is read once, and these heads read it differently (size or window): run them one by one"
        );
    }
    let mut out = terminal::stdout();
    for path in &inputs {
        let start = Instant::now();
        // Heads of several sizes, overlays and DICOM objects read the input again.
        let stamp = if path == Path::new("-") { None } else { Stamp::of(path).ok() };
        let watched = limits::Watched::new(path.display().to_string());
        let mut line: Option<Line> = None;
        let mut said: Vec<Option<HeadLine>> = heads.iter().map(|_| None).collect();
        let mut times = Times::default();
        for group in &groups {
            let (info, features) = group.run(&mut session, &heads, path, args, &mut times, &watched)?;
            let line =
                line.get_or_insert_with(|| Line::new(path, &info, engine.about(), args.with_identifiers));
            for (&i, features) in group.heads.iter().zip(&features) {
                let started = Instant::now();
                let outcome = predictors[i].predict(features).with_context(|| at(path, &heads[i]))?;
                let mut head = HeadLine::new(&heads[i], &outcome, &info);
                if let Some(ood) = &heads[i].head.ood {
                    head.ood = Some(ood.score(&features.mean_row()).with_context(|| at(path, &heads[i]))?);
                }
                times.head += started.elapsed();
                line.frames = features.rows.nrows();
                if let Outcome::Mask(mask) = &outcome {
                    head.measure(&heads[i], mask, &features.geometry);
                }
                files.write(path, &info, &group.read, &heads[i], &outcome, engine.about(), &mut head)?;
                said[i] = Some(head);
            }
        }
        if let Some(changed) = stamp.as_ref().and_then(Stamp::changed) {
            return Err(InputError::Changed { path: changed.to_owned() }.into());
        }
        let mut line = line.expect("at least one head");
        line.heads = said.into_iter().flatten().collect();
        line.ms = times.milliseconds(start.elapsed());
        drop(watched);
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    Ok(())
}

/// Where an error of a head on an image came from.
fn at(path: &Path, loaded: &Loaded) -> String {
    format!("{} with {}", path.display(), loaded.path.display())
}

/// The files, clips, volumes and streams that the arguments mean.
fn inputs(args: &PredictArgs) -> anyhow::Result<Vec<PathBuf>> {
    let (streams, paths): (Vec<PathBuf>, Vec<PathBuf>) =
        args.images.iter().cloned().partition(|path| path == Path::new("-"));
    if streams.len() > 1 {
        bail!("standard input ('-') is given twice: give it once");
    }
    let mut all = if args.bags { paths } else { expand(&paths)?.paths };
    all.extend(streams);
    Ok(all)
}

/// A head and the file that it came from.
pub struct Loaded {
    path: PathBuf,
    sha256: String,
    head: Head,
}

impl Loaded {
    fn open(path: &Path) -> anyhow::Result<Loaded> {
        let _watched = limits::Watched::new(path.display().to_string());
        let (head, sha256) = Head::read(path)?;
        if head.model.features() == FeatureKind::Patch && head.preprocess.crop.is_some() {
            return Err(HeadError::Cropped(head.backbone.name)).with_context(|| path.display().to_string());
        }
        Ok(Loaded { path: path.to_owned(), sha256, head })
    }
}

/// Heads that read the same pixels: the backbone runs once for all of them.
struct Group {
    size: Size,
    preprocess: Preprocess,
    read: ReadOptions,
    /// Blocks that some of them read, ascending.
    layers: Vec<usize>,
    /// Their numbers.
    heads: Vec<usize>,
}

fn groups(heads: &[Loaded], args: &PredictArgs) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (i, Loaded { head, .. }) in heads.iter().enumerate() {
        let read = args.choices.over(&head.read);
        let same = |g: &&mut Group| g.size == head.size && g.preprocess == head.preprocess && g.read == read;
        let group = match groups.iter_mut().find(same) {
            Some(group) => group,
            None => {
                let (size, preprocess) = (head.size, head.preprocess);
                groups.push(Group { size, preprocess, read, layers: Vec::new(), heads: Vec::new() });
                groups.last_mut().expect("pushed above")
            }
        };
        let layers: BTreeSet<usize> = group.layers.iter().chain(head.model.layers()).copied().collect();
        group.layers = layers.into_iter().collect();
        group.heads.push(i);
    }
    groups
}

impl Group {
    /// Features of the frames of `path`, for each of its heads.
    fn run(
        &self,
        session: &mut Session,
        heads: &[Loaded],
        path: &Path,
        args: &PredictArgs,
        times: &mut Times,
        watched: &limits::Watched,
    ) -> anyhow::Result<(ScanInfo, Vec<ScanFeatures>)> {
        session.keep_layers(&self.layers)?;
        let opened = Instant::now();
        let mut scan = match path.to_str() {
            Some("-") => Scan::from_stream("standard input", io::stdin(), args.stdin, &self.read)?,
            _ => Scan::open(path, &self.read)?,
        };
        times.decode += opened.elapsed();
        let mut collectors: Vec<Collector> = self.heads.iter().map(|&i| self.collector(&heads[i])).collect();
        let mut seen = None;
        // A single image gets every thread. Of many each thread runs whole ones.
        let decoded = scan.info().size.map_or(0, |(height, width)| 3 * height * width);
        let bytes = decoded + 3 * self.size.area() * size_of::<f32>();
        let together = if scan.info().frames == Some(1) { 1 } else { session.batch(bytes) };
        let bar = match scan.info().frames {
            Some(1) => ProgressBar::hidden(),
            Some(frames) => progress::bar(frames, "frames"),
            None => progress::spinner("frames"),
        };
        loop {
            let started = Instant::now();
            let frames = scan.by_ref().take(together).collect::<Result<Vec<Image>, _>>()?;
            let Some(first) = frames.first() else { break };
            if path == Path::new("-") {
                // Whoever sends frames as they are seen takes the time that he needs.
                watched.restart();
            }
            let decoded = Instant::now();
            let pixels: Vec<Vec<f32>> =
                frames.iter().map(|frame| frame.tensor(self.size, &self.preprocess)).collect();
            let resized = Instant::now();
            let mut take = |features: &Features| collectors.iter_mut().try_for_each(|c| c.add(features));
            let name = || path.display().to_string();
            match pixels.as_slice() {
                [one] => take(session.run(one, self.size).with_context(name)?).with_context(name)?,
                all => {
                    let all: Vec<&[f32]> = all.iter().map(Vec::as_slice).collect();
                    let features = session.run_batch(&all, self.size).with_context(name)?;
                    features.iter().try_for_each(take).with_context(name)?;
                }
            }
            times.decode += decoded - started;
            times.resize += resized - decoded;
            times.backbone += resized.elapsed();
            seen.get_or_insert_with(|| geometry(&scan, first));
            bar.inc(frames.len() as u64);
        }
        bar.finish_and_clear();
        let Some(geometry) = seen else { bail!("{}: holds no frames", path.display()) };
        let features = collectors.into_iter().map(|collector| collector.finish(geometry)).collect();
        Ok((scan.info().clone(), features))
    }

    /// Takes what a head reads of the layers that the session keeps.
    fn collector(&self, loaded: &Loaded) -> Collector {
        let model = &loaded.head.model;
        let dense = model.features() == FeatureKind::Patch;
        let place = |layer: &usize| self.layers.binary_search(layer).expect("gathered from the heads");
        Collector::new(dense.then(|| model.layers().iter().map(place).collect()))
    }
}

/// How long each stage took, over all frames.
#[derive(Default)]
struct Times {
    decode: Duration,
    resize: Duration,
    backbone: Duration,
    head: Duration,
}

impl Times {
    fn milliseconds(&self, total: Duration) -> Milliseconds {
        let ms = |d: Duration| (d.as_secs_f64() * 1e6).round() / 1e3;
        Milliseconds {
            decode: ms(self.decode),
            resize: ms(self.resize),
            backbone: ms(self.backbone),
            head: ms(self.head),
            total: ms(total),
        }
    }
}
