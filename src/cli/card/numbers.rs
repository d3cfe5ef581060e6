//! The metrics of a card.

use microraptor::heads::{CertaintyMetrics, DenseReport, EvaluationReport, Metrics, ValidationSummary};

use super::Facts;
use super::blocks::{Block, fact};
use super::details::NOT_RECORDED;
use super::evaluated::{Contours, Region, Sets};
use crate::cli::report::shown;

/// Which metrics there are, and how their intervals were computed.
pub fn metrics(facts: &Facts) -> Vec<Block> {
    let measures = if facts.head.model.makes_masks() {
        "Dice, intersection over union, 95th percentile of the Hausdorff distance (HD95) and average symmetric surface \
         distance (ASD): means over the images that have the class."
    } else {
        "AUC, accuracy, balanced accuracy (mean sensitivity), macro F1, log loss, Brier score and expected calibration \
         error; of each class AUC, sensitivity and specificity against the rest."
    };
    let mut blocks = vec![Block::Text(measures.into())];
    let record = facts.head.training.record.as_ref().map(|record| &record.validation);
    let bootstrap = record.into_iter().chain(facts.evaluations.iter().map(|found| &found.metrics)).next();
    if let Some(bootstrap) = bootstrap.map(|metrics| match metrics {
        Metrics::Classes(report) => report.bootstrap,
        Metrics::Dense(report) => report.bootstrap,
    }) {
        blocks.push(Block::Text(format!(
            "Intervals in brackets are 95% bootstrap percentiles over images ({} resamples, seed {}).",
            bootstrap.resamples, bootstrap.seed
        )));
    }
    if facts.head.model.threshold().is_some() && !facts.head.model.makes_masks() {
        blocks.push(facts.given.block("threshold_reason"));
    }
    blocks
}

/// All numbers: of validation, cross-validation, each evaluation, calibration, threshold, and the score of being unlike the
/// training images.
pub fn analyses(facts: &Facts) -> Vec<Block> {
    let training = &facts.head.training;
    let mut blocks = Vec::new();
    let titled = |title: String, metrics: &Metrics| [vec![Block::Heading(title)], of(metrics)].concat();
    if let Some(record) = &training.record {
        blocks.extend(titled("Validation images".into(), &record.validation));
        if let Some(cross) = &record.cross_validation {
            blocks.extend(titled(format!("Cross-validation in {} parts", cross.parts), &cross.metrics));
        }
    }
    for evaluation in &facts.evaluations {
        blocks.extend(titled(format!("Evaluation ({})", evaluation.split), &evaluation.metrics));
        if let Some(before) = &evaluation.uncalibrated {
            blocks.push(Block::Text("Without the head's calibration:".into()));
            blocks.push(Block::Facts(certainty(before)));
        }
        blocks.extend(evaluation.sets.as_ref().map(sets));
        blocks.extend(evaluation.contours.as_ref().map(contours));
    }
    if training.record.is_none() {
        if let Some(validation) = &training.validation {
            blocks.push(Block::Heading("Validation images".into()));
            blocks.push(Block::Facts(plain(validation)));
        }
        if facts.evaluations.is_empty() {
            blocks.push(Block::Missing(format!("Metrics with intervals: {NOT_RECORDED}")));
        }
    }
    if facts.evaluations.is_empty() {
        blocks.push(Block::Missing(
            "Test images: none given: add --evaluation with what `evaluate --json` measured on images that were not used"
                .into(),
        ));
    }
    [blocks, certain(facts), unlike(facts)].concat()
}

/// The metrics of either kind of head.
fn of(metrics: &Metrics) -> Vec<Block> {
    match metrics {
        Metrics::Classes(report) => of_classes(report),
        Metrics::Dense(report) => of_masks(report),
    }
}

fn of_classes(report: &EvaluationReport) -> Vec<Block> {
    let mut overall = vec![
        fact("Images", report.images),
        fact("AUC", shown(report.auc)),
        fact("Accuracy", shown(report.accuracy)),
        fact("Balanced accuracy", shown(report.balanced_accuracy)),
        fact("Macro F1", shown(report.macro_f1)),
        fact("Log loss", shown(report.log_loss)),
        fact("Brier score", shown(report.brier)),
        fact("Calibration error", shown(report.ece)),
    ];
    overall.extend(report.threshold.map(|threshold| fact("At the threshold", format!("{threshold:.3}"))));
    let mut blocks = vec![Block::Facts(overall)];
    let names = || report.classes.iter().map(|class| class.class.clone());
    if report.classes.is_empty() {
        return blocks;
    }
    let mut table =
        vec![["Class", "Images", "AUC", "Sensitivity", "Specificity"].map(str::to_owned).to_vec()];
    table.extend(report.classes.iter().map(|c| {
        vec![c.class.clone(), c.images.to_string(), shown(c.auc), shown(c.sensitivity), shown(c.specificity)]
    }));
    blocks.push(Block::Table(table));
    if let Some(confusion) = &report.confusion {
        let mut table: Vec<Vec<String>> =
            vec![["Truth, by prediction".to_owned()].into_iter().chain(names()).collect()];
        table.extend(
            names()
                .zip(confusion)
                .map(|(name, row)| [name].into_iter().chain(row.iter().map(u64::to_string)).collect()),
        );
        blocks.push(Block::Table(table));
    }
    blocks
}

