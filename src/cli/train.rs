//! `microraptor train`

use std::io::Write;

use anyhow::{Context, bail};
use microraptor::attest;
use microraptor::engine::Session;
use microraptor::features::{Request, ScanFeatures, gather};
use microraptor::files::check_writable;
use microraptor::heads::{
    AbmilOptions, Bootstrap, Certainty, CertaintyOptions, ClassWeights, DrawnSplit, Evaluation,
    EvaluationSet, FitOptions, Fitted, HELD_OUT_PARTS, Head, HeadModel, ProbeSearch, Provenance, Recipe,
    SegmentOptions, TrainingRecord, certainty, check_counts, contours, cross_validate, evaluate,
};
use microraptor::input::{Dataset, LabelMap, ReadOptions};
use microraptor::vit::Size;
use serde_json::json;

use super::args::{self, BankArg, DataArgs, HeadKind, SplitArgs, TrainArgs};
use super::certainty::{Certain, write_held_out};
use super::report::{print_judgement, record};
use super::{backbone, inputs, limits, masks, private, progress, terminal};

/// Fits a head on frozen features and writes it.
pub fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let recipe = recipe(args)?;
    if args.keep_names && args.head != HeadKind::Knn {
        bail!("--keep-names: only a knn head remembers its training images: leave it out");
    }
    let data = open(&args.data, recipe.dense())?;
    for output in std::iter::once(&args.output).chain(&args.certainty.held_out) {
        inputs::refuse(output, |inputs| {
            inputs::model(inputs, &args.model);
            inputs::board(inputs, &args.threads.placement);
            inputs::data(inputs, &args.data.data, &data);
        })?;
    }
    if recipe.dense() && args.certainty.held_out.is_some() {
        bail!("--held-out: held-out predictions of classes, and this head makes masks");
    }
    private::when_dicom(data.holds_dicom());
    let SplitArgs { seed, val_share } = args.data.split;
    let parts = match args.certainty.set_aside {
        Some(share) => data.split_aside(seed, val_share, share).context("--set-aside")?,
        None => data.split(seed, val_share)?,
    };
    if !recipe.dense() {
        check_counts(&data, &parts.train)?;
    }
    let certainty = args.certainty.options(args.head, data.is_multi_label(), seed);
    let (masks, mask_classes) = match recipe.dense() {
        true => masks::read(&data, &args.data.data, &args.read.options(), &args.classes)?,
        false => (Vec::new(), Vec::new()),
    };
    check_writable(&args.output)?;
    args.certainty.held_out.as_deref().map(check_writable).transpose()?;
    let cores = args.threads.cores()?;
    let engine = backbone::open(&args.model, &args.hints.hints())?;
    let size = backbone::size(args.size, &engine.about().preprocess);
    engine.check_size(size)?;

    // Test images are not used.
    let used: Vec<usize> = (0..data.samples.len()).filter(|i| !parts.test.contains(i)).collect();
    let place = |indices: &[usize]| -> Vec<usize> {
        indices.iter().filter_map(|i| used.binary_search(i).ok()).collect()
    };
    let (train, val, aside) = (place(&parts.train), place(&parts.val), place(&parts.aside));
    let chosen = data.subset(&used);
    certainty.check(&recipe, &chosen, (&train, &aside))?;
    let mut session = engine.session(cores)?.pin_caller();
    let read = args.read.options();
    let features = features(&mut session, &data, &used, &recipe, size, args, &read)?;
    let masks: Vec<LabelMap> = masks
        .into_iter()
        .enumerate()
        .filter(|(i, _)| !parts.test.contains(i))
        .map(|(_, mask)| mask)
        .collect();
    let set = EvaluationSet {
        data: &chosen,
        mask_classes: &mask_classes,
        features: &features,
        masks: &masks,
        multi_label: data.is_multi_label(),
    };
    set.check(&recipe)?;

    let folds = args.folds.map(|folds| cross_validation(&recipe, &set, folds as usize, args)).transpose()?;
    let bar = progress::bar(0, "fitting");
    let mut fitted = recipe.fit(&set, &train, &val, backbone::isa(), &mut |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    if let (true, HeadModel::Knn(head)) = (args.keep_names, &mut fitted.model) {
        head.keep_names(train.iter().map(|&i| chosen.samples[i].name.clone()).collect())?;
    }
    let contoured = match certainty.any() && recipe.dense() {
        true => Some(contours(&fitted.model, &set, &aside, &certainty, backbone::isa())?),
        false => None,
    };
    let set_aside = certainty.aside(&aside);
    let certainty = match certainty.any() && !recipe.dense() {
        true => Some(learn(&recipe, &set, (&train, &val, &aside), &mut fitted, &certainty)?),
        false => None,
    };
    let judgement = evaluate(&fitted.model, &set, &val, None, backbone::isa(), &Bootstrap::default())?;
    let provenance = Provenance { read, drawn: DrawnSplit::of(set.data, seed, val_share) };
    let validation = (&judgement).into();
    let mut head = Head::fitted(engine.about(), size, &set, (&train, &val), fitted, validation, provenance)
        .context("the training features")?;
    let cross = args.folds.map(|parts| parts as usize).zip(folds.as_ref());
    let record = TrainingRecord::new(
        (engine.about().precision, &head.model),
        &set,
        (&train, &val),
        parts.test.len(),
        &judgement,
        cross,
    );
    head = head.recorded(record);
    if let Some(certainty) = &certainty {
        head = head.learned(certainty);
        if let Some(path) = &args.certainty.held_out {
            write_held_out(path, set.data, &certainty.held_out)?;
        }
    }
    if let Some(contours) = contoured {
        head = head.with_contours(contours, set_aside);
    }
    head.attestation = attest::of_head(&engine, &head).context("the attestation")?;
    head.save(&args.output)?;
    let certain = Certain::new(&head, &set, &val, &judgement, None)?;
    print(args, train.len(), &head, (&judgement, &certain), folds.as_ref())
}

