//! How each kind of head is fitted to a data set and evaluated on one.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ndarray::Array2;

use super::extracted::Extracted;
use crate::features::ScanFeatures;
use crate::heads::measure::voxel_sizes;
use crate::heads::{
    AbmilHead, AbmilOptions, Bags, Bootstrap, Case, ClassWeights, DenseReport, EvaluationReport, FitOptions,
    HeadError, HeadModel, KnnHead, LinearProbe, Masked, Outcome, Predictor, ProbeSearch, SegmentHead,
    SegmentOptions, TEMPERATURE,
};
use crate::input::{Dataset, LabelMap};
use crate::kernels::Isa;
use crate::parallel::in_pool;

/// How a head is fitted.
#[derive(Clone, Debug, PartialEq)]
pub enum Recipe {
    /// Logistic regression on images.
    Linear(ProbeSearch, FitOptions),
    /// Logistic regression on the mean over slices or frames.
    Volume(ProbeSearch, FitOptions),
    /// Nearest neighbours.
    Knn {
        /// Number of neighbours that vote; `None` to select it on the validation images.
        k: Option<usize>,
        /// Temperature of the vote.
        temperature: f64,
        /// Whether the training features are stored as int8 instead of half precision.
        int8: bool,
    },
    /// Attention over slices or frames.
    Abmil(AbmilOptions),
    /// One class per pixel or voxel, from the patch tokens of these blocks, ascending (empty for the last).
    Segment(Vec<usize>, SegmentOptions),
}

/// A data set with its features.
#[derive(Clone, Copy)]
pub struct EvaluationSet<'a> {
    /// The examples.
    pub data: &'a Dataset,
    /// Names of the mask classes, the background first; ignored by heads that read labels.
    pub mask_classes: &'a [String],
    /// Features of every example.
    pub features: &'a [ScanFeatures],
    /// The mask of every example; empty for heads that read labels.
    pub masks: &'a [LabelMap],
    /// Whether an example may have several labels.
    pub multi_label: bool,
}

/// A fitted head, and how it was fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The learned part.
    pub model: HeadModel,
    /// Inverse regularisation strength of a linear head.
    pub c: Option<f64>,
    /// The epoch kept, for a head trained with AdamW.
    pub epoch: Option<usize>,
    /// Seed of the initial weights and the training order of such a head.
    pub seed: Option<u64>,
    /// Whether the classes were weighted to count equally.
    pub balanced: bool,
    /// Whether the final fit joined the training and validation images.
    pub refit: bool,
}

/// A head's performance on some examples.
#[derive(Clone, Debug, PartialEq)]
pub enum Evaluation {
    /// For classes: probabilities `[n, classes]` and the metrics.
    Classes(Array2<f64>, Box<EvaluationReport>),
    /// For masks: the results of each example and the metrics.
    Dense(Vec<Case>, Box<DenseReport>),
}

impl Default for Recipe {
    /// A linear head, with C selected on the validation images.
    fn default() -> Recipe {
        Recipe::Linear(ProbeSearch::default(), FitOptions::default())
    }
}

impl Recipe {
    /// Nearest neighbours as in the papers, with k selected on the validation images.
    pub fn knn() -> Recipe {
        Recipe::Knn { k: None, temperature: TEMPERATURE, int8: false }
    }

    /// One class per pixel or voxel, from the patch tokens of the blocks `layers`, given in any order.
    pub fn segment(layers: &[usize], options: SegmentOptions) -> Recipe {
        let layers = BTreeSet::from_iter(layers.iter().copied());
        Recipe::Segment(layers.into_iter().collect(), options)
    }

    /// Whether it reads masks instead of labels.
    pub fn dense(&self) -> bool {
        matches!(self, Recipe::Segment(..))
    }

