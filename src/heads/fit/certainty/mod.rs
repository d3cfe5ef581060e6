//! How certain a head is: calibration, conformal scores and an operating threshold, all from predictions of training
//! images by heads that were fitted without them.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::heads::conformal::quantile;
use crate::heads::fit::calibrate::{applied, fit};
use crate::heads::fit::recipe::{Evaluation, EvaluationSet, Fitted, Recipe, evaluate};
use crate::heads::{
    Bootstrap, CONTOUR_SHARE, Calibration, Conformal, Estimate, EvaluationReport, HeadError, HeadModel,
    OperatingPoint, OperatingRule, Targets,
};
use crate::input::Dataset;
use crate::kernels::Isa;

/// Number of parts that are held out one by one.
pub const HELD_OUT_PARTS: usize = 5;

/// Training images of a class that are needed: with three, two remain when one is held out.
const NEEDED: usize = 3;

/// What to learn from held-out predictions, or from images that were set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CertaintyOptions {
    /// Whether to calibrate the head, if that lowers the cross entropy.
    pub calibrate: bool,
    /// Whether to keep conformal scores.
    pub sets: bool,
    /// Coverage of the sets if a prediction asks for none; implies `sets`.
    pub coverage: Option<f64>,
    /// How the threshold of two classes is chosen.
    pub operate: Option<OperatingRule>,
    /// Share of the images that [`Dataset::split_aside`] kept out, if the scores are to be those of the final head on
    /// them.
    pub set_aside: Option<f64>,
    /// Masks: the share of pixels that the statements about contours are about; [`CONTOUR_SHARE`] if none is given.
    pub contour_share: Option<f64>,
    /// Seed of the division into parts.
    pub seed: u64,
}

/// Predictions of the training images, each by a head that was fitted without its part.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// The images, as indices of the set, ascending.
    pub images: Vec<usize>,
    /// The part of each image, from 0.
    pub parts: Vec<usize>,
    /// Probabilities without calibration, `[n, classes]`.
    pub probabilities: Array2<f64>,
}

/// What was learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Certainty {
    /// The held-out predictions.
    pub held_out: HeldOut,
    /// The effect of the calibration; `None` if none was asked for.
    pub calibration: Option<CalibrationSummary>,
    /// Scores for prediction sets.
    pub conformal: Option<Conformal>,
    /// The images of these scores, if they are those of the final head on images that were set aside.
    pub set_aside: Option<SetAside>,
    /// The threshold that the head has now, if a rule was given.
    pub operating: Option<OperatingPoint>,
}

/// Images that were kept out of every fit and choice, so that the final head's scores on them are exchangeable with those
/// on new images like them (split conformal prediction).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetAside {
    /// Their number.
    pub images: usize,
    /// The share that was asked for.
    pub share: f64,
    /// Seed of [`Dataset::split_aside`], which drew them.
    pub seed: u64,
}

/// Held-out predictions before and after calibration, in which each part has the map that was fitted on the others. The
/// numbers are informative, as those of [`TrainingSummary`](crate::heads::TrainingSummary).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationSummary {
    /// `temperature` or `platt`; `none` if that did not lower the cross entropy, so that the head has no map.
    pub method: String,
    /// Number of held-out images.
    pub images: usize,
    /// Number of parts.
    pub parts: usize,
    /// Without calibration.
    pub before: CertaintyMetrics,
    /// With it.
    pub after: CertaintyMetrics,
}

/// How well probabilities agree with what is so.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertaintyMetrics {
    /// Mean cross entropy in nats.
    pub log_loss: Option<Estimate>,
    /// Brier score.
    pub brier: Option<Estimate>,
    /// Expected calibration error.
    pub ece: Option<Estimate>,
}

impl From<&EvaluationReport> for CertaintyMetrics {
    fn from(report: &EvaluationReport) -> CertaintyMetrics {
        CertaintyMetrics { log_loss: report.log_loss, brier: report.brier, ece: report.ece }
    }
}

impl CertaintyOptions {
    /// Whether anything is to be learned.
    pub fn any(&self) -> bool {
        self.calibrate || self.keeps_scores() || self.operate.is_some()
    }

    /// A record of the examples `aside` that were set aside, if there are to be any.
    pub fn aside(&self, aside: &[usize]) -> Option<SetAside> {
        self.set_aside.map(|share| SetAside { images: aside.len(), share, seed: self.seed })
    }

    fn keeps_scores(&self) -> bool {
        self.sets || self.coverage.is_some() || self.set_aside.is_some()
    }

