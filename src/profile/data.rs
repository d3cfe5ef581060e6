//! Labelled images for a profile, and their division into training, selection and held-out images.

use super::{DataInfo, Options, ProfileError};
use crate::heads::{Recipe, check_counts};
use crate::input::{Dataset, LabelMap, Sample};

/// Labelled images, with their masks if the head is trained on masks.
#[derive(Clone, Debug)]
pub struct Data {
    /// Path of the data as given on the command line, or `phantoms`.
    pub name: String,
    /// The images.
    pub set: Dataset,
    /// Mask of each image; empty if the head is trained on labels.
    pub masks: Vec<LabelMap>,
    /// Classes of the masks, background first; empty if the head is trained on labels.
    pub mask_classes: Vec<String>,
}

/// Share of the training images used to choose C, k or the epoch if the data specifies no images for that.
const CHOOSE_SHARE: f64 = 0.25;

/// Roles of the images, as ascending indices into the data set.
pub(super) struct Roles {
    /// Images to fit the head on.
    pub train: Vec<usize>,
    /// Images to choose C, k or the epoch on.
    pub choose: Vec<usize>,
    /// Images to measure accuracy on, unless `folds` is set.
    pub held_out: Vec<usize>,
    /// For cross-validation, the fold of each image and the number of folds.
    pub folds: Option<(Vec<usize>, usize)>,
}

impl Roles {
    /// Divides `data`. With `--folds`, every image is measured once. Otherwise, if the data has test images, those are
    /// held out and the validation images are used to choose C, k or the epoch. Without test images, the validation
    /// images are held out and a quarter of the training images is used to choose, so that the accuracy is not
    /// optimistically biased.
    ///
    /// # Errors
    /// [`ProfileError`], which names a class with too few images for this division.
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

    /// Images that accuracy is measured on, in the order in which they are evaluated.
    pub fn measured(&self) -> Vec<usize> {
        match &self.folds {
            None => self.held_out.clone(),
            Some((of, parts)) => {
                (0..*parts).flat_map(|part| (0..of.len()).filter(move |&i| of[i] == part)).collect()
            }
        }
    }

    /// All images whose features are needed, ascending.
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
    /// Description of the data for the results.
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
