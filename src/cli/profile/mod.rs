//! `microraptor profile`, which also runs if no command is given.

mod print;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use microraptor::board::energy::{PowerMeter, meters};
use microraptor::board::hal::{Signals, open_meter};
use microraptor::board::{Board, Cores, Machine, Root, Signal};
use microraptor::checkpoint::Hints;
use microraptor::engine::{Backend, DEMO, Engine};
use microraptor::heads::{FitOptions, Head, ProbeSearch, Recipe, SegmentOptions};
use microraptor::input::{Dataset, phantom_dataset};
use microraptor::kernels::Isa;
use microraptor::output::Inputs;
use microraptor::profile::{
    self, Budget, Data, Deploy, Environment, Found, Journal, Limits, Options, ProfileError, Results, Row,
    SCHEMA, ScenarioKind, ScenarioName, Sweep, Watch,
};
use sha2::{Digest, Sha256};

use super::args::{ProfileArgs, ProfileHead, start_pool};
use super::{backbone, cold, inputs, limits, masks, private, progress, terminal};

/// The model to profile if none is given.
const DEFAULT_MODEL: &str = if cfg!(feature = "demo") { DEMO } else { "untrained:dinov3-vits16" };

/// The value of --data that selects phantoms.
const PHANTOMS: &str = "phantoms";

/// Number of phantoms of each of the three kinds, of which a third is held out. With 24 held-out images accuracy varied
/// by more than the effect of the input size. Without the built-in backbone, computing the features of 24 phantoms of
/// each kind at 128, 224 and 384 px on two cores takes about half of the two minutes allowed for the default run.
const PHANTOMS_PER_KIND: usize = if cfg!(feature = "demo") { 96 } else { 24 };

/// Side of a phantom in pixels.
const PHANTOM_SIDE: usize = 256;

/// The default command, at sizes that finish within two minutes: the built-in backbone on phantoms, and the latency of
/// DINOv3's ViT-S and ViT-B, whose weights may not be distributed with a program. A ViT-B in f32 at 384 px would take
/// the two minutes alone.
#[cfg(feature = "demo")]
pub const DEFAULT: [&str; 10] = [
    "microraptor",
    "profile",
    DEMO,
    "untrained:dinov3-vits16",
    "untrained:dinov3-vitb16",
    "--sizes",
    "96,160,224",
    "--data",
    PHANTOMS,
    // The table does not show cold starts, and for each a ViT-B would generate 86 million random weights.
    "--no-cold",
];

/// The default command: an untrained ViT-S on phantoms, at sizes that finish within two minutes.
#[cfg(not(feature = "demo"))]
pub const DEFAULT: [&str; 6] = ["microraptor", "profile", "--sizes", "128,224,384", "--data", PHANTOMS];

/// The value of --isa that selects every instruction set of this machine.
pub const ALL_ISAS: &str = "all";

/// Maximum time to wait for the trigger pin.
const TRIGGER_TIMEOUT: Duration = Duration::from_secs(3600);

/// Measures latency and accuracy and prints them. `isa` is the value of `--isa`.
pub fn run(args: &ProfileArgs, isa: Option<&str>) -> anyhow::Result<()> {
    let (results, written) = measure(args, isa)?;
    let mut out = terminal::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&results)?)?;
    } else {
        print::print(&results, &mut out)?;
        if let Some(folder) = &args.output {
            writeln!(out, "\nwritten to {}: {}", folder.display(), written.join(", "))?;
        }
    }
    Ok(())
}

