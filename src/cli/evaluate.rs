//! `microraptor evaluate`

use std::io::Write;

use anyhow::{Context, bail};
use microraptor::features::{Request, gather};
use microraptor::files::check_writable;
use microraptor::heads::{Bootstrap, EvaluationSet, FeatureKind, Head, HeadModel, evaluate};
use microraptor::input::{Dataset, LabelMap, ReadOptions, Split};
use serde_json::json;

use super::args::{EvaluateArgs, Part};
use super::certainty::Certain;
use super::report::{print_judgement, record};
use super::{backbone, inputs, limits, masks, progress, terminal, trust};

/// Evaluates a head on labelled images.
pub fn run(args: &EvaluateArgs) -> anyhow::Result<()> {
    let watched = limits::Watched::new(args.head.display().to_string());
    let (head, sha256) = trust::head(&args.head)?;
    watched.next(args.data.display().to_string());
    let data = matching(Dataset::open(&args.data)?, &head.model)
        .with_context(|| format!("{} and {}", args.data.display(), args.head.display()))?;
    drop(watched);
    let name = || args.head.display().to_string();
    head.set_rule(args.coverage).with_context(name)?;
    head.contour_rule(args.coverage).with_context(name)?;
    if let Some(path) = &args.reliability {
        if head.model.makes_masks() {
            bail!("--reliability: a diagram of probabilities, and this head makes masks");
        }
        inputs::refuse(path, |inputs| {
            inputs::model(inputs, &args.model);
            inputs::head(inputs, &args.head);
            inputs::board(inputs, &args.threads.placement);
            inputs::data(inputs, &args.data, &data);
        })?;
        check_writable(path)?;
    }
    if let Some(threshold) = args.threshold.filter(|p| !(0.0..=1.0).contains(p)) {
        bail!("--threshold {threshold}: give a probability, 0 to 1");
    }
    let data = redraw(data, &head)?;
    let part = args.split.unwrap_or_else(|| usual_part(&data));
    let indices = members(&data, part);
    if indices.is_empty() {
        bail!("{}: no image is in the split '{}': give --split all", args.data.display(), part.name());
    }
    let data = data.subset(&indices);
    let read = args.choices.over(&head.read);
    let masks = masks(&data, &head, &read)?;
    let cores = args.threads.cores()?;
    let engine = backbone::open_for(&head, &args.head, &args.model, &args.hints.hints())?;

    let mut session = engine.session(cores)?.pin_caller();
    let bar = progress::bar(indices.len(), "features");
    let tokens = (head.model.features() == FeatureKind::Patch).then(|| head.model.layers());
    let request = Request { size: head.size, preprocess: &head.preprocess, read: &read, tokens };
    let all: Vec<usize> = (0..indices.len()).collect();
    let watched = limits::Watched::new(args.data.display().to_string());
    let tick = || {
        bar.inc(1);
        watched.next(format!("{} (after {} of its images)", args.data.display(), bar.position()));
    };
    let features = gather(&mut session, &data, &all, &request, args.cache.open().as_ref(), &tick)?;
    drop(watched);
    bar.finish_and_clear();
    let set = EvaluationSet {
        data: &data,
        mask_classes: head.model.classes(),
        features: &features,
        masks: &masks,
        multi_label: head.model.multi_label(),
    };
    set.check_masks()?;
    let judgement =
        evaluate(&head.model, &set, &all, args.threshold, backbone::isa(), &Bootstrap::default())?;

    let certain = Certain::new(&head, &set, &all, &judgement, args.coverage)?;
    if let Some(path) = &args.reliability {
        certain.draw(path, &head, indices.len(), part.name())?;
    }
    let mut out = terminal::stdout();
    let caveat = caveat(&data, part);
    if args.json {
        let mut record = json!({
            "head": microraptor::names::shown(&args.head), "head_sha256": sha256, "kind": head.model.kind(), "backbone": head.backbone,
            "size": head.size.to_string(), "split": part.name(), "caveat": caveat,
            "data_sha256": data.digest(), "metrics": record(&judgement),
        });
        for (name, value) in certain.record(&Default::default()) {
            record[name] = value;
        }
        writeln!(out, "{}", serde_json::to_string_pretty(&record)?)?;
    } else {
        writeln!(out, "on {} images ({}):", indices.len(), part.name())?;
        print_judgement(&judgement, &mut out)?;
        certain.print(&Default::default(), &mut out)?;
        if let Some(caveat) = caveat {
            writeln!(out, "note: {caveat}")?;
        }
    }
    Ok(())
}

