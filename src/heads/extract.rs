//! From labelled images to rows of features and targets.

use ndarray::Array2;

use super::{Examples, HeadError, Targets, cls_and_mean};
use crate::engine::{EngineError, Session};
use crate::input::{Dataset, Image, Sample};
use crate::vit::{Preprocess, Size};

/// Rows of features with their targets, owned.
#[derive(Clone, Debug)]
pub struct Extracted {
    features: Array2<f32>,
    classes: Vec<usize>,
    labels: Option<Array2<bool>>,
}

impl Extracted {
    /// A view for fitting and measuring.
    pub fn examples(&self) -> Examples<'_> {
        let targets = match &self.labels {
            Some(labels) => Targets::Labels(labels.view()),
            None => Targets::Classes(&self.classes),
        };
        Examples { features: self.features.view(), targets }
    }

    /// The rows at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Extracted {
        let axis = ndarray::Axis(0);
        Extracted {
            features: self.features.select(axis, indices),
            classes: indices.iter().map(|&i| self.classes[i]).collect(),
            labels: self.labels.as_ref().map(|l| l.select(axis, indices)),
        }
    }
}

/// Features of the images `indices` of `data` at `size`, one row each in that order: CLS ++ mean(patch tokens).
///
/// `tick` is called after each image.
///
/// # Errors
/// [`HeadError::Input`] when an image cannot be read, [`HeadError::Engine`] when the backbone fails on it.
pub fn extract(
    session: &mut Session,
    data: &Dataset,
    indices: &[usize],
    size: Size,
    preprocess: &Preprocess,
    tick: &dyn Fn(),
) -> Result<Extracted, HeadError> {
    let mut features = Vec::new();
    for &i in indices {
        let sample: &Sample = &data.samples[i];
        let image = sample.source.open()?;
        let row = probe_row(session, &image, size, preprocess)
            .map_err(|source| HeadError::Engine { image: sample.name.clone(), source: Box::new(source) })?;
        features.extend(row);
        tick();
    }
    let dim = if indices.is_empty() { 0 } else { features.len() / indices.len() };
    let features = Array2::from_shape_vec((indices.len(), dim), features).map_err(|_| HeadError::Shape {
        what: "length of a row of features",
        found: dim,
        expected: dim + 1,
    })?;
    let sets = indices.iter().map(|&i| &data.samples[i].labels);
    let (classes, labels) = if data.is_multi_label() {
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

/// The row of features of one image at `size`.
///
/// # Errors
/// What [`Session::run`] may fail with.
pub fn probe_row(
    session: &mut Session,
    image: &Image,
    size: Size,
    preprocess: &Preprocess,
) -> Result<Vec<f32>, EngineError> {
    let features = session.run(&image.tensor(size, preprocess), size)?;
    Ok(cls_and_mean(&features.cls, &features.patch))
}