    /// The kind of head that it fits, [`HeadModel::kind`].
    pub fn kind(&self) -> &'static str {
        match self {
            Recipe::Linear(..) => "linear",
            Recipe::Volume(..) => "volume",
            Recipe::Knn { .. } => "knn",
            Recipe::Abmil(_) => "abmil",
            Recipe::Segment(_, options) if options.volume => "segment3d",
            Recipe::Segment(..) => "segment",
        }
    }

    /// The recipe with the C that `fitted` chose.
    pub fn chosen(&self, fitted: &Fitted) -> Recipe {
        let grid = |search: &ProbeSearch| match fitted.c {
            Some(c) => ProbeSearch { grid: vec![c], ..search.clone() },
            None => search.clone(),
        };
        match self {
            Recipe::Linear(search, options) => Recipe::Linear(grid(search), *options),
            Recipe::Volume(search, options) => Recipe::Volume(grid(search), *options),
            other => other.clone(),
        }
    }

    /// Blocks whose patch tokens it reads; `None` if it reads none.
    pub fn tokens(&self) -> Option<&[usize]> {
        match self {
            Recipe::Segment(layers, _) => Some(layers),
            _ => None,
        }
    }

    /// Whether its examples are clips and volumes; otherwise each must be one image.
    pub fn takes_bags(&self) -> bool {
        match self {
            Recipe::Volume(..) | Recipe::Abmil(_) => true,
            Recipe::Segment(_, options) => options.volume,
            Recipe::Linear(..) | Recipe::Knn { .. } => false,
        }
    }

    /// Fits on the examples `train` and selects hyperparameters on the examples `val`. `progress(done, total)` is
    /// called during the fit.
    ///
    /// # Errors
    /// [`HeadError`] when the examples do not suit the recipe, a class has too few examples, or the fit fails.
    pub fn fit(
        &self,
        set: &EvaluationSet<'_>,
        train: &[usize],
        val: &[usize],
        isa: Isa,
        progress: &mut (dyn FnMut(usize, usize) + Send),
    ) -> Result<Fitted, HeadError> {
        in_pool(|| {
            let classes = &set.data.classes;
            match self {
                Recipe::Linear(search, options) | Recipe::Volume(search, options) => {
                    let (train, val) = (set.rows(train)?, set.rows(val)?);
                    let (train, val) = (train.examples(), val.examples());
                    let found = LinearProbe::fit_best(&train, &val, classes, search, options, progress)?;
                    let model = match self {
                        Recipe::Linear(..) => HeadModel::Linear(found.head),
                        _ => HeadModel::Volume(found.head),
                    };
                    let balanced = options.class_weights == ClassWeights::Balanced;
                    Ok(Fitted { c: Some(found.c), balanced, refit: search.refit, ..Fitted::of(model) })
                }
                Recipe::Knn { k, temperature, int8 } => {
                    let (train, val) = (set.rows(train)?.cls(), set.rows(val)?.cls());
                    let mut head = KnnHead::new(&train.examples(), classes, *int8)?;
                    head.temperature = *temperature;
                    head.choose(&val.examples(), *k, isa)?;
                    Ok(Fitted::of(HeadModel::Knn(head)))
                }
                Recipe::Abmil(options) => {
                    let (train_labels, val_labels) = (set.rows(train)?, set.rows(val)?);
                    let train = Bags { rows: &set.bags(train), targets: train_labels.targets() };
                    let val = Bags { rows: &set.bags(val), targets: val_labels.targets() };
                    let (head, epoch) = AbmilHead::fit(&train, &val, classes, options, progress)?;
                    Ok(Fitted::trained(HeadModel::Abmil(head), epoch, options.seed))
                }
                Recipe::Segment(layers, options) => {
                    let (train_masks, val_masks) = (set.seen(train), set.seen(val));
                    let (train, val) = (set.masked(train, &train_masks)?, set.masked(val, &val_masks)?);
                    let (head, _, epoch) =
                        SegmentHead::fit(&train, &val, set.mask_classes, layers, options, progress)?;
                    Ok(Fitted::trained(HeadModel::Segment(head), epoch, options.seed))
                }
            }
        })
    }
}

impl Fitted {
    /// A head that was fitted once, on the training images alone, without hyperparameters to record.
    fn of(model: HeadModel) -> Fitted {
        Fitted { model, c: None, epoch: None, seed: None, balanced: false, refit: false }
    }

