//! `--deploy`: the choice of a profile, in place of MODEL, --head, --threads, --isa and the model's hints.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microraptor::engine::About;
use microraptor::profile::Deploy;

use super::args::AnsweringArgs;
use super::loaded::Loaded;
use super::trust;

/// A deployment file and its path.
pub struct Deployed {
    path: PathBuf,
    deploy: Deploy,
}

impl Deployed {
    /// Reads the deployment file at `path`.
    pub fn load(path: &Path) -> anyhow::Result<Deployed> {
        Ok(Deployed { path: path.to_owned(), deploy: trust::deploy(path)? })
    }

    /// Puts into `args` what it says; those of the command line take precedence.
    pub fn complete(&self, args: &mut AnsweringArgs) -> anyhow::Result<()> {
        let Deployed { path, deploy } = self;
        let Some(head) = &deploy.head else {
            bail!("{}: names no head: profile with --data, so that one is trained", path.display());
        };
        args.heads = vec![PathBuf::from(head)];
        let hints = args.hints.joined(&deploy.hints).map_err(anyhow::Error::msg);
        args.hints = hints.with_context(|| path.display().to_string())?;
        args.threads.threads.get_or_insert(deploy.threads);
        if let (None, Some(cores)) = (&args.threads.placement.cores, &deploy.cores) {
            let cores = cores.parse().with_context(|| format!("{}: cores", path.display()))?;
            args.threads.placement.cores = Some(cores);
        }
        Ok(())
    }

    /// The model that was profiled.
    pub fn model(&self) -> PathBuf {
        self.deploy.model()
    }

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