fn learn(
    recipe: &Recipe,
    set: &EvaluationSet<'_>,
    parts: (&[usize], &[usize], &[usize]),
    fitted: &mut Fitted,
    options: &CertaintyOptions,
) -> anyhow::Result<Certainty> {
    let bar = progress::bar(HELD_OUT_PARTS, "held-out predictions");
    let how = (backbone::isa(), &Bootstrap::default());
    let found = certainty(recipe, set, parts, fitted, options, how, &mut |done, _| {
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    Ok(found)
}

fn open(args: &DataArgs, dense: bool) -> anyhow::Result<Dataset> {
    let watched = limits::Watched::new(args.data.display().to_string());
    let data = Dataset::open(&args.data)?;
    drop(watched);
    if !dense && data.classes.is_empty() {
        bail!("{}: has no labels, only masks: use --head segment or segment3d", args.data.display());
    }
    Ok(match &args.target {
        Some(target) => data.target(target)?,
        None => data,
    })
}

/// The training recipe that the options specify.
fn recipe(args: &TrainArgs) -> anyhow::Result<Recipe> {
    if let Some(c) = args.c.filter(|c| !(c.is_finite() && *c > 0.0)) {
        bail!("--c {c}: give a positive number");
    }
    let class_weights = match args.class_weights {
        args::ClassWeights::None => ClassWeights::None,
        args::ClassWeights::Balanced => ClassWeights::Balanced,
    };
    let fit = FitOptions { class_weights, ..FitOptions::default() };
    let grid = args.c.map(|c| vec![c]).unwrap_or(ProbeSearch::default().grid);
    let search = ProbeSearch { grid, ..ProbeSearch::default() };
    let seed = args.data.split.seed;
    Ok(match args.head {
        HeadKind::Linear => Recipe::Linear(search, fit),
        HeadKind::Volume => Recipe::Volume(search, fit),
        HeadKind::Knn => {
            let (k, temperature) = (args.k, args.temperature);
            Recipe::Knn { k, temperature, int8: matches!(args.bank, BankArg::Int8) }
        }
        HeadKind::Abmil => {
            let usual = AbmilOptions::default();
            let epochs = args.epochs.map_or(usual.epochs, |n| n as usize);
            Recipe::Abmil(AbmilOptions { seed, epochs, ..usual })
        }
        HeadKind::Segment | HeadKind::Segment3d => {
            let volume = args.head == HeadKind::Segment3d;
            let usual = SegmentOptions::default();
            let options = SegmentOptions {
                decoder: args.decoder || volume,
                volume,
                seed,
                epochs: args.epochs.map(|n| n as usize),
                ..usual
            };
            Recipe::segment(&args.layers, options)
        }
    })
}

fn features(
    session: &mut Session,
    data: &Dataset,
    used: &[usize],
    recipe: &Recipe,
    size: Size,
    args: &TrainArgs,
    read: &ReadOptions,
) -> anyhow::Result<Vec<ScanFeatures>> {
    let preprocess = session.engine().about().preprocess;
    let request = Request { size, preprocess: &preprocess, read, tokens: recipe.tokens() };
    let bar = progress::bar(used.len(), "features");
    let watched = limits::Watched::new(args.data.data.display().to_string());
    let tick = || {
        bar.inc(1);
        watched.next(format!("{} (after {} of its images)", args.data.data.display(), bar.position()));
    };
    let found = gather(session, data, used, &request, args.cache.open().as_ref(), &tick)?;
    drop(watched);
    bar.finish_and_clear();
    Ok(found)
}

fn cross_validation(
    recipe: &Recipe,
    set: &EvaluationSet<'_>,
    folds: usize,
    args: &TrainArgs,
) -> anyhow::Result<Evaluation> {
    if set.data.samples.len() < folds.max(3) || folds < 3 {
        bail!(
            "--folds {folds}: give 3 (one part to fit on, one to choose, one to measure) up to the number of images"
        );
    }
    let bar = progress::bar(folds, "cross-validation");
    let of = set.data.folds(folds, args.data.split.seed);
    let bootstrap = Bootstrap::default();
    let found = cross_validate(recipe, set, (&of, folds), backbone::isa(), &bootstrap, &mut |done, _| {
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    Ok(found)
}

fn print(
    args: &TrainArgs,
    train: usize,
    head: &Head,
    (judgement, certain): (&Evaluation, &Certain),
    folds: Option<&Evaluation>,
) -> anyhow::Result<()> {
    let mut out = terminal::stdout();
    let output = args.output.display();
    if args.json {
        let mut all = json!({
            "head": microraptor::names::shown(&args.output), "kind": head.model.kind(), "backbone": head.backbone,
            "size": head.size.to_string(), "classes": head.model.classes(), "train_images": train,
            "c": head.training.c, "epoch": head.training.epoch, "validation": record(judgement),
        });
        for (name, value) in certain.record(&head.training) {
            all[name] = value;
        }
        if let Some(folds) = folds {
            all["cross_validation"] = record(folds);
        }
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        return Ok(());
    }
    writeln!(
        out,
        "{output}: {} head on {} at {} px, {train} training images{}{}\n",
        head.model.kind(),
        head.backbone.name,
        head.size,
        head.training.set_aside.map_or(String::new(), |aside| format!(" ({} more set aside)", aside.images)),
        chosen(args, head)
    )?;
    if let Some(folds) = folds {
        writeln!(out, "by cross-validation in {} parts:", args.folds.unwrap_or_default())?;
        print_judgement(folds, &mut out)?;
        writeln!(out)?;
    }
    let (images, what) = match judgement {
        Evaluation::Classes(_, report) => (report.images, chosen_on(args)),
        Evaluation::Dense(_, report) => (report.images, chosen_on(args)),
    };
    writeln!(out, "on {images} validation images{what}:")?;
    print_judgement(judgement, &mut out)?;
    certain.print(&head.training, &mut out)?;
    Ok(())
}

/// The hyperparameter chosen by the fit, as text.
fn chosen(args: &TrainArgs, head: &Head) -> String {
    match (head.training.c, head.training.epoch, &head.model) {
        (Some(c), ..) => format!(", C {c:.2e}"),
        (_, Some(epoch), _) => format!(", epoch {epoch}"),
        (.., HeadModel::Knn(knn)) => format!(", k {}, {:?}", knn.k, args.bank).to_lowercase(),
        _ => String::new(),
    }
}

/// What was chosen on the validation images, which makes their metrics optimistic.
fn chosen_on(args: &TrainArgs) -> &'static str {
    match args.head {
        HeadKind::Linear | HeadKind::Volume if args.c.is_none() => ", on which C was chosen",
        HeadKind::Linear | HeadKind::Volume => "",
        HeadKind::Knn if args.k.is_none() => ", on which k was chosen",
        HeadKind::Knn => "",
        HeadKind::Abmil | HeadKind::Segment | HeadKind::Segment3d => ", on which the epoch was chosen",
    }
}