    /// A head trained with AdamW.
    fn trained(model: HeadModel, epoch: usize, seed: u64) -> Fitted {
        Fitted { epoch: Some(epoch), seed: Some(seed), ..Fitted::of(model) }
    }
}

impl EvaluationSet<'_> {
    /// The feature rows of the examples `indices`, with their labels.
    pub fn rows(&self, indices: &[usize]) -> Result<Extracted, HeadError> {
        let features: Vec<&ScanFeatures> = indices.iter().map(|&i| &self.features[i]).collect();
        Extracted::new(self.data, indices, &features, self.multi_label)
    }

    /// The mean rows of the examples `indices`, `[n, 2 * dim]`.
    pub fn mean_rows(&self, indices: &[usize]) -> Array2<f32> {
        let rows: Vec<Vec<f32>> = indices.iter().map(|&i| self.features[i].mean_row()).collect();
        let width = rows.first().map_or(0, Vec::len);
        Array2::from_shape_vec((rows.len(), width), rows.concat()).expect("rows of one width")
    }

    /// How many of the examples `indices` have each class of `model`; for a head of masks, in how many it occurs.
    pub fn per_class(&self, model: &HeadModel, indices: &[usize]) -> Vec<usize> {
        let dense = matches!(model, HeadModel::Segment(_));
        let has = |i: usize, class: usize| match self.masks.get(i) {
            Some(mask) if dense => mask.labels.contains(&(class as u8)),
            _ => self.data.samples[i].labels.contains(&class),
        };
        let count = |class| indices.iter().filter(|&&i| has(i, class)).count();
        (0..model.classes().len()).map(count).collect()
    }

    fn bags(&self, indices: &[usize]) -> Vec<Array2<f32>> {
        indices.iter().map(|&i| self.features[i].rows.clone()).collect()
    }

    /// Rejects examples to which this recipe cannot be fitted.
    ///
    /// # Errors
    /// [`HeadError::SeveralFrames`] or [`HeadError::MaskSize`] names the example.
    pub fn check(&self, recipe: &Recipe) -> Result<(), HeadError> {
        let clip = |features: &&ScanFeatures| features.rows.nrows() != 1 && !recipe.takes_bags();
        match self.features.iter().position(|features| clip(&features)) {
            Some(i) => {
                let (name, frames) = (self.data.samples[i].name.clone(), self.features[i].rows.nrows());
                Err(HeadError::SeveralFrames { name, frames })
            }
            None => self.check_masks(),
        }
    }

    /// Rejects masks that differ in size from their images.
    ///
    /// # Errors
    /// [`HeadError::MaskSize`] names the example.
    pub fn check_masks(&self) -> Result<(), HeadError> {
        for (i, (mask, features)) in self.masks.iter().zip(self.features).enumerate() {
            let (height, width) = features.geometry.size;
            let image = [features.rows.nrows(), height, width];
            let mask = [mask.depth, mask.height, mask.width];
            if mask != image {
                let name = self.data.samples[i].name.clone();
                return Err(HeadError::MaskSize { name, image, mask });
            }
        }
        Ok(())
    }

    /// The part of each mask that the backbone sees.
    pub(super) fn seen(&self, indices: &[usize]) -> Vec<Cow<'_, LabelMap>> {
        let seen = |&i: &usize| match self.features[i].geometry.crop {
            Some(region) => Cow::Owned(self.masks[i].cropped(region)),
            None => Cow::Borrowed(&self.masks[i]),
        };
        indices.iter().map(seen).collect()
    }

    fn masked<'a>(
        &'a self,
        indices: &[usize],
        seen: &'a [Cow<'_, LabelMap>],
    ) -> Result<Vec<Masked<'a>>, HeadError> {
        let masked = |(&i, mask): (&usize, &'a Cow<'_, LabelMap>)| {
            let what = "examples with patch tokens";
            let tokens =
                self.features[i].tokens.as_ref().ok_or(HeadError::Shape { what, found: 0, expected: 1 })?;
            Ok(Masked { tokens, mask })
        };
        indices.iter().zip(seen).map(masked).collect()
    }
}