/// Measures, and writes the report if one is requested. Returns the results and the names of the files.
pub fn measure(args: &ProfileArgs, isa: Option<&str>) -> anyhow::Result<(Results, Vec<String>)> {
    check_reading(args)?;
    let options = options(args)?;
    let data = args.data.as_deref().map(|data| open_data(data, args)).transpose()?;
    if let Some(folder) = &args.output {
        profile::check_folder(folder)?;
        refuse_inputs(args, folder, data.as_ref())?;
        private::when_dicom(data.as_ref().is_some_and(|data| data.set.holds_dicom()));
    }
    let (models, engines) = open(args, isa)?;
    for engine in &engines {
        options.sizes.iter().try_for_each(|&size| engine.check_size(size))?;
    }
    let job = Job { args, options, models, engines, data };
    let root = args.sensors.clone().map_or_else(Root::live, Root::recorded);
    let board = board(args, &root)?;
    let mut hardware = Hardware::open(args, &root, board.clone())?;
    let mut environment = Environment::read(&root, board);

    let mut new_folders = Vec::new();
    let (mut journal, heads) = match &args.output {
        Some(folder) => {
            let heads = folder.join(profile::HEADS_FOLDER);
            new_folders.extend(heads.ancestors().filter(|path| !path.exists()).map(Path::to_owned));
            let make = if job.data.is_some() { &heads } else { folder };
            std::fs::create_dir_all(make).with_context(|| make.display().to_string())?;
            let journal = Journal::open(folder, &job.fingerprint(&environment))?;
            (journal, job.data.is_some().then_some(heads))
        }
        None => (Journal::in_memory(), None),
    };
    if journal.starts() > 1 {
        log::warn!(
            "going on with a sweep that was interrupted: {} parts of it are there",
            journal.finished()
        );
    }
    hardware.begin()?;
    let found = job.sweep(heads.as_deref(), &mut hardware, &mut journal);
    hardware.end()?;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            if journal.finished() == 0 {
                // Nothing can be resumed, so remove the journal.
                journal.finish();
                // Deepest folder first; folders that are not empty stay.
                new_folders.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
            }
            return Err(error.into());
        }
    };
    environment.finish(&root);

    let limits = Limits { budget_ms: args.budget.map(|t| t.0), min_accuracy: args.min_auc };
    let decision = limits.any().then(|| limits.decide(&found.rows, &found.outcomes, job.options.seed));
    let Found { protocol, data, rows, outcomes, tests, why, heads } = found;
    let results = Results {
        schema: SCHEMA,
        environment,
        command: std::env::args_os().map(microraptor::names::shown).collect(),
        protocol,
        data,
        rows,
        outcomes,
        tests,
        why,
        decision,
    };
    let mut written = Vec::new();
    if let Some(folder) = &args.output {
        written = profile::save(&results, folder)?;
        let model = |row: &Row| job.model_of(row);
        let head = |row: &Row| heads.get(&(row.sha256.clone(), row.size())).cloned();
        written.extend(deploy(&results, folder, &model, args.hints.hints(), &head)?);
    }
    journal.finish();
    Ok((results, written))
}

/// Refuses file-reading options if no file is read, and warns that they do not apply to peers.
fn check_reading(args: &ProfileArgs) -> anyhow::Result<()> {
    if args.read.is_empty() {
        return Ok(());
    }
    match args.data.as_deref() {
        None => {
            bail!("without --data no file is read: leave out how files are read, or give labelled images")
        }
        Some(data) if data == Path::new(PHANTOMS) => {
            bail!("--data phantoms is read from no file: leave out how files are read")
        }
        Some(_) => {}
    }
    if let Some(peer) = args.peer.first() {
        log::warn!("{} reads files in its own way: how they are read here is not told to it", peer.name);
    }
    Ok(())
}

/// Refuses a folder in which a report file would overwrite an input.
fn refuse_inputs(args: &ProfileArgs, folder: &Path, data: Option<&Data>) -> anyhow::Result<()> {
    let mut read = Inputs::default();
    args.models.iter().for_each(|model| inputs::model(&mut read, model));
    inputs::board(&mut read, &args.placement);
    if let Some((path, data)) = args.data.as_deref().zip(data) {
        inputs::data(&mut read, path, &data.set);
    }
    read.refuse_in(folder, |name: &OsStr| profile::is_report_file(name).then(|| name.into()))?;
    // Every file in that folder belongs to the report, whatever its name.
    Ok(read.refuse_in(&folder.join(profile::HEADS_FOLDER), |name| Some(name.into()))?)
}

