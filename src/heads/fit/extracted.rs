//! Features of labelled examples, for heads that take one row per example.

use ndarray::{Array2, Axis, s};

use crate::features::ScanFeatures;
use crate::heads::{Examples, HeadError, Targets};
use crate::input::Dataset;

/// Owned feature rows with their targets.
#[derive(Clone, Debug)]
pub struct Extracted {
    features: Array2<f32>,
    classes: Vec<usize>,
    labels: Option<Array2<bool>>,
}

impl Extracted {
    /// One row for each of the examples `indices` of `data`: the mean of its frames' features.
    ///
    /// With `multi_label` an example may have any number of labels, otherwise exactly one class.
    ///
    /// # Errors
    /// [`HeadError::NotOneClass`] when an example of a single-label set has several classes, or none.
    pub fn new(
        data: &Dataset,
        indices: &[usize],
        features: &[&ScanFeatures],
        multi_label: bool,
    ) -> Result<Extracted, HeadError> {
        check_labels(data, indices, multi_label)?;
        let width = features.first().map_or(0, |f| f.rows.ncols());
        let rows: Vec<f32> = features.iter().flat_map(|f| f.mean_row()).collect();
        let features = Array2::from_shape_vec((indices.len(), width), rows)
            .expect("one backbone at one size gives rows of one length");
        let sets = indices.iter().map(|&i| &data.samples[i].labels);
        let (classes, labels) = if multi_label {
            let mut labels = Array2::default((indices.len(), data.classes.len()));
            for (mut row, set) in labels.rows_mut().into_iter().zip(sets) {
                set.iter().for_each(|&class| row[class] = true);
            }
            (vec![0; indices.len()], Some(labels))
        } else {
            (sets.map(|set| set[0]).collect(), None)
        };
        Ok(Extracted { features, classes, labels })
    }

    /// A view for fitting and evaluation.
    pub fn examples(&self) -> Examples<'_> {
        Examples { features: self.features.view(), targets: self.targets() }
    }

    /// The targets only.
    pub fn targets(&self) -> Targets<'_> {
        match &self.labels {
            Some(labels) => Targets::Labels(labels.view()),
            None => Targets::Classes(&self.classes),
        }
    }

    /// The same examples, with only the first half of each row, CLS.
    pub fn cls(&self) -> Extracted {
        let half = self.features.ncols() / 2;
        Extracted { features: self.features.slice(s![.., ..half]).to_owned(), ..self.clone() }
    }

    /// The rows at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Extracted {
        Extracted {
            features: self.features.select(Axis(0), indices),
            classes: indices.iter().map(|&i| self.classes[i]).collect(),
            labels: self.labels.as_ref().map(|l| l.select(Axis(0), indices)),
        }
    }
}

/// Rejects examples with several classes, or none, if each must have exactly one.
fn check_labels(data: &Dataset, indices: &[usize], multi_label: bool) -> Result<(), HeadError> {
    match indices.iter().map(|&i| &data.samples[i]).find(|s| !multi_label && s.labels.len() != 1) {
        Some(sample) => Err(HeadError::NotOneClass { name: sample.name.clone(), found: sample.labels.len() }),
        None => Ok(()),
    }
}

/// Rejects training images `indices` of `data` from which a class cannot be learned, before features are computed.
///
/// # Errors
/// [`HeadError::TooFewImages`] names the class.
pub fn check_counts(data: &Dataset, indices: &[usize]) -> Result<(), HeadError> {
    for (number, class) in data.classes.iter().enumerate() {
        let found = indices.iter().filter(|&&i| data.samples[i].labels.contains(&number)).count();
        if found < 2 {
            return Err(HeadError::TooFewImages { class: class.clone(), found });
        }
    }
    Ok(())
}
