//! `predict --deploy`: what a profile chose, in place of MODEL, --head, --threads and --isa.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microraptor::profile::Deploy;

use crate::cli::args::PredictArgs;

/// The instruction set that the file names, if one is given.
pub fn isa(args: &PredictArgs) -> anyhow::Result<Option<String>> {
    Ok(args.deploy.as_deref().map(Deploy::load).transpose()?.and_then(|deploy| deploy.isa))
}

/// The model, and the arguments with all that the file says in them. What is given on the command line stays.
pub fn resolve(args: &PredictArgs) -> anyhow::Result<(PathBuf, PredictArgs)> {
    let mut args = args.clone();
    let first = args.model.take();
    let Some(path) = &args.deploy else {
        return Ok((first.context("MODEL is missing")?, args));
    };
    let deploy = Deploy::load(path)?;
    let Some(head) = &deploy.head else {
        bail!("{}: names no head: profile with --data, so that one is trained", path.display());
    };
    args.heads = vec![PathBuf::from(head)];
    // What would be MODEL is the first image.
    args.images.splice(0..0, first);
    args.threads.threads.get_or_insert(deploy.threads);
    if let (None, Some(cores)) = (&args.threads.placement.cores, &deploy.cores) {
        let cores = cores.parse().with_context(|| format!("{}: cores", path.display()))?;
        args.threads.placement.cores = Some(cores);
    }
    check(path, &deploy)?;
    Ok((deploy.model(), args))
}

/// Refuses a head of another size than the one that was measured.
fn check(path: &Path, deploy: &Deploy) -> anyhow::Result<()> {
    let head = deploy.head.as_deref().unwrap_or_default();
    let size = microraptor::heads::Head::load(Path::new(head))?.size.to_string();
    if size != deploy.size {
        bail!("{}: was measured at {} px, and {head} is for {size} px", path.display(), deploy.size);
    }
    Ok(())
}
