//! How certain a head's answers are: calibration, sets of classes and the operating point, measured and printed.

use std::io::{self, Write};
use std::path::Path;

use microraptor::files::write_atomically;
use microraptor::heads::{
    Bootstrap, CertaintyMetrics, ContourReport, CoverageReport, Evaluation, EvaluationSet, Guarantee, Head,
    HeldOut, Reliability, ReliabilityBin, TrainingSummary, evaluate, evaluate_contours,
};
use microraptor::input::Dataset;
use microraptor::profile::report::reliability;
use serde_json::{Value, json};

use super::report::shown;
use super::{backbone, contours};

/// What a head's probabilities are worth on some images.
pub struct Certain {
    /// Without the head's calibration, and with it; `None` if it has none.
    metrics: Option<[CertaintyMetrics; 2]>,
    coverage: Option<CoverageReport>,
    contours: Option<ContourReport>,
    /// Number of scores of the sets, and what is known of their coverage.
    scores: Option<(usize, Guarantee)>,
    /// Reliability without the head's calibration, if it has one, and of its answers: of each label one.
    bins: Vec<(String, Vec<ReliabilityBin>)>,
}

impl Certain {
    /// Of `head` on the images `indices`, on which `judgement` was measured; sets of classes and contours are those of
    /// `coverage`, or of the head's own.
    pub fn new(
        head: &Head,
        set: &EvaluationSet<'_>,
        indices: &[usize],
        judgement: &Evaluation,
        coverage: Option<f64>,
    ) -> anyhow::Result<Certain> {
        let sets = head.conformal.as_ref().map(|conformal| conformal.scores().len());
        let scores = sets.or(head.contours.as_ref().map(|c| c.images())).zip(head.guarantee());
        let mut certain = Certain { metrics: None, coverage: None, contours: None, scores, bins: Vec::new() };
        if let Some(rule) = head.contour_rule(coverage)? {
            certain.contours = evaluate_contours(&head.model, set, indices, rule, backbone::isa())?;
        }
        let rule = head.set_rule(coverage)?;
        let Evaluation::Classes(probabilities, report) = judgement else { return Ok(certain) };
        let rows = set.rows(indices)?;
        let targets = rows.targets();
        let mut add = |probabilities: &ndarray::Array2<f64>, how: &str| {
            let all = Reliability::of(&targets, probabilities.view());
            let several = all.len() > 1;
            for (one, class) in all.iter().zip(head.model.classes()) {
                let name = if several { format!("{class}, {how}") } else { how.to_owned() };
                certain.bins.push((name, one.of_all()));
            }
        };
        if head.model.calibration().is_some() {
            let mut plain = head.model.clone();
            plain.set_calibration(None)?;
            let before = evaluate(&plain, set, indices, None, backbone::isa(), &Bootstrap::default())?;
            if let Evaluation::Classes(probabilities, before) = &before {
                add(probabilities, "without calibration");
                certain.metrics = Some([before.as_ref().into(), report.as_ref().into()]);
            }
        }
        add(probabilities, if certain.metrics.is_some() { "calibrated" } else { "not calibrated" });
        if let Some(rule) = rule {
            let outside = |&i: &usize| match &head.ood {
                Some(ood) => Ok(ood.score(&set.features[i].mean_row())?.outside),
                None => Ok(false),
            };
            let outside = indices.iter().map(outside).collect::<anyhow::Result<Vec<bool>>>()?;
            certain.coverage = CoverageReport::new(rule, &targets, probabilities.view(), &outside);
        }
        Ok(certain)
    }

    /// As JSON, with what was learned in `training`.
    pub fn record(&self, training: &TrainingSummary) -> Vec<(&'static str, Value)> {
        let mut all = Vec::new();
        if let Some(calibration) = &training.calibration {
            all.push(("calibration", json!(calibration)));
        }
        if let Some(operating) = &training.operating {
            all.push(("operating", json!(operating)));
        }
        if let Some([before, _]) = &self.metrics {
            all.push(("uncalibrated", json!(before)));
        }
        if let Some(coverage) = &self.coverage {
            let mut sets = json!(coverage);
            if let Some((scores, guarantee)) = self.scores {
                (sets["scores"], sets["guarantee"]) = (json!(scores), json!(guarantee));
            }
            all.push(("sets", sets));
        }
        if let (Some(contours), Some((scores, guarantee))) = (&self.contours, self.scores) {
            let mut contours = json!(contours);
            (contours["scores"], contours["guarantee"]) = (json!(scores), json!(guarantee));
            all.push(("contours", contours));
        }
        all
    }