/// Evaluates `model` on the examples `indices`, at `threshold` or the model's own.
///
/// # Errors
/// [`HeadError`] when the examples do not suit the model.
pub fn evaluate(
    model: &HeadModel,
    set: &EvaluationSet<'_>,
    indices: &[usize],
    threshold: Option<f64>,
    isa: Isa,
    bootstrap: &Bootstrap,
) -> Result<Evaluation, HeadError> {
    let predictor = Predictor::new(model, isa);
    let voxels = match model {
        HeadModel::Segment(_) => {
            voxel_sizes(indices.iter().map(|&i| (&set.masks[i], &set.features[i].geometry)))
        }
        _ => None,
    };
    let mut cases = Vec::new();
    let mut probabilities = Vec::new();
    for (n, &i) in indices.iter().enumerate() {
        match predictor.predict(&set.features[i])? {
            Outcome::Classes { prediction, .. } => probabilities.extend(prediction.probabilities),
            Outcome::Mask(found) => {
                let voxel = voxels.as_ref().map(|voxels| voxels[n]);
                cases.push(Case::new(&set.masks[i], &found, model.classes().len(), voxel)?);
            }
        }
    }
    if let HeadModel::Segment(_) = model {
        let report = DenseReport::new(model.classes(), &cases, bootstrap);
        return Ok(Evaluation::Dense(cases, Box::new(report)));
    }
    let shape = (indices.len(), model.classes().len());
    let probabilities = Array2::from_shape_vec(shape, probabilities).expect("one row an example");
    let threshold = threshold.or(model.threshold()).unwrap_or(0.5);
    let rows = set.rows(indices)?;
    let report =
        EvaluationReport::new(model.classes(), &rows.targets(), probabilities.view(), threshold, bootstrap)?;
    Ok(Evaluation::Classes(probabilities, Box::new(report)))
}

/// Cross-validation: each fold is tested with a head fitted on the other folds, of which the next one is used for
/// validation. `of` is the fold of each example, `parts` the number of folds. `progress(done, total)` is called after
/// each fold.
///
/// The probabilities of all folds are pooled. Heads with two classes decide at 0.5, since each fold would select its
/// own threshold.
///
/// # Errors
/// As [`Recipe::fit`] and [`evaluate`].
pub fn cross_validate(
    recipe: &Recipe,
    set: &EvaluationSet<'_>,
    (of, parts): (&[usize], usize),
    isa: Isa,
    bootstrap: &Bootstrap,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Evaluation, HeadError> {
    let members = |test: &dyn Fn(usize) -> bool| (0..of.len()).filter(|&i| test(of[i])).collect::<Vec<_>>();
    let (mut order, mut cases, mut probabilities) = (Vec::new(), Vec::new(), Vec::new());
    let none = Bootstrap { resamples: 0, ..*bootstrap };
    let mut classes = Vec::new();
    for part in 0..parts {
        let next = (part + 1) % parts;
        let (test, val) = (members(&|p| p == part), members(&|p| p == next));
        let train = members(&|p| p != part && p != next);
        let model = recipe.fit(set, &train, &val, isa, &mut |_, _| {})?.model;
        match evaluate(&model, set, &test, Some(0.5), isa, &none)? {
            Evaluation::Classes(rows, _) => probabilities.extend(rows),
            Evaluation::Dense(own, _) => cases.extend(own),
        }
        order.extend(test);
        classes = model.classes().to_vec();
        progress(part + 1, parts);
    }
    if recipe.dense() {
        let report = DenseReport::new(&classes, &cases, bootstrap);
        return Ok(Evaluation::Dense(cases, Box::new(report)));
    }
    let probabilities =
        Array2::from_shape_vec((order.len(), classes.len()), probabilities).expect("one row an example");
    let rows = set.rows(&order)?;
    let report = EvaluationReport::new(&classes, &rows.targets(), probabilities.view(), 0.5, bootstrap)?;
    Ok(Evaluation::Classes(probabilities, Box::new(report)))
}
