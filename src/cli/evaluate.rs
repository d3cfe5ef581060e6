//! `microraptor evaluate`

use std::io::{self, Write};

use anyhow::{Context, bail};
use microraptor::heads::{Bootstrap, Estimate, Head, LinearHead, Report, extract};
use microraptor::input::{Dataset, Split};
use serde_json::json;

use super::args::{EvaluateArgs, Part};
use super::table::{render, table};
use super::{backbone, progress};

/// Measures a head on labelled images.
pub fn run(args: &EvaluateArgs) -> anyhow::Result<()> {
    let head = Head::load(&args.head)?;
    let data = matching(Dataset::open(&args.data)?, &head.linear)
        .with_context(|| format!("{} and {}", args.data.display(), args.head.display()))?;
    let threshold = args.threshold.unwrap_or(head.linear.threshold);
    if !(0.0..=1.0).contains(&threshold) {
        bail!("--threshold {threshold}: give a probability, 0 to 1");
    }
    let data = redraw(data, &head)?;
    let part = args.split.unwrap_or_else(|| usual_part(&data));
    let indices = members(&data, part);
    if indices.is_empty() {
        bail!("{}: no image is in the split '{}': give --split all", args.data.display(), part.name());
    }
    let cores = args.threads.cores()?;
    let engine = backbone::open_for(&head, &args.head, &args.model)?;

    let mut session = engine.session(cores)?;
    let bar = progress::bar(indices.len(), "features");
    let found = extract(
        &mut session,
        &data,
        &indices,
        head.size,
        &head.preprocess,
        head.linear.multi_label,
        &|| bar.inc(1),
    )?;
    bar.finish_and_clear();
    let report = Report::of(&head.linear, &found.examples(), threshold, &Bootstrap::default())?;

    let mut out = io::stdout().lock();
    let caveat = caveat(&data, part);
    if args.json {
        let record = json!({
            "head": args.head.display().to_string(), "backbone": head.backbone, "size": head.size.to_string(),
            "split": part.name(), "caveat": caveat, "metrics": report,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&record)?)?;
    } else {
        writeln!(out, "on {} images ({}):", report.images, part.name())?;
        print_report(&report, &mut out)?;
        if let Some(caveat) = caveat {
            writeln!(out, "note: {caveat}")?;
        }
    }
    Ok(())
}

/// The data with the head's classes: as they are, some of them, or one against the rest if that is what the head tells.
fn matching(data: Dataset, head: &LinearHead) -> anyhow::Result<Dataset> {
    if let [rest, target] = head.classes.as_slice()
        && rest == "rest"
        && data.classes.contains(target)
        && data.classes != head.classes
    {
        return Ok(data.target(target)?);
    }
    data.with_classes(&head.classes).with_context(|| {
        format!("the head tells {} apart and cannot judge other classes", head.classes.join(", "))
    })
}

/// Where the head's validation images were drawn from this very data, draws them again, so that images which it was
/// trained on are not taken for new ones.
fn redraw(mut data: Dataset, head: &Head) -> anyhow::Result<Dataset> {
    let Some(drawn) = head.training.drawn.as_ref().filter(|drawn| drawn.digest == data.digest()) else {
        return Ok(data);
    };
    let parts = data.split(drawn.seed, drawn.val_share)?;
    for (indices, split) in [(&parts.train, Split::Train), (&parts.val, Split::Val)] {
        indices.iter().for_each(|&i| data.samples[i].split = Some(split));
    }
    Ok(data)
}

/// What must be said with the numbers.
fn caveat(data: &Dataset, part: Part) -> Option<&'static str> {
    match part {
        Part::Val => {
            Some("C and the threshold were chosen on validation images: expect a little less on new ones")
        }
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

/// Prints the metrics: overall, class by class, and the confusion matrix.
pub fn print_report(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let overall = [
        ("AUC", report.auc),
        ("accuracy", report.accuracy),
        ("balanced accuracy", report.balanced_accuracy),
        ("macro F1", report.macro_f1),
        ("log loss", report.log_loss),
    ];
    for (name, estimate) in overall {
        writeln!(out, "  {name:<18} {}", shown(estimate))?;
    }
    if let Some(threshold) = report.threshold {
        writeln!(out, "  at threshold       {threshold:.3}")?;
    }
    let mut classes = table(&["", "class", "images", "AUC", "sensitivity", "specificity"], 2);
    for c in &report.classes {
        classes.add_row([
            String::new(),
            c.class.clone(),
            c.images.to_string(),
            shown(c.auc),
            shown(c.sensitivity),
            shown(c.specificity),
        ]);
    }
    writeln!(out, "\n{}", render(&classes))?;
    if let Some(confusion) = &report.confusion {
        let names = report.classes.iter().map(|c| c.class.as_str());
        let header: Vec<&str> = ["", "truth \\ predicted"].into_iter().chain(names).collect();
        let mut matrix = table(&header, 2);
        for (class, counts) in report.classes.iter().zip(confusion) {
            let counts = counts.iter().map(u64::to_string);
            matrix.add_row([String::new(), class.class.clone()].into_iter().chain(counts));
        }
        writeln!(out, "\n{}", render(&matrix))?;
    }
    writeln!(
        out,
        "\n[low, high]: 95% bootstrap intervals, {} resamples, seed {}",
        report.bootstrap.resamples, report.bootstrap.seed
    )
}

/// `0.912 [0.871, 0.947]`
fn shown(estimate: Option<Estimate>) -> String {
    match estimate {
        Some(Estimate { value, interval: Some(i) }) => format!("{value:.3} [{:.3}, {:.3}]", i.low, i.high),
        Some(Estimate { value, interval: None }) => format!("{value:.3}"),
        None => "-".to_owned(),
    }
}