    /// Rejects what a head of `recipe` on `data` cannot have, before it is fitted on the examples `train` while those of
    /// `aside` are set aside.
    ///
    /// # Errors
    /// [`HeadError`] says what.
    pub fn check(
        &self,
        recipe: &Recipe,
        data: &Dataset,
        (train, aside): (&[usize], &[usize]),
    ) -> Result<(), HeadError> {
        let classes = data.classes.len();
        let multi_label = data.is_multi_label();
        let words = match () {
            () if recipe.dense() => "a class for each pixel",
            () if multi_label => "several labels an image",
            () if classes == 2 => "two classes",
            () => "three or more classes",
        };
        let refuse = |what| Err(HeadError::NotForHead { what, kind: recipe.kind(), classes: words });
        let knn = matches!(recipe, Recipe::Knn { .. });
        match self {
            _ if self.contour_share.is_some() && !recipe.dense() => return refuse("a share of pixels"),
            _ if !self.any() => return Ok(()),
            _ if self.calibrate && (knn || recipe.dense()) => return refuse("calibration"),
            _ if self.keeps_scores() && recipe.kind() == "segment3d" => return refuse("contours"),
            _ if self.keeps_scores() && multi_label && !recipe.dense() => return refuse("sets of classes"),
            _ if self.operate.is_some() && (classes != 2 || multi_label || recipe.dense()) => {
                return refuse("a rule for the threshold");
            }
            _ if recipe.dense() && self.set_aside.is_none() => return Err(HeadError::ContoursNeedAside),
            _ if recipe.dense() => {
                let share = self.contour_share.unwrap_or(CONTOUR_SHARE);
                if !(share > 0.0 && share <= 1.0) {
                    return Err(HeadError::ContourShare(share));
                }
                return self.check_scores(aside.len());
            }
            _ => {}
        }
        for (number, class) in data.classes.iter().enumerate() {
            let found = train.iter().filter(|&&i| data.samples[i].labels.contains(&number)).count();
            if found < NEEDED {
                return Err(HeadError::TooFewToHoldOut { class: class.clone(), found, needed: NEEDED });
            }
        }
        self.check_scores(if self.set_aside.is_some() { aside.len() } else { train.len() })
    }

    /// Rejects a coverage that the scores of so many images cannot give.
    fn check_scores(&self, images: usize) -> Result<(), HeadError> {
        match self.coverage {
            // Of what values they are does not matter here.
            Some(coverage) => quantile(&vec![0.5; images], coverage).map(drop),
            None if images == 0 && self.keeps_scores() => Err(HeadError::Conformal),
            None => Ok(()),
        }
    }
}

