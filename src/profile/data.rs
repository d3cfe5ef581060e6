//! Labelled images for a profile, and which of them are for what.

use super::{DataInfo, Options, ProfileError};
use crate::heads::{Recipe, check_counts};
use crate::input::{Dataset, LabelMap, Sample};

/// Labelled images, with their masks where the head reads masks.
#[derive(Clone, Debug)]
pub struct Data {
    /// Its path as it was given, or `phantoms`.
    pub name: String,
    /// The images.
    pub set: Dataset,
    /// The mask of each image; empty where the head reads labels.
    pub masks: Vec<LabelMap>,
    /// Classes of the masks, the background first; empty where the head reads labels.
    pub mask_classes: Vec<String>,
}

/// Share of the training images on which C, k or the epoch is chosen, where the data names no others for that.
const CHOOSE_SHARE: f64 = 0.25;

/// Which images are for what; indices into the data set, each list ascending.
pub(super) struct Roles {
    /// To fit on.
    pub train: Vec<usize>,
    /// To choose C, k or the epoch on.
    pub choose: Vec<usize>,
    /// To measure on, where one part is held out.
    pub held_out: Vec<usize>,
    /// Of a cross-validation: the part of each image, and how many there are.
    pub folds: Option<(Vec<usize>, usize)>,
}

impl Roles {
    /// Divides `data`. With `--folds` every image is measured once. Else the data's test images are held out and its
    /// validation images choose; without test images the validation images are held out, and a quarter of the training
    /// images chooses, so that the number is not flattered.
    ///
    /// # Errors
    /// [`ProfileError`] names a class with too few images to be divided so.
    pub fn new(data: &Data, options: &Options) -> Result<Roles, ProfileError> {
        let dense = options.recipe.dense();
        let parts = data.set.split(options.seed, options.val_share)?;
        let folds = options.folds.map(|parts| (data.set.folds(parts, options.seed), parts));
        let (train, choose, held_out) = if parts.test.is_empty() {
            let samples = parts.train.iter().map(|&i| Sample { split: None, ..data.set.samples[i].clone() });
            let Dataset { classes, dicom, .. } = &data.set;
            let train = Dataset { classes: classes.clone(), samples: samples.collect(), dicom: *dicom };
            let inner = train.split(options.seed, CHOOSE_SHARE)?;
            let of = |places: &[usize]| places.iter().map(|&i| parts.train[i]).collect::<Vec<usize>>();
            (of(&inner.train), of(&inner.val), parts.val)
        } else {
            (parts.train, parts.val, parts.test)
        };
        if !dense {
            check_counts(&data.set, &train)?;
        }
        Ok(Roles { train, choose, held_out, folds })
    }

    /// The images that accuracy is measured on, in the order in which they are judged.
    pub fn measured(&self) -> Vec<usize> {
        match &self.folds {
            None => self.held_out.clone(),
            Some((of, parts)) => {
                (0..*parts).flat_map(|part| (0..of.len()).filter(move |&i| of[i] == part)).collect()
            }
        }
    }

    /// All images that features are needed of, ascending.
    pub fn used(&self) -> Vec<usize> {
        let mut used = match &self.folds {
            Some((of, _)) => (0..of.len()).collect(),
            None => [self.train.as_slice(), &self.choose, &self.held_out].concat(),
        };
        used.sort_unstable();
        used
    }
}

impl Data {
    /// What is said of it in the results.
    pub(super) fn info(&self, roles: &Roles, recipe: &Recipe) -> DataInfo {
        DataInfo {
            name: self.name.clone(),
            sha256: self.set.digest(),
            images: self.set.samples.len(),
            held_out: roles.measured().len(),
            folds: roles.folds.as_ref().map(|(_, parts)| *parts),
            classes: if recipe.dense() { self.mask_classes.clone() } else { self.set.classes.clone() },
        }
    }
}
