//! `microraptor train`

use std::io::{self, Write};

use anyhow::bail;
use microraptor::heads::{
    Backbone, Bootstrap, ClassWeights, DrawnSplit, Extracted, FeatureKind, FitOptions, Head, LinearProbe,
    Report, Search, SearchResult, TrainingSummary, ValidationSummary, check_counts, extract,
};
use microraptor::input::{Dataset, Parts};
use microraptor::output::check_writable;
use serde_json::json;

use super::args::{self, DataArgs, TrainArgs};
use super::evaluate::print_report;
use super::{backbone, progress};

/// Fits a head on frozen features and writes it.
pub fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let args::HeadKind::Linear = args.head;
    let data = open(&args.data)?;
    let parts = data.split(args.data.split.seed, args.data.split.val_share)?;
    check_counts(&data, &parts.train)?;
    if let Some(c) = args.c.filter(|c| !(c.is_finite() && *c > 0.0)) {
        bail!("--c {c}: give a positive number");
    }
    check_writable(&args.output)?;
    let cores = args.threads.cores()?;
    let engine = backbone::open(&args.model)?;
    engine.check_size(args.size)?;

    let mut session = engine.session(cores)?;
    let bar = progress::bar(parts.train.len() + parts.val.len(), "features");
    let (preprocess, several) = (&engine.about().preprocess, data.is_multi_label());
    let train = extract(&mut session, &data, &parts.train, args.size, preprocess, several, &|| bar.inc(1))?;
    let val = extract(&mut session, &data, &parts.val, args.size, preprocess, several, &|| bar.inc(1))?;
    bar.finish_and_clear();

    let found = fit(args, &data, &train, &val)?;
    let report = Report::of(&found.head, &val.examples(), found.head.threshold, &Bootstrap::default())?;
    let about = engine.about();
    let head = Head {
        size: args.size,
        preprocess: about.preprocess,
        backbone: Backbone { name: about.name.clone(), sha256: about.sha256.clone() },
        features: FeatureKind::ClsMeanPatch,
        training: summary(args, &data, &parts, &found, &report),
        tool: Head::TOOL.to_owned(),
        linear: found.head,
    };
    head.save(&args.output)?;
    print(args, &parts, &head, &report)
}

fn open(args: &DataArgs) -> anyhow::Result<Dataset> {
    let data = Dataset::open(&args.data)?;
    Ok(match &args.target {
        Some(target) => data.target(target)?,
        None => data,
    })
}

/// Fits with the C asked for, or with the one that does best on the validation images.
fn fit(args: &TrainArgs, data: &Dataset, train: &Extracted, val: &Extracted) -> anyhow::Result<SearchResult> {
    let class_weights = match args.class_weights {
        args::ClassWeights::None => ClassWeights::None,
        args::ClassWeights::Balanced => ClassWeights::Balanced,
    };
    let options = FitOptions { class_weights, ..FitOptions::default() };
    let mut search = Search::default();
    if let Some(c) = args.c {
        search.grid = vec![c];
    }
    let bar = progress::bar(search.grid.len(), "fitting");
    let found = LinearProbe::fit_best(
        &train.examples(),
        &val.examples(),
        &data.classes,
        &search,
        &options,
        &mut |done, _| bar.set_position(done as u64),
    )?;
    bar.finish_and_clear();
    for point in &found.grid {
        log::info!("C {:.1e}: validation loss {:.4}, AUC {:?}", point.c, point.log_loss, point.auc);
    }
    Ok(found)
}

fn summary(
    args: &TrainArgs,
    data: &Dataset,
    parts: &Parts,
    found: &SearchResult,
    report: &Report,
) -> TrainingSummary {
    let mut images_per_class = vec![0; data.classes.len()];
    for &i in &parts.train {
        data.samples[i].labels.iter().for_each(|&class| images_per_class[class] += 1);
    }
    TrainingSummary {
        images_per_class,
        c: found.c,
        balanced: matches!(args.class_weights, args::ClassWeights::Balanced),
        refit: false,
        validation: Some(ValidationSummary::from(report)),
        drawn: data.samples.iter().all(|s| s.split.is_none()).then(|| DrawnSplit {
            digest: data.digest(),
            seed: args.data.split.seed,
            val_share: args.data.split.val_share,
        }),
    }
}

fn print(args: &TrainArgs, parts: &Parts, head: &Head, report: &Report) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let output = args.output.display();
    if args.json {
        let record = json!({
            "head": output.to_string(), "backbone": head.backbone, "size": args.size.to_string(),
            "classes": head.linear.classes, "train_images": parts.train.len(), "c": head.training.c,
            "validation": report,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&record)?)?;
        return Ok(());
    }
    let (n, c) = (parts.train.len(), head.training.c);
    writeln!(
        out,
        "{output}: linear head on {} at {} px, {n} training images, C {c:.2e}\n",
        head.backbone.name, args.size
    )?;
    let chosen = if args.c.is_none() { ", on which C was chosen" } else { "" };
    writeln!(out, "on {} validation images{chosen}:", report.images)?;
    print_report(report, &mut out)?;
    Ok(())
}