/// The masks of all samples, for a dense head; empty for any other.
fn masks(data: &Dataset, head: &Head, read: &ReadOptions) -> anyhow::Result<Vec<LabelMap>> {
    let HeadModel::Segment(_) = head.model else { return Ok(Vec::new()) };
    let mask = |sample: &microraptor::input::Sample| match &sample.mask {
        Some(mask) => Ok(masks::open(sample, mask, read)?),
        None => bail!("{} has no mask: a CSV with a column 'mask' is needed for this head", sample.name),
    };
    data.samples.iter().map(mask).collect()
}

/// The data with the head's classes: all of them, some of them, or one against the rest if the head was trained so.
fn matching(data: Dataset, head: &HeadModel) -> anyhow::Result<Dataset> {
    if let HeadModel::Segment(_) = head {
        return Ok(data);
    }
    let classes = head.classes();
    if let [rest, target] = classes
        && rest == "rest"
        && data.classes.contains(target)
        && data.classes != classes
    {
        return Ok(data.target(target)?);
    }
    data.with_classes(classes).with_context(|| {
        format!("the head tells {} apart and cannot judge other classes", classes.join(", "))
    })
}

/// If the head's validation images were drawn from this same data, draws them again, so that its training images are
/// not counted as new ones.
fn redraw(mut data: Dataset, head: &Head) -> anyhow::Result<Dataset> {
    let Some(drawn) = head.training.drawn.as_ref().filter(|drawn| drawn.digest == data.digest()) else {
        return Ok(data);
    };
    let parts = match &head.training.set_aside {
        Some(aside) => data.split_aside(aside.seed, drawn.val_share, aside.share)?,
        None => data.split(drawn.seed, drawn.val_share)?,
    };
    let used = [(&parts.train, Split::Train), (&parts.val, Split::Val), (&parts.aside, Split::Train)];
    for (indices, split) in used {
        indices.iter().for_each(|&i| data.samples[i].split = Some(split));
    }
    Ok(data)
}

/// Warning to print with the metrics, if any.
fn caveat(data: &Dataset, part: Part) -> Option<&'static str> {
    match part {
        Part::Val => Some(
            "choices (C, k, the epoch, the threshold) were made on validation images: expect a little less on new ones",
        ),
        Part::Train => Some("the head was trained on these images: the numbers say little about new ones"),
        Part::All if data.samples.iter().any(|s| s.split == Some(Split::Train)) => {
            Some("some of these images were trained on: the numbers say little about new ones")
        }
        Part::All | Part::Test => None,
    }
}

fn usual_part(data: &Dataset) -> Part {
    let has = |split| data.samples.iter().any(|s| s.split == Some(split));
    match (has(Split::Test), has(Split::Val)) {
        (true, _) => Part::Test,
        (false, true) => Part::Val,
        (false, false) => Part::All,
    }
}

fn members(data: &Dataset, part: Part) -> Vec<usize> {
    let split = match part {
        Part::Train => Some(Split::Train),
        Part::Val => Some(Split::Val),
        Part::Test => Some(Split::Test),
        Part::All => None,
    };
    (0..data.samples.len()).filter(|&i| split.is_none() || data.samples[i].split == split).collect()
}
