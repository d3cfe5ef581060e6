//! Accuracy of a head trained for one model at one input size.

use serde::{Deserialize, Serialize};

use super::data::{Data, Roles};
use super::{Accuracy, Options, Outcomes, ProfileError};
use crate::features::ScanFeatures;
use crate::heads::{
    Bootstrap, Case, Evaluation, EvaluationSet, Fitted, HeadModel, ProbeSearch, Recipe, cross_validate,
    evaluate,
};
use crate::input::{Dataset, LabelMap};
use crate::kernels::Isa;

/// Stored result of one measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    pub accuracy: Accuracy,
    /// `None` for multi-label images, for which there is no paired test.
    pub outcomes: Option<Outcomes>,
}

/// The images that every configuration is evaluated on.
pub(super) struct Examination<'a> {
    /// All labelled images.
    pub data: &'a Data,
    /// Roles of the images.
    pub roles: &'a Roles,
    /// How heads are fitted and evaluated.
    pub options: &'a Options,
    /// Images whose features are needed, as ascending indices into `data`.
    pub used: Vec<usize>,
    set: Dataset,
    masks: Vec<LabelMap>,
}

impl<'a> Examination<'a> {
    /// Uses the images of `data` that have one of the `roles`.
    pub fn new(data: &'a Data, roles: &'a Roles, options: &'a Options) -> Examination<'a> {
        let used = roles.used();
        let masks = match options.recipe.dense() {
            true => used.iter().map(|&i| data.masks[i].clone()).collect(),
            false => Vec::new(),
        };
        Examination { set: data.set.subset(&used), masks, data, roles, options, used }
    }

    /// The images with their features, one entry for each of `used`.
    pub fn examined<'b>(&'b self, features: &'b [ScanFeatures]) -> EvaluationSet<'b> {
        EvaluationSet {
            data: &self.set,
            mask_classes: &self.data.mask_classes,
            features,
            masks: &self.masks,
            multi_label: self.data.set.is_multi_label(),
        }
    }

    /// Converts indices into the data to indices into [`Examination::examined`].
    fn places(&self, indices: &[usize]) -> Vec<usize> {
        indices.iter().filter_map(|i| self.used.binary_search(i).ok()).collect()
    }

    /// Indices into [`Examination::examined`] of the images to fit on, and of those to choose C, k or the epoch on.
    pub fn examples(&self) -> (Vec<usize>, Vec<usize>) {
        (self.places(&self.roles.train), self.places(&self.roles.choose))
    }

    /// Trains a head on `features` and measures its accuracy. `subject` identifies the configuration; its truth and
    /// values are filled in. Also returns the fitted head.
    ///
    /// # Errors
    /// [`ProfileError::Head`] if a fit fails.
    pub fn measure(
        &self,
        features: &[ScanFeatures],
        subject: Outcomes,
    ) -> Result<(Measured, Fitted), ProfileError> {
        let (roles, recipe) = (self.roles, &self.options.recipe);
        let examined = self.examined(features);
        examined.check(recipe)?;
        let (train, choose) = self.examples();
        let fitted = fit(recipe, &examined, &train, &choose)?;
        let bootstrap = Bootstrap { seed: self.options.seed, ..Bootstrap::default() };
        let isa = Isa::best();
        let judgement = match &roles.folds {
            None => {
                let held_out = self.places(&roles.held_out);
                evaluate(&fitted.model, &examined, &held_out, None, isa, &bootstrap)?
            }
            Some((of, parts)) => {
                cross_validate(recipe, &examined, (of, *parts), isa, &bootstrap, &mut |_, _| {})?
            }
        };
        Ok((measured(&judgement, self.data, &roles.measured(), subject), fitted))
    }
}

/// Fits a head on `train` and chooses C, k or the epoch on `choose`. Linear and k-NN heads are then fitted again on
/// both sets together, with the chosen value.
fn fit(
    recipe: &Recipe,
    set: &EvaluationSet<'_>,
    train: &[usize],
    choose: &[usize],
) -> Result<Fitted, ProfileError> {
    let isa = Isa::best();
    let fit = |recipe: &Recipe, train: &[usize]| recipe.fit(set, train, choose, isa, &mut |_, _| {});
    if let Recipe::Linear(search, options) = recipe {
        let search = ProbeSearch { refit: true, ..search.clone() };
        return Ok(fit(&Recipe::Linear(search, *options), train)?);
    }
    let first = fit(recipe, train)?;
    if let (Recipe::Knn { temperature, int8, .. }, HeadModel::Knn(chosen)) = (recipe, &first.model) {
        let both = [train, choose].concat();
        let again = Recipe::Knn { k: Some(chosen.k), temperature: *temperature, int8: *int8 };
        let mut all = fit(&again, &both)?;
        if let HeadModel::Knn(head) = &mut all.model {
            // Keep the first fit's threshold: now each image to choose on is in the bank, as its own nearest neighbour,
            // so a threshold chosen on it would rest on overconfident scores.
            head.threshold = chosen.threshold;
        }
        return Ok(Fitted { refit: true, ..all });
    }
    Ok(first)
}

fn measured(judgement: &Evaluation, data: &Data, order: &[usize], subject: Outcomes) -> Measured {
    match judgement {
        Evaluation::Classes(probabilities, report) => {
            let (metric, estimate) = match report.auc {
                Some(auc) => ("AUC", auc),
                None => ("accuracy", report.accuracy.expect("a set with images has an accuracy")),
            };
            let outcomes = (!report.multi_label).then(|| Outcomes {
                truth: order.iter().map(|&i| data.set.samples[i].labels[0]).collect(),
                values: probabilities
                    .rows()
                    .into_iter()
                    .map(|p| p.iter().map(|&p| Some(p)).collect())
                    .collect(),
                ..subject
            });
            Measured { accuracy: Accuracy::new(metric, Some(estimate), report.images), outcomes }
        }
        Evaluation::Dense(cases, report) => {
            let dice = |case: &Case| {
                let of = |o: &crate::heads::Overlap| (o.truth > 0).then(|| o.dice()).flatten();
                case.overlaps[1..].iter().map(of).collect()
            };
            let values = cases.iter().map(dice).collect();
            let outcomes = Some(Outcomes { truth: Vec::new(), values, ..subject });
            Measured { accuracy: Accuracy::new("Dice", report.dice, report.images), outcomes }
        }
    }
}

impl Accuracy {
    fn new(metric: &str, estimate: Option<crate::heads::Estimate>, images: usize) -> Accuracy {
        let interval = estimate.and_then(|e| e.interval);
        Accuracy {
            metric: metric.to_owned(),
            value: estimate.map_or(0.0, |e| e.value),
            low: interval.map(|i| i.low),
            high: interval.map(|i| i.high),
            images,
        }
    }
}