fn of_masks(report: &DenseReport) -> Vec<Block> {
    let overall =
        vec![fact("Images", report.images), fact("Dice", shown(report.dice)), fact("IoU", shown(report.iou))];
    let unit = &report.unit;
    let header =
        ["Class", "Images", "Dice", "IoU", "HD95", "ASD", "Dice of all pixels", "Missed", "False alarms"];
    let mut table = vec![
        header
            .map(|name| match name {
                "HD95" | "ASD" => format!("{name} ({unit})"),
                name => name.to_owned(),
            })
            .to_vec(),
    ];
    table.extend(report.classes.iter().map(|c| {
        let alarms = format!("{} of {}", c.false_alarms, report.images.saturating_sub(c.images));
        let shown = [c.dice, c.iou, c.hd95, c.asd, c.pooled_dice].map(shown);
        let ends = [c.missed.to_string(), alarms];
        [c.class.clone(), c.images.to_string()].into_iter().chain(shown).chain(ends).collect()
    }));
    vec![Block::Facts(overall), Block::Table(table)]
}

/// Of a head file that has no intervals.
fn plain(found: &ValidationSummary) -> Vec<(String, String)> {
    let measures = [
        ("AUC", found.auc),
        ("Accuracy", found.accuracy),
        ("Balanced accuracy", found.balanced_accuracy),
        ("Macro F1", found.macro_f1),
        ("Log loss", found.log_loss),
        ("Dice", found.dice),
    ];
    let measures =
        measures.into_iter().filter_map(|(name, value)| Some(fact(name, format!("{:.3}", value?))));
    [fact("Images", found.images)].into_iter().chain(measures).collect()
}

fn certainty(found: &CertaintyMetrics) -> Vec<(String, String)> {
    vec![
        fact("Log loss", shown(found.log_loss)),
        fact("Brier score", shown(found.brier)),
        fact("Calibration error", shown(found.ece)),
    ]
}

fn contours(found: &Contours) -> Block {
    let held = |region: &Region| {
        let Region { held, measured, interval, empty } = region;
        format!(
            "in {held} of {}: {measured:.3} [{:.3}, {:.3}] (binomial); empty in {empty}",
            found.images, interval.low, interval.high
        )
    };
    Block::Facts(vec![
        fact("Contours at coverage", found.coverage),
        fact(&format!("The outer one holds {} of the foreground", found.share), held(&found.outer_region)),
        fact(&format!("The inner one is {} foreground", found.share), held(&found.inner_region)),
    ])
}

fn sets(found: &Sets) -> Block {
    Block::Facts(vec![
        fact("Sets of classes at coverage", found.coverage),
        fact(
            "Hold the true class",
            format!(
                "{} of {}: {:.3} [{:.3}, {:.3}] (binomial)",
                found.covered, found.images, found.measured, found.interval.low, found.interval.high
            ),
        ),
        fact("Classes in a set, on average", format!("{:.3}", found.mean_size)),
        fact("No answer", found.abstained),
    ])
}

/// Calibration and threshold, on held-out training images.
fn certain(facts: &Facts) -> Vec<Block> {
    let training = &facts.head.training;
    let mut blocks = Vec::new();
    if let Some(found) = &training.calibration {
        blocks.push(Block::Heading("Calibration".into()));
        blocks.push(Block::Text(format!(
            "Method {}, on {} training images in {} parts, each held out of the fit.",
            found.method, found.images, found.parts
        )));
        let header = ["", "Before", "After"].map(str::to_owned).to_vec();
        let rows = certainty(&found.before).into_iter().zip(certainty(&found.after));
        let rows = rows.map(|((name, before), (_, after))| vec![name, before, after]);
        blocks.push(Block::Table([header].into_iter().chain(rows).collect()));
    }
    if let Some(point) = &training.operating {
        blocks.push(Block::Heading("Decision threshold".into()));
        blocks.push(Block::Facts(vec![
            fact("Rule", format!("{}, on {} held-out training images", point.rule, point.images)),
            fact("Threshold", shown(Some(point.threshold))),
            fact("Sensitivity there", shown(point.sensitivity)),
            fact("Specificity there", shown(point.specificity)),
        ]));
    }
    blocks
}

/// The score of being unlike the training images.
fn unlike(facts: &Facts) -> Vec<Block> {
    let heading = Block::Heading("Images unlike the training images".into());
    match &facts.head.ood {
        Some(ood) => vec![
            heading,
            Block::Facts(vec![
                fact(
                    "Score",
                    format!("Mahalanobis distance in {} features, about 1 on training images", ood.dim()),
                ),
                fact("Threshold", format!("{:.4}", ood.threshold)),
                fact("Flagged", "5% of the validation images, by the choice of the threshold"),
            ]),
        ],
        None => {
            vec![heading, Block::Missing("The head has no such score: it answers any image alike.".into())]
        }
    }
}
