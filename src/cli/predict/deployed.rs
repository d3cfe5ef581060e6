//! `predict --deploy`: the choice of a profile, in place of MODEL, --head, --threads, --isa and the model's hints.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microraptor::engine::About;
use microraptor::profile::Deploy;

use super::loaded::Loaded;
use crate::cli::args::PredictArgs;

/// A deployment file and its path.
pub struct Deployed<'a> {
    path: &'a Path,
    deploy: Deploy,
}

/// The model, and the arguments completed from the deployment file. Arguments of the command line take precedence.
pub fn resolve(args: &PredictArgs) -> anyhow::Result<(PathBuf, PredictArgs, Option<Deployed<'_>>)> {
    let path = args.deploy.as_deref();
    let mut args = args.clone();
    let first = args.model.take();
    let Some(path) = path else {
        return Ok((first.context("MODEL is missing")?, args, None));
    };
    let deploy = Deploy::load(path)?;
    let Some(head) = &deploy.head else {
        bail!("{}: names no head: profile with --data, so that one is trained", path.display());
    };
    args.heads = vec![PathBuf::from(head)];
    // With --deploy the argument in the place of MODEL is the first image.
    args.images.splice(0..0, first);
    let hints = args.hints.joined(&deploy.hints).map_err(anyhow::Error::msg);
    args.hints = hints.with_context(|| path.display().to_string())?;
    args.threads.threads.get_or_insert(deploy.threads);
    if let (None, Some(cores)) = (&args.threads.placement.cores, &deploy.cores) {
        let cores = cores.parse().with_context(|| format!("{}: cores", path.display()))?;
        args.threads.placement.cores = Some(cores);
    }
    Ok((deploy.model(), args, Some(Deployed { path, deploy })))
}

impl Deployed<'_> {
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
