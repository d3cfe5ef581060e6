//! Prints metrics on the terminal.

use std::io::{self, Write};

use microraptor::heads::{DenseReport, Estimate, Evaluation, EvaluationReport};
use serde_json::{Value, json};

use super::table::{render, table};

/// The metrics as JSON.
pub fn record(judgement: &Evaluation) -> Value {
    match judgement {
        Evaluation::Classes(_, report) => json!(report),
        Evaluation::Dense(_, report) => json!(report),
    }
}

/// Prints the metrics of either kind.
pub fn print_judgement(judgement: &Evaluation, out: &mut impl Write) -> io::Result<()> {
    match judgement {
        Evaluation::Classes(_, report) => print_report(report, out),
        Evaluation::Dense(_, report) => print_dense(report, out),
    }
}

/// Prints overlap and distances, overall and per class.
fn print_dense(report: &DenseReport, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "  {:<18} {}", "Dice", shown(report.dice))?;
    writeln!(out, "  {:<18} {}", "IoU", shown(report.iou))?;
    let (hd95, asd) = (format!("HD95 {}", report.unit), format!("ASD {}", report.unit));
    let header =
        ["", "class", "images", "Dice", "IoU", &hd95, &asd, "Dice of all pixels", "missed", "false alarms"];
    let mut classes = table(&header, 2);
    for c in &report.classes {
        classes.add_row([
            String::new(),
            c.class.clone(),
            c.images.to_string(),
            shown(c.dice),
            shown(c.iou),
            shown(c.hd95),
            shown(c.asd),
            shown(c.pooled_dice),
            c.missed.to_string(),
            format!("{} of {}", c.false_alarms, report.images - c.images),
        ]);
    }
    writeln!(out, "\n{}", render(&classes))?;
    writeln!(
        out,
        "\nDice, IoU, HD95 and ASD: means over the images that have the class (distances: where it is found)"
    )?;
    writeln!(
        out,
        "[low, high]: 95% bootstrap intervals, {} resamples, seed {}",
        report.bootstrap.resamples, report.bootstrap.seed
    )
}

/// Prints the metrics, overall and per class, and the confusion matrix.
fn print_report(report: &EvaluationReport, out: &mut impl Write) -> io::Result<()> {
    let overall = [
        ("AUC", report.auc),
        ("accuracy", report.accuracy),
        ("balanced accuracy", report.balanced_accuracy),
        ("macro F1", report.macro_f1),
        ("log loss", report.log_loss),
        ("Brier score", report.brier),
        ("calibration error", report.ece),
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

/// Formats an estimate with its interval: `0.912 [0.871, 0.947]`.
pub fn shown(estimate: Option<Estimate>) -> String {
    match estimate {
        Some(Estimate { value, interval: Some(i) }) => format!("{value:.3} [{:.3}, {:.3}]", i.low, i.high),
        Some(Estimate { value, interval: None }) => format!("{value:.3}"),
        None => "-".to_owned(),
    }
}
