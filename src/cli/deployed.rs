//! `--deploy`: the choice of a profile, in place of MODEL, --head, --threads, --isa and the model's hints.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microraptor::engine::About;
use microraptor::profile::Deploy;

use super::args::{HintArgs, Threads};
use super::loaded::Loaded;

/// A deployment file and its path.
pub struct Deployed {
    path: PathBuf,
    deploy: Deploy,
}

/// What the command line says of what a deployment file says too.
pub struct Choice {
    /// MODEL.
    pub model: Option<PathBuf>,
    /// --head.
    pub heads: Vec<PathBuf>,
    pub hints: HintArgs,
    pub threads: Threads,
}

/// A choice, completed.
pub struct Chosen {
    pub model: PathBuf,
    /// The argument in the place of MODEL, if the deployment file names the model.
    pub rest: Option<PathBuf>,
    /// Without the model.
    pub choice: Choice,
    pub deployed: Option<Deployed>,
}

impl Choice {
    /// Completes it from the deployment file `path`. Arguments of the command line take precedence.
    pub fn complete(mut self, path: Option<&Path>) -> anyhow::Result<Chosen> {
        let first = self.model.take();
        let Some(path) = path else {
            let model = first.context("MODEL is missing")?;
            return Ok(Chosen { model, rest: None, choice: self, deployed: None });
        };
        let deploy = Deploy::load(path)?;
        let Some(head) = &deploy.head else {
            bail!("{}: names no head: profile with --data, so that one is trained", path.display());
        };
        self.heads = vec![PathBuf::from(head)];
        let hints = self.hints.joined(&deploy.hints).map_err(anyhow::Error::msg);
        self.hints = hints.with_context(|| path.display().to_string())?;
        self.threads.threads.get_or_insert(deploy.threads);
        if let (None, Some(cores)) = (&self.threads.placement.cores, &deploy.cores) {
            let cores = cores.parse().with_context(|| format!("{}: cores", path.display()))?;
            self.threads.placement.cores = Some(cores);
        }
        let model = deploy.model();
        let deployed = Some(Deployed { path: path.to_owned(), deploy });
        Ok(Chosen { model, rest: first, choice: self, deployed })
    }
}

impl Deployed {
    /// The instruction set in the file, if any.
    pub fn isa(&self) -> Option<&str> {
        self.deploy.isa.as_deref()
    }

    /// Refuses a head other than the profiled one.
    pub fn check_head(&self, loaded: &Loaded) -> anyhow::Result<()> {
        let (file, head) = (self.path.display(), loaded.path.display());
        if let Some(measured) = self.deploy.head_sha256.as_ref().filter(|&sha256| *sha256 != loaded.sha256) {
            bail!(
                "{file}: was measured with the head of SHA-256 {}, and {head} has {}: put that head back, or profile again",
                short(measured),
                short(&loaded.sha256)
            );
        }
        let size = loaded.head.size.to_string();
        if size != self.deploy.size {
            bail!("{file}: was measured at {} px, and {head} is for {size} px", self.deploy.size);
        }
        Ok(())
    }

    /// Refuses a model other than the profiled one.
    pub fn check_model(&self, about: &About) -> anyhow::Result<()> {
        if self.deploy.sha256 != about.sha256 {
            bail!(
                "{}: was measured with the model of SHA-256 {}, and {} has {}: put that model back, or profile again",
                self.path.display(),
                short(&self.deploy.sha256),
                self.deploy.model,
                short(&about.sha256)
            );
        }
        Ok(())
    }
}

/// The first digits of a SHA-256, enough to distinguish two.
fn short(sha256: &str) -> &str {
    &sha256[..sha256.len().min(16)]
}
