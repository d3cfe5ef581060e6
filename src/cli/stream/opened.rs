//! Model and heads, which SIGHUP opens again.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use microraptor::Engine;
use microraptor::heads::Head;
use microraptor::input::ReadOptions;
use microraptor::live::Smoothing;
use microraptor::pipeline::Pipeline;
use microraptor::stamp::Stamp;
use serde_json::{Value, json};

use crate::cli::args::StreamArgs;
use crate::cli::backbone;
use crate::cli::deployed::{Choice, Chosen};
use crate::cli::limits;
use crate::cli::loaded::{Loaded, named};

/// What answers frames.
pub struct Opened {
    pub pipeline: Pipeline,
    pub heads: Vec<Loaded>,
    /// One for each head.
    pub smoothing: Vec<Smoothing>,
    /// How the heads read their input.
    pub read: ReadOptions,
    /// The argument after MODEL, which is the first one with --deploy.
    pub rest: Option<PathBuf>,
    engine: Model,
}

/// A model that is open, and its files at that time.
#[derive(Clone)]
pub struct Model {
    path: PathBuf,
    stamp: Option<Stamp>,
    engine: Engine,
}

impl Opened {
    /// Opens all that `args` name; the model only if it is not `before`, or has changed since.
    pub fn new(args: &StreamArgs, before: Option<Model>) -> anyhow::Result<Opened> {
        let choice = Choice {
            model: args.model.clone(),
            heads: args.heads.clone(),
            hints: args.hints.clone(),
            threads: args.threads.clone(),
        };
        let Chosen { model, rest, choice, deployed } = choice.complete(args.deploy.as_deref())?;
        if let Some(deployed) = &deployed {
            backbone::default_isa(deployed.isa())?;
        }
        let heads = choice.heads.iter().map(|path| Loaded::open(path)).collect::<anyhow::Result<Vec<_>>>()?;
        let read = reading(&heads, args)?;
        if let Some(deployed) = &deployed {
            deployed.check_head(&heads[0])?;
        }
        let same = before.filter(|before| before.path == model && before.unchanged());
        let opened = match same {
            Some(same) => same,
            None => Model {
                stamp: Stamp::of(&model).ok(),
                engine: backbone::open(&model, &choice.hints.hints())?,
                path: model,
            },
        };
        if let Some(deployed) = &deployed {
            deployed.check_model(opened.engine.about())?;
        }
        let all: Vec<Arc<Head>> = heads.iter().map(|loaded| loaded.head.clone()).collect();
        let session = opened.engine.session(choice.threads.cores()?)?.pin_caller();
        let pipeline = Pipeline::new(session, &all)
            .map_err(|error| named(error, &|head| heads[head].path.display().to_string()))?;
        let smoothing = heads.iter().map(|_| Smoothing::new(args.smooth.into())).collect();
        Ok(Opened { pipeline, heads, smoothing, read, rest, engine: opened })
    }

    /// The model, for the next time.
    pub fn model(&self) -> Model {
        self.engine.clone()
    }

    /// The model in a line.
    pub fn about(&self) -> Value {
        let about = self.engine.engine.about();
        json!({"name": about.name, "sha256": about.sha256, "runs_on": about.runs_on()})
    }

    /// The heads' files.
    pub fn names(&self) -> Vec<String> {
        self.heads.iter().map(|loaded| microraptor::names::shown(&loaded.path)).collect()
    }
}

impl Model {
    fn unchanged(&self) -> bool {
        match &self.stamp {
            Some(stamp) => stamp.changed().is_none(),
            // It is built in, or from a seed.
            None => true,
        }
    }
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
    for loaded in heads {
        let name = loaded.path.display();
        if loaded.head.model.takes_bags() {
            bail!(
                "{name}: a {} head sees a whole clip, and not each frame of it: use `predict`",
                loaded.head.model.kind()
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