/// Learns `options` for `fitted`, which `recipe` fitted on the examples `train` of `set` with those of `val` for its
/// choices, and changes its calibration and threshold. The examples `val` serve only to make the same choices again, so
/// that they can measure the result. With [`CertaintyOptions::set_aside`] the conformal scores are those of the head, with
/// its calibration, on the examples `aside`, which nothing else may have seen; otherwise they are those of the held-out
/// predictions. `progress(done, total)` is called after each part.
///
/// # Errors
/// As [`CertaintyOptions::check`], [`Recipe::fit`] and [`evaluate`]; [`HeadError::Unreachable`] when no threshold meets
/// the rule.
pub fn certainty(
    recipe: &Recipe,
    set: &EvaluationSet<'_>,
    (train, val, aside): (&[usize], &[usize], &[usize]),
    fitted: &mut Fitted,
    options: &CertaintyOptions,
    (isa, bootstrap): (Isa, &Bootstrap),
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Certainty, HeadError> {
    options.check(recipe, set.data, (train, aside))?;
    let held_out = held_out(&recipe.chosen(fitted), set, (train, val), options.seed, isa, progress)?;
    let rows = set.rows(&held_out.images)?;
    let targets = rows.targets();
    let mut probabilities = held_out.probabilities.clone();
    let mut calibration = None;
    if options.calibrate {
        let (map, summary) = calibrated(&set.data.classes, &targets, &held_out, bootstrap)?;
        if let Some(map) = map {
            let threshold = fitted.model.threshold().unwrap_or(0.5);
            probabilities = applied(&map, set.multi_label, probabilities.view());
            fitted.model.set_threshold(map.threshold(threshold, set.multi_label))?;
            fitted.model.set_calibration(Some(map))?;
        }
        calibration = Some(summary);
    }
    let conformal = match (&targets, options.set_aside) {
        (Targets::Classes(_), Some(_)) => {
            let scores = scores_aside(&fitted.model, set, aside, isa)?;
            Some(Conformal::new(scores, options.coverage)?)
        }
        (Targets::Classes(of), None) if options.keeps_scores() => {
            let scores = of.iter().zip(probabilities.rows()).map(|(&class, row)| 1.0 - row[class]);
            Some(Conformal::new(scores.collect(), options.coverage)?)
        }
        _ => None,
    };
    let set_aside = options.aside(aside).filter(|_| conformal.is_some());
    let operating = match options.operate {
        Some(rule) => {
            let scores = probabilities.column(1).to_vec();
            let point = OperatingPoint::choose(rule, &targets.has(1), &scores, bootstrap)
                .ok_or_else(|| HeadError::Unreachable(rule.to_string()))?;
            fitted.model.set_threshold(point.threshold.value)?;
            Some(point)
        }
        None => None,
    };
    Ok(Certainty { held_out, calibration, conformal, set_aside, operating })
}

/// One minus the probability that `model` gives to the class of each of the examples `aside`.
fn scores_aside(
    model: &HeadModel,
    set: &EvaluationSet<'_>,
    aside: &[usize],
    isa: Isa,
) -> Result<Vec<f64>, HeadError> {
    let none = Bootstrap { resamples: 0, seed: 0 };
    match evaluate(model, set, aside, None, isa, &none)? {
        Evaluation::Classes(rows, _) => {
            let score =
                |(&i, row): (&usize, ndarray::ArrayView1<'_, f64>)| 1.0 - row[set.data.samples[i].labels[0]];
            Ok(aside.iter().zip(rows.rows()).map(score).collect())
        }
        Evaluation::Dense(..) => Err(HeadError::Conformal),
    }
}

/// Predictions of the examples `train`, each part by a head that `recipe` fitted on the other parts. Choices are made on
/// the examples `val`.
fn held_out(
    recipe: &Recipe,
    set: &EvaluationSet<'_>,
    (train, val): (&[usize], &[usize]),
    seed: u64,
    isa: Isa,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<HeldOut, HeadError> {
    let mut images = train.to_vec();
    images.sort_unstable();
    let parts = set.data.subset(&images).folds(HELD_OUT_PARTS, seed);
    let none = Bootstrap { resamples: 0, seed: 0 };
    let mut probabilities = Array2::zeros((images.len(), set.data.classes.len()));
    for part in 0..HELD_OUT_PARTS {
        let (out, rest): (Vec<usize>, Vec<usize>) = (0..images.len()).partition(|&i| parts[i] == part);
        let of = |places: &[usize]| places.iter().map(|&place| images[place]).collect::<Vec<usize>>();
        if !out.is_empty() {
            let model = recipe.fit(set, &of(&rest), val, isa, &mut |_, _| {})?.model;
            if let Evaluation::Classes(rows, _) = evaluate(&model, set, &of(&out), None, isa, &none)? {
                out.iter().zip(rows.rows()).for_each(|(&i, row)| probabilities.row_mut(i).assign(&row));
            }
        }
        progress(part + 1, HELD_OUT_PARTS);
    }
    Ok(HeldOut { images, parts, probabilities })
}

/// The map that was fitted on all held-out predictions, if maps that were fitted on the other parts lower the cross
/// entropy of a part, and their effect.
fn calibrated(
    classes: &[String],
    targets: &Targets<'_>,
    held_out: &HeldOut,
    bootstrap: &Bootstrap,
) -> Result<(Option<Calibration>, CalibrationSummary), HeadError> {
    let p = &held_out.probabilities;
    let measure = |p: &Array2<f64>| {
        EvaluationReport::new(classes, targets, p.view(), 0.5, bootstrap).map(|r| (&r).into())
    };
    let before: CertaintyMetrics = measure(p)?;
    let mut after = before;
    let mut map = fit(targets, p.view());
    if map.is_some() {
        let crossed = crossed(targets, held_out);
        after = measure(crossed.as_ref().unwrap_or(p))?;
        let loss = |metrics: &CertaintyMetrics| metrics.log_loss.map_or(f64::INFINITY, |e| e.value);
        if loss(&after) >= loss(&before) {
            map = None;
        }
    }
    let method = match map {
        Some(Calibration::Temperature(_)) => "temperature",
        Some(Calibration::Platt(_)) => "platt",
        None => "none",
    };
    let (images, parts) = (held_out.images.len(), HELD_OUT_PARTS);
    Ok((map, CalibrationSummary { method: method.into(), images, parts, before, after }))
}

/// The probabilities of each part after the map that was fitted on the others; `None` if one of the fits fails.
fn crossed(targets: &Targets<'_>, held_out: &HeldOut) -> Option<Array2<f64>> {
    let p = &held_out.probabilities;
    let mut all = p.clone();
    for part in 0..HELD_OUT_PARTS {
        let (out, rest): (Vec<usize>, Vec<usize>) = (0..p.nrows()).partition(|&i| held_out.parts[i] == part);
        let select = |places: &[usize]| p.select(ndarray::Axis(0), places);
        let map = match targets {
            Targets::Classes(of) => {
                let of: Vec<usize> = rest.iter().map(|&i| of[i]).collect();
                fit(&Targets::Classes(&of), select(&rest).view())
            }
            Targets::Labels(of) => {
                fit(&Targets::Labels(of.select(ndarray::Axis(0), &rest).view()), select(&rest).view())
            }
        }?;
        let warm = applied(&map, targets.multi_label(), select(&out).view());
        out.iter().zip(warm.rows()).for_each(|(&i, row)| all.row_mut(i).assign(&row));
    }
    Some(all)
}

#[cfg(test)]
mod tests;
