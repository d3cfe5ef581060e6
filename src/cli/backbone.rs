//! What MODEL means on the command line.

use std::path::Path;

use anyhow::Context;
use microraptor::checkpoint::{Card, Model};
use microraptor::engine::Engine;
use microraptor::heads::Head;
use microraptor::kernels::Isa;

use super::progress;

/// Seed of `untrained:NAME`.
pub const SEED: u64 = 7;

/// Loads MODEL: a path, or `untrained:NAME` for a card's architecture with weights from a seed.
pub fn open(model: &Path) -> anyhow::Result<Engine> {
    let spinner = progress::spinner(format!("reading {}", model.display()));
    let engine = match untrained(model) {
        Some(name) => seeded(name),
        None => Engine::open(model).map_err(|error| hint(model, error.into())),
    };
    spinner.finish_and_clear();
    engine
}

fn seeded(name: &str) -> anyhow::Result<Engine> {
    Ok(Engine::from_model(Model::seeded(name, SEED)?, Isa::preferred()?))
}

/// Loads MODEL and refuses it if `head`, from the file `path`, was trained on another.
pub fn open_for(head: &Head, path: &Path, model: &Path) -> anyhow::Result<Engine> {
    let engine = open(model)?;
    head.check_backbone(&engine.about().sha256).with_context(|| path.display().to_string())?;
    Ok(engine)
}

/// The card's name in `untrained:NAME`.
pub fn untrained(model: &Path) -> Option<&str> {
    model.to_str()?.strip_prefix("untrained:")
}

/// Someone who gives a card's name as a path wants to know where the weights come from.
pub fn hint(model: &Path, error: anyhow::Error) -> anyhow::Error {
    match model.to_str().filter(|_| !model.exists()).and_then(|name| Card::by_name(name).ok()) {
        Some(card) => anyhow::anyhow!(
            "{0} is the name of a card, not a file: fetch the weights (`microraptor models {0}` says where) and give \
             their folder, or take untrained:{0} to measure latency alone",
            card.name
        ),
        None => error,
    }
}
