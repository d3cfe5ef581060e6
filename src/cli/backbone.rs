//! Resolves the MODEL argument of the command line.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, bail};
use microraptor::board::Root;
use microraptor::board::sensors::available_memory;
use microraptor::checkpoint::{self, Assumption, Card, Hints, Model};
use microraptor::engine::{DEMO, Engine, UNTRAINED};
use microraptor::heads::Head;
use microraptor::kernels::{Isa, VARIABLE};
use microraptor::vit::{Preprocess, Size};

use super::{progress, trust};

/// Seed of `untrained:NAME`.
pub const SEED: u64 = 7;

/// The instruction set chosen by `--isa`.
static ISA: OnceLock<Isa> = OnceLock::new();

/// Sets the instruction set from `--isa`, else from the environment, else the fastest of this CPU.
pub fn choose_isa(name: Option<&str>) -> anyhow::Result<()> {
    let isa = match name {
        Some(name) => Isa::named(name).context("--isa")?,
        None => Isa::preferred().context(VARIABLE)?,
    };
    log::info!("instruction set: {isa}");
    // Only the first call sets it.
    let _ = ISA.set(isa);
    Ok(())
}

/// [`choose_isa`], unless the instruction set is already set.
pub fn default_isa(name: Option<&str>) -> anyhow::Result<()> {
    if ISA.get().is_none() { choose_isa(name) } else { Ok(()) }
}

/// The instruction set to run on.
pub fn isa() -> Isa {
    *ISA.get_or_init(Isa::best)
}

/// The input size: the requested one, else the one in the model's files, else 224 px.
pub fn size(asked: Option<Size>, preprocess: &Preprocess) -> Size {
    let own = preprocess.default_size();
    if let (Some(asked), Some(_)) = (asked.filter(|asked| *asked != own), preprocess.size) {
        log::warn!("--size {asked} is taken in place of {own} px, which the model's files name");
    }
    asked.unwrap_or(own)
}

/// Logs what is assumed of the model called `name`, and what would replace each assumption.
pub fn warn(name: &str, assumed: &[Assumption]) {
    if assumed.is_empty() {
        return;
    }
    let said: Vec<String> = assumed.iter().map(settled).collect();
    log::warn!("{name}: its files do not say, and these are assumed: {}", said.join("; "));
}

/// An assumption, with what would replace it.
pub fn settled(assumption: &Assumption) -> String {
    let settles = match assumption {
        Assumption::Heads(_) => "--heads settles it",
        Assumption::Statistics(..) => "--mean and --std settle it",
        Assumption::Grid(..) => "--grid settles it",
        Assumption::Details(_) => "a config.json that names the architecture settles it",
    };
    format!("{assumption} ({settles})")
}

/// Loads MODEL: a path, `demo` for the built-in backbone, or `untrained:NAME` for a card's architecture with weights
/// from a seed.
pub fn open(model: &Path, hints: &Hints) -> anyhow::Result<Engine> {
    open_on(model, isa(), hints)
}

/// [`open`], for the given instruction set.
pub fn open_on(model: &Path, isa: Isa, hints: &Hints) -> anyhow::Result<Engine> {
    check_memory(model)?;
    let asked = trust::ask_for_model(model)?;
    let spinner = progress::spinner(format!("reading {}", model.display()));
    let engine = match untrained(model) {
        Some(name) => seeded(name, hints).map(|model| Engine::from_model(model, isa)),
        None if is_demo(model) => demo(isa).and_then(|engine| Ok(engine.agreeing(hints)?)),
        None => Engine::open_with(model, isa, hints).map_err(|error| hint(model, error.into())),
    };
    spinner.finish_and_clear();
    let engine = engine?;
    asked.loaded_model(engine.about())?;
    warn(&engine.about().name, &engine.about().assumed);
    Ok(engine)
}

/// Refuses weights that do not fit into free memory: the system would kill the program while it reads them.
fn check_memory(model: &Path) -> anyhow::Result<()> {
    let Some(available) = available_memory(&Root::live()) else { return Ok(()) };
    let bytes = weights(model);
    if bytes > available {
        let mib = |bytes: u64| bytes >> 20;
        bail!(
            "{}: its weights have {} MiB, and {} MiB of memory are free: take a smaller model",
            model.display(),
            mib(bytes),
            mib(available)
        );
    }
    Ok(())
}

/// Size of the weights in bytes; 0 if there are none, which is reported elsewhere.
fn weights(model: &Path) -> u64 {
    let length = |path: &PathBuf| std::fs::metadata(path).ok().filter(|m| m.is_file()).map_or(0, |m| m.len());
    checkpoint::weights_files(model).iter().flatten().map(length).sum()
}

/// The untrained model of the card called `name`.
pub fn seeded(name: &str, hints: &Hints) -> anyhow::Result<Model> {
    let model = Model::seeded(name, SEED)?;
    hints.agree_with(&model.name, &model.config, &model.preprocess)?;
    Ok(model)
}

/// Whether MODEL names the built-in backbone; `./demo` is a path.
pub fn is_demo(model: &Path) -> bool {
    model.as_os_str() == DEMO
}

/// The built-in backbone.
#[cfg(feature = "demo")]
pub fn demo(isa: Isa) -> anyhow::Result<Engine> {
    Ok(Engine::demo(isa)?)
}

#[cfg(not(feature = "demo"))]
fn demo(_: Isa) -> anyhow::Result<Engine> {
    Err(no_demo())
}

/// The error for a request for the built-in backbone in a build without it.
#[cfg(not(feature = "demo"))]
pub fn no_demo() -> anyhow::Error {
    anyhow::anyhow!(
        "demo: this program was built without the built-in backbone: build it with --features demo, or give \
         models/demo/demo.safetensors of its repository as MODEL (a file called demo is ./demo)"
    )
}

/// Loads MODEL and refuses it if `head`, from the file `path`, was trained on a different one.
pub fn open_for(head: &Head, path: &Path, model: &Path, hints: &Hints) -> anyhow::Result<Engine> {
    let engine = open(model, hints)?;
    head.check_backbone(engine.about()).with_context(|| path.display().to_string())?;
    Ok(engine)
}

/// The card's name in `untrained:NAME`; `None` for any other MODEL.
pub fn untrained(model: &Path) -> Option<&str> {
    model.to_str()?.strip_prefix(UNTRAINED)
}

/// Replaces `error` by a hint where to get the weights, if MODEL is a card's name and not an existing path.
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