/// The requested pins and meters.
struct Hardware {
    root: Root,
    board: Option<Board>,
    signals: Option<Signals>,
}

impl Hardware {
    fn open(args: &ProfileArgs, root: &Root, board: Option<Board>) -> anyhow::Result<Hardware> {
        let signals = match args.signals.as_slice() {
            [] => None,
            asked => {
                let Some(board) = &board else {
                    bail!("--signals: no board file fits this machine: name one with --board");
                };
                Some(Signals::open(&board.pins_for(asked)?)?)
            }
        };
        // Each meter is opened once now, so that a wrong address fails before minutes of measuring.
        for spec in &args.power_meter {
            open_meter(spec)?;
        }
        Ok(Hardware { root: root.clone(), board, signals })
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        let Some(signals) = &mut self.signals else { return Ok(()) };
        if signals.has(Signal::Trigger) {
            let spinner = progress::spinner("waiting for the trigger pin");
            let pressed = signals.wait(TRIGGER_TIMEOUT)?;
            spinner.finish_and_clear();
            if !pressed {
                bail!("--signals trigger: nothing came for {} s", TRIGGER_TIMEOUT.as_secs());
            }
        }
        Ok(signals.status(true)?)
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.signals.as_mut().map_or(Ok(()), |signals| Ok(signals.status(false)?))
    }
}

/// Models and their engines, on the requested instruction set, or with `all` on every available one. All of them are
/// opened before the first is measured, so that a wrong path fails early.
fn open(args: &ProfileArgs, isa: Option<&str>) -> anyhow::Result<(Vec<PathBuf>, Vec<Engine>)> {
    let given = match args.models.as_slice() {
        [] if args.peer.is_empty() => vec![PathBuf::from(DEFAULT_MODEL)],
        models => models.to_vec(),
    };
    let isas = if isa == Some(ALL_ISAS) { Isa::available() } else { vec![backbone::isa()] };
    let (mut models, mut engines): (Vec<PathBuf>, Vec<Engine>) = (Vec::new(), Vec::new());
    for model in given {
        for &isa in &isas {
            let engine = backbone::open_on(&model, isa, &args.hints.hints())?;
            // tract does not use our instruction sets: one engine is enough.
            let other_code = engine.about().backend == Backend::Tract;
            models.push(model.clone());
            engines.push(engine);
            if other_code {
                break;
            }
        }
    }
    Ok((models, engines))
}

/// What is measured, and how.
struct Job<'a> {
    args: &'a ProfileArgs,
    options: Options,
    /// What each of the engines was opened from.
    models: Vec<PathBuf>,
    engines: Vec<Engine>,
    data: Option<Data>,
}

