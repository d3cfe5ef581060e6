//! A model and heads that belong together, as `predict`, `stream` and `node` open them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use microraptor::Engine;
use microraptor::board::Cores;
use microraptor::checkpoint::Hints;
use microraptor::heads::Head;
use microraptor::output::Inputs;
use microraptor::pipeline::Pipeline;

use super::args::AnsweringArgs;
use super::backbone;
use super::deployed::Deployed;
use super::inputs;
use super::loaded::{Loaded, named};

/// A model and heads that were chosen, by their names or by a deployment file.
pub struct Answering {
    pub model: PathBuf,
    /// The argument in the place of MODEL, if the deployment file names the model.
    pub rest: Option<PathBuf>,
    /// With what the deployment file says.
    args: AnsweringArgs,
    deployed: Option<Deployed>,
}

impl Answering {
    /// What `args` choose; those of the command line take precedence over the deployment file.
    pub fn new(args: &AnsweringArgs) -> anyhow::Result<Answering> {
        let mut args = args.clone();
        let first = args.model.take();
        let Some(path) = &args.deploy else {
            let model = first.context("MODEL is missing")?;
            return Ok(Answering { model, rest: None, args, deployed: None });
        };
        let deployed = Deployed::load(path)?;
        deployed.complete(&mut args)?;
        backbone::default_isa(deployed.isa())?;
        Ok(Answering { model: deployed.model(), rest: first, args, deployed: Some(deployed) })
    }

    /// The instruction set that the deployment file names.
    pub fn isa(&self) -> Option<&str> {
        self.deployed.as_ref().and_then(Deployed::isa)
    }

    /// What the user says of the model.
    pub fn hints(&self) -> Hints {
        self.args.hints.hints()
    }

    /// The files that are read.
    pub fn add_files(&self, read: &mut Inputs) {
        inputs::model(read, &self.model);
        inputs::board(read, &self.args.threads.placement);
        self.args.heads.iter().for_each(|path| inputs::head(read, path));
        self.args.deploy.iter().for_each(|path| read.add(path));
    }

    /// Reads the heads.
    pub fn heads(&self) -> anyhow::Result<Vec<Loaded>> {
        let heads =
            self.args.heads.iter().map(|path| Loaded::open(path)).collect::<anyhow::Result<Vec<_>>>()?;
        if let Some(deployed) = &self.deployed {
            deployed.check_head(&heads[0])?;
        }
        Ok(heads)
    }

    /// Opens the model.
    pub fn engine(&self) -> anyhow::Result<Engine> {
        let engine = backbone::open(&self.model, &self.hints())?;
        self.check(&engine)?;
        Ok(engine)
    }

    /// Refuses a model other than the profiled one.
    pub fn check(&self, engine: &Engine) -> anyhow::Result<()> {
        self.deployed.as_ref().map_or(Ok(()), |deployed| deployed.check_model(engine.about()))
    }

    /// The chosen cores.
    pub fn cores(&self) -> anyhow::Result<Cores> {
        self.args.threads.cores()
    }

    /// The model with the heads, on the chosen cores.
    pub fn pipeline(&self, engine: &Engine, heads: &[Loaded]) -> anyhow::Result<Pipeline> {
        let all: Vec<Arc<Head>> = heads.iter().map(|loaded| loaded.head.clone()).collect();
        let session = engine.session(self.cores()?)?.pin_caller();
        Pipeline::new(session, &all)
            .map_err(|error| named(error, &|head| heads[head].path.display().to_string()))
    }
}