    /// The same as text.
    pub fn print(&self, training: &TrainingSummary, out: &mut impl Write) -> io::Result<()> {
        if let Some(found) = &training.calibration {
            let method = match found.method.as_str() {
                "none" => "none: it would not lower the log loss",
                method => method,
            };
            writeln!(
                out,
                "\ncalibration ({method}), on {} training images, each held out of the fit ({} parts):",
                found.images, found.parts
            )?;
            print_metrics(&[found.before, found.after], out)?;
        }
        if let Some(metrics) = &self.metrics {
            writeln!(out, "\ncalibration on the images above:")?;
            print_metrics(metrics, out)?;
        }
        if let Some(point) = &training.operating {
            writeln!(
                out,
                "\nthreshold by {} on {} held-out training images: {}\n  {:<18} {}\n  {:<18} {}",
                point.rule,
                point.images,
                shown(Some(point.threshold)),
                "sensitivity there",
                shown(point.sensitivity),
                "specificity there",
                shown(point.specificity)
            )?;
        }
        if let (Some(contours), Some((scores, _))) = (&self.contours, self.scores) {
            contours::print(contours, scores, out)?;
        }
        if let Some(found) = &self.coverage {
            print_coverage(found, out)?;
            if let Some(scores) = self.scores {
                print_guarantee(scores, found.rule.coverage, out)?;
            }
        }
        Ok(())
    }

    /// Draws the reliability diagram into `path`.
    pub fn draw(&self, path: &Path, head: &Head, images: usize, part: &str) -> anyhow::Result<()> {
        let classes = head.model.classes();
        let of = match classes {
            [_, second] if !head.model.multi_label() => second.clone(),
            _ if head.model.multi_label() => "each label".to_owned(),
            _ => "the most probable class".to_owned(),
        };
        let subtitle =
            format!("{} head on {}, {images} images ({part})", head.model.kind(), head.backbone.name);
        let picture = reliability(&format!("Reliability: probability of {of}"), &subtitle, &self.bins);
        Ok(write_atomically(path, |file| file.write_all(picture.as_bytes()))?)
    }
}

fn print_metrics([before, after]: &[CertaintyMetrics; 2], out: &mut impl Write) -> io::Result<()> {
    let rows = [
        ("log loss", before.log_loss, after.log_loss),
        ("Brier score", before.brier, after.brier),
        ("calibration error", before.ece, after.ece),
    ];
    for (name, before, after) in rows {
        writeln!(out, "  {name:<18} {} before, {} after", shown(before), shown(after))?;
    }
    Ok(())
}

fn print_coverage(found: &CoverageReport, out: &mut impl Write) -> io::Result<()> {
    let CoverageReport { rule, images, covered, interval, sizes, abstained, answered_covered, .. } = found;
    writeln!(
        out,
        "\nsets of classes at coverage {}: {covered} of {images} hold the true class, {:.3} [{:.3}, {:.3}] (binomial)",
        rule.coverage, found.measured, interval.low, interval.high
    )?;
    let sizes: Vec<String> =
        sizes.iter().enumerate().map(|(size, images)| format!("{images} of {size}")).collect();
    writeln!(out, "  classes in a set   {:.3} on average: {}", found.mean_size, sizes.join(", "))?;
    writeln!(
        out,
        "  no answer          {abstained} (empty set, or unlike the training images); of the others {answered_covered} \
         of {} hold it",
        images - abstained
    )
}

/// Which promise the scores of prediction sets give.
fn print_guarantee((scores, guarantee): (usize, Guarantee), p: f64, out: &mut impl Write) -> io::Result<()> {
    match guarantee {
        Guarantee::FiniteSample => writeln!(
            out,
            "  guaranteed         {p:.3} to {:.3} on average, for images exchangeable with the {scores} that were set aside",
            p + 1.0 / (scores as f64 + 1.0)
        ),
        Guarantee::Approximate => writeln!(
            out,
            "  not guaranteed     about {p:.3}, by {scores} training images, each held out of the fit (see --set-aside)"
        ),
    }
}

/// Writes held-out predictions as CSV: image, part, label (several are separated by `|`), and the probability of each class
/// without calibration.
pub fn write_held_out(path: &Path, data: &Dataset, held_out: &HeldOut) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let fixed = ["image", "part", "label"].map(str::to_owned);
    csv.write_record(fixed.iter().chain(&data.classes))?;
    for (n, &image) in held_out.images.iter().enumerate() {
        let sample = &data.samples[image];
        let labels: Vec<&str> = sample.labels.iter().map(|&class| data.classes[class].as_str()).collect();
        let fixed = [sample.name.clone(), held_out.parts[n].to_string(), labels.join("|")];
        // The shortest text that reads as the same number.
        let probabilities = held_out.probabilities.row(n).iter().map(f64::to_string).collect::<Vec<_>>();
        csv.write_record(fixed.into_iter().chain(probabilities))?;
    }
    let bytes = csv.into_inner().map_err(|error| error.into_error())?;
    Ok(write_atomically(path, |file| file.write_all(&bytes))?)
}