impl Job<'_> {
    /// SHA-256 of models for which only latency is measured: `untrained:NAME`, if another kind of model or a peer is
    /// measured too. Otherwise the accuracy on random features would be in the same column as that on trained ones. If
    /// every model is untrained, there is nothing to confuse, and accuracy is measured.
    fn latency_only(&self) -> BTreeSet<String> {
        let Job { models, engines, .. } = self;
        let (seeded, others): (Vec<usize>, Vec<usize>) =
            (0..models.len()).partition(|&i| backbone::untrained(&models[i]).is_some());
        let alone = others.is_empty() && self.args.peer.is_empty();
        seeded.into_iter().filter(|_| !alone).map(|i| engines[i].about().sha256.clone()).collect()
    }

    /// The model of a row, as it was given.
    fn model_of(&self, row: &Row) -> Option<PathBuf> {
        let same = |engine: &Engine| {
            let about = engine.about();
            about.sha256 == row.sha256 && about.runs_on() == row.backend && about.name == row.model
        };
        Some(self.models[self.engines.iter().position(same)?].clone())
    }

    /// Digest that identifies a sweep, so that only its own parts are resumed.
    fn fingerprint(&self, environment: &Environment) -> String {
        let Job { args, options, engines, data, .. } = self;
        let mut hash = Sha256::new();
        let program = (environment.version, environment.commit, &environment.cpu, environment.cores);
        let measured = (&options.sizes, &options.threads, options.budget, &options.scenarios);
        let judged =
            (&options.recipe, options.folds, options.seed, options.val_share, options.read.of_head());
        let data = data.as_ref().map(|data| (data.set.digest(), &data.mask_classes));
        let rest = (&args.peer, args.no_cold, args.signals.len(), &args.power_meter);
        hash.update(format!("{program:?}\n{measured:?}\n{judged:?}\n{data:?}\n{rest:?}\n"));
        for engine in engines {
            let about = engine.about();
            hash.update(format!("{} {} {:?}\n", about.sha256, about.precision, about.backend.isa()));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Measures what the journal does not hold yet. Heads are written to the folder `heads`.
    fn sweep(
        &self,
        heads: Option<&Path>,
        hardware: &mut Hardware,
        journal: &mut Journal,
    ) -> Result<Found, ProfileError> {
        let args = self.args;
        let Hardware { root, board, signals } = hardware;
        let meters = || all_meters(args, root, board.as_ref());
        let feeds = |meter: &str| {
            let rails = &board.as_ref()?.sensors.power;
            rails.iter().find(|rail| meter.contains(&rail.label)).map(|rail| rail.feeds.clone())
        };
        let cold = |row: &Row, cores: &Cores| {
            let model = self.model_of(row).unwrap_or_default();
            cold::measure(&model, row, cores, &args.hints)
        };
        let bar = progress::bar(0, "profile");
        // Polling the clock and memory disturbs the measurement, so it is done only if a limit was given.
        let step = |done| format!("profile (after {done} of its steps)");
        let watched = limits::asked().then(|| limits::Watched::new(step(0)));
        let sweep = Sweep {
            engines: &self.engines,
            latency_only: &self.latency_only(),
            peers: &args.peer,
            options: &self.options,
            data: self.data.as_ref(),
            heads,
            watch: Watch { root, meters: &meters },
            cold: if args.no_cold { None } else { Some(&cold) },
            signals: signals.as_mut(),
            feeds: &feeds,
            tick: &|| {
                bar.inc(1);
                if let Some(watched) = &watched {
                    watched.next(step(bar.position()));
                }
            },
        };
        bar.set_length(sweep.steps() as u64);
        let found = sweep.run(journal);
        drop(watched);
        bar.finish_and_clear();
        found
    }
}

fn board(args: &ProfileArgs, root: &Root) -> anyhow::Result<Option<Board>> {
    args.placement.board_or_recognised(&Machine::read(root))
}

/// The machine's own power meters, and the requested ones. A meter that cannot be reopened is skipped with a warning.
fn all_meters(args: &ProfileArgs, root: &Root, board: Option<&Board>) -> Vec<Box<dyn PowerMeter>> {
    let mut all = meters(root, board);
    for spec in &args.power_meter {
        match open_meter(spec) {
            Ok(meter) => all.push(meter),
            Err(error) => log::warn!("{error}"),
        }
    }
    all
}

fn options(args: &ProfileArgs) -> anyhow::Result<Options> {
    if !(args.seconds >= 0.0 && args.seconds <= 3600.0) {
        bail!("--seconds {}: give 0 to 3600", args.seconds);
    }
    if !(args.fps > 0.0 && args.fps <= 10_000.0) {
        bail!("--fps {}: give frames a second, more than 0", args.fps);
    }
    let best = args.placement.choose(&[None])?.remove(0);
    start_pool(&best);
    let mut threads: Vec<Option<usize>> = args.threads.iter().copied().map(Some).collect();
    if threads.is_empty() {
        threads = vec![Some(1), Some(best.threads())];
        threads.dedup();
    }
    let deadline = args.deadline.map_or(1.0 / args.fps, |t| t.0 / 1e3);
    let scenario = |name: &ScenarioName| match name {
        ScenarioName::SingleStream => None,
        ScenarioName::MultiStream => Some(ScenarioKind::MultiStream { images: args.streams as usize }),
        ScenarioName::Offline => Some(ScenarioKind::Offline),
        ScenarioName::Camera => {
            let deadline = Duration::from_secs_f64(deadline);
            Some(ScenarioKind::Camera { fps: args.fps, deadline })
        }
    };
    Ok(Options {
        sizes: args.sizes.clone(),
        threads: args.placement.choose(&threads)?,
        budget: Budget { runs: args.runs as usize, time: Duration::from_secs_f64(args.seconds) },
        scenarios: args.scenario.iter().filter_map(scenario).collect(),
        accuracy_threads: best,
        recipe: recipe(args),
        head: args.head.name().to_owned(),
        folds: args.folds.map(|folds| folds as usize),
        seed: args.split.seed,
        val_share: args.split.val_share,
        read: args.read.options(),
        cache: args.cache.open(),
    })
}

fn recipe(args: &ProfileArgs) -> Recipe {
    match args.head {
        ProfileHead::Linear => Recipe::Linear(ProbeSearch::default(), FitOptions::default()),
        ProfileHead::Knn => Recipe::knn(),
        ProfileHead::Segment => {
            let options = SegmentOptions { seed: args.split.seed, ..SegmentOptions::default() };
            Recipe::segment(&args.layers, options)
        }
    }
}

fn open_data(data: &Path, args: &ProfileArgs) -> anyhow::Result<Data> {
    let dense = args.head == ProfileHead::Segment;
    if dense && data == Path::new(PHANTOMS) {
        bail!("--data phantoms has no masks on the disk: give a CSV with a column 'mask' for --head segment");
    }
    let set = if data == Path::new(PHANTOMS) {
        phantom_dataset(args.split.seed, PHANTOMS_PER_KIND, PHANTOM_SIDE)
    } else {
        Dataset::open(data)?
    };
    let set = match &args.target {
        Some(target) => set.target(target)?,
        None => set,
    };
    if !dense && set.classes.is_empty() {
        bail!("{}: has no labels, only masks: use --head segment", data.display());
    }
    if let Some(folds) = args.folds.filter(|&folds| set.samples.len() < folds as usize) {
        bail!("--folds {folds}: {} has {} images only", data.display(), set.samples.len());
    }
    let (masks, mask_classes) = match dense {
        true => masks::read(&set, data, &args.read.options(), &[])?,
        false => (Vec::new(), Vec::new()),
    };
    Ok(Data { name: microraptor::names::shown(data), set, masks, mask_classes })
}

/// Writes `deploy.toml` for the row chosen by the limits, and returns the file's name, if it was written. If no row was
/// chosen, an older file is removed.
fn deploy(
    results: &Results,
    folder: &Path,
    model: &dyn Fn(&Row) -> Option<PathBuf>,
    hints: Hints,
    head: &dyn Fn(&Row) -> Option<PathBuf>,
) -> anyhow::Result<Option<String>> {
    let path = folder.join("deploy.toml");
    let Some(decision) = &results.decision else { return Ok(None) };
    let row = decision.row.map(|place| &results.rows[place]);
    let Some((row, model)) = row.and_then(|row| Some((row, model(row)?))) else {
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
        return Ok(None);
    };
    let machine = &results.environment.cpu;
    let head = head(row);
    let head = match &head {
        Some(head) => Some((head.as_path(), Head::read(head)?.1)),
        None => None,
    };
    Deploy::new(row, decision, machine, (&model, hints), head, folder).save(&path)?;
    Ok(Some("deploy.toml".to_owned()))
}
