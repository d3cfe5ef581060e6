//! Model and heads, which SIGHUP opens again.

use std::path::{Path, PathBuf};

use anyhow::bail;
use microraptor::Engine;
use microraptor::checkpoint::Hints;
use microraptor::heads::HeadModel;
use microraptor::input::{Image, ReadOptions};
use microraptor::live::Smoothing;
use microraptor::output::Inputs;
use microraptor::pipeline::Pipeline;
use microraptor::stamp::Stamp;
use serde_json::{Value, json};

use crate::cli::answering::Answering;
use crate::cli::args::StreamArgs;
use crate::cli::attest::at_start;
use crate::cli::contours::ask;
use crate::cli::inputs;
use crate::cli::limits;
use crate::cli::loaded::{Loaded, cover, named};
use crate::cli::trust;

/// What answers frames.
pub struct Opened {
    pub pipeline: Pipeline,
    pub heads: Vec<Loaded>,
    /// One for each head.
    pub smoothing: Vec<Smoothing>,
    /// How the heads read their input.
    pub read: ReadOptions,
    /// Whether this machine computes what was validated.
    pub attest: Value,
    /// The argument after MODEL, which is the first one with --deploy.
    pub rest: Option<PathBuf>,
    /// The files that were read.
    pub files: Inputs,
    model: Model,
    isa: Option<String>,
}

/// What was open before.
#[derive(Clone)]
pub struct Before {
    model: Model,
    /// The instruction set that the deployment file names.
    isa: Option<String>,
}

/// A model that is open, and its files at that time.
#[derive(Clone)]
struct Model {
    path: PathBuf,
    hints: Hints,
    /// Empty if it is built in, or from a seed.
    stamps: Vec<Stamp>,
    engine: Engine,
}

impl Opened {
    /// Opens all that `args` name; the model only if it is not `before`, or has changed since.
    pub fn new(args: &StreamArgs, before: Option<Before>) -> anyhow::Result<Opened> {
        let chosen = Answering::new(&args.answering)?;
        let isa = chosen.isa().map(str::to_owned);
        if let Some(before) = before.as_ref().filter(|before| before.isa != isa) {
            let named = |isa: &Option<String>| isa.clone().unwrap_or_else(|| "none".into());
            bail!(
                "the deployment file names another instruction set ({}, not {}): start the program again",
                named(&isa),
                named(&before.isa)
            );
        }
        let mut heads = chosen.heads()?;
        cover(&mut heads, args.coverage)?;
        let read = reading(&heads, args)?;
        let model = match before.map(|before| before.model).filter(|old| old.still_is(&chosen)) {
            Some(same) => {
                // Its signature may have ended since, or its key been revoked.
                trust::ask_for_model(&same.path)?.loaded_model(same.engine.about())?;
                same
            }
            None => Model::open(&chosen)?,
        };
        chosen.check(&model.engine)?;
        let mut pipeline = chosen.pipeline(&model.engine, &heads)?;
        ask(&mut pipeline, &heads);
        let attest = at_start(args.start, &chosen, &model.engine, &heads)?;
        warm(&mut pipeline)?;
        if let Some(frames) = args.window {
            pipeline.slide(frames.into());
        }
        let smoothing = heads.iter().map(|_| Smoothing::new(args.smooth.into())).collect();
        let mut files = Inputs::default();
        chosen.add_files(&mut files);
        Ok(Opened { pipeline, heads, smoothing, read, attest, rest: chosen.rest, files, model, isa })
    }

    /// Forgets the frames so far: what follows is another picture.
    pub fn begin_anew(&mut self) {
        self.smoothing.iter_mut().for_each(Smoothing::clear);
        self.pipeline.forget();
    }

    /// What is open, for the next time.
    pub fn before(&self) -> Before {
        Before { model: self.model.clone(), isa: self.isa.clone() }
    }

    /// The model.
    pub fn engine(&self) -> &Engine {
        &self.model.engine
    }

    /// The model in a line.
    pub fn about(&self) -> Value {
        let about = self.model.engine.about();
        json!({"name": about.name, "sha256": about.sha256, "runs_on": about.runs_on()})
    }

    /// The heads' files.
    pub fn names(&self) -> Vec<String> {
        self.heads.iter().map(|loaded| microraptor::names::shown(&loaded.path)).collect()
    }
}

impl Model {
    fn open(chosen: &Answering) -> anyhow::Result<Model> {
        let stamps = stamps(&chosen.model);
        let engine = chosen.engine()?;
        Ok(Model { path: chosen.model.clone(), hints: chosen.hints(), stamps, engine })
    }

    /// Whether it is the chosen one, and its files are as they were.
    fn still_is(&self, chosen: &Answering) -> bool {
        let unchanged = || self.stamps.iter().all(|stamp| stamp.changed().is_none());
        self.path == chosen.model && self.hints == chosen.hints() && unchanged()
    }
}

/// The files of a model as they are now.
fn stamps(model: &Path) -> Vec<Stamp> {
    inputs::files(model).iter().filter_map(|path| Stamp::of(path).ok()).collect()
}

/// Runs on a picture, so that all that is made for the first frame is there before it comes: plans, memory, threads.
fn warm(pipeline: &mut Pipeline) -> anyhow::Result<()> {
    const SIDE: usize = 64;
    let grey = Image::from_grey8(SIDE, SIDE, vec![128; SIDE * SIDE])?;
    pipeline.push(&grey).map_err(|error| named(error, &|head| format!("head {}", head + 1)))?;
    pipeline.clear();
    pipeline.elapsed();
    Ok(())
}

/// How frames are read, on which all heads must agree since each is read once.
fn reading(heads: &[Loaded], args: &StreamArgs) -> anyhow::Result<ReadOptions> {
    let of = |loaded: &Loaded| {
        let read = args.choices.over(&loaded.head.read);
        // A stream has no end; this is asked for by `--max-frames` alone.
        ReadOptions {
            crop_us: read.crop_us || args.crop_us,
            max_frames: limits::max_frames().or(Some(usize::MAX)),
            ..read
        }
    };
    let read = of(&heads[0]);
    if args.window.is_some() && !heads.iter().any(|loaded| loaded.head.model.takes_bags()) {
        bail!("--window: none of the heads sees several frames together: leave it out");
    }
    for loaded in heads {
        let name = loaded.path.display();
        let model = &loaded.head.model;
        let sees_rows = matches!(model, HeadModel::Abmil(_) | HeadModel::Volume(_));
        if model.takes_bags() && !sees_rows {
            bail!("{name}: a {} head sees a whole volume, and not live frames: use `predict`", model.kind());
        }
        if sees_rows && args.window.is_none() {
            bail!(
                "{name}: its kind ({}) sees several frames together: say how many with --window, as in --window 32",
                model.kind()
            );
        }
        if of(loaded) != read {
            bail!(
                "{name}: reads its input otherwise than {} (window, crop): run them apart",
                heads[0].path.display()
            );
        }
    }
    Ok(read)
}
