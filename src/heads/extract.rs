//! From labelled images to rows of features and targets.

use ndarray::Array2;

use super::{Examples, HeadError, Targets, cls_and_mean};
use crate::engine::Session;
use crate::input::Dataset;
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
/// With `multi_label` an image may have any number of labels, else it has exactly one class. `tick` is called after each
/// image.
///
/// # Errors
/// [`HeadError::Classes`] when an image of a single-label set has several, [`HeadError::Input`] when an image cannot be read, [`HeadError::Engine`] when the backbone fails on it.
pub fn extract(
    session: &mut Session,
    data: &Dataset,
    indices: &[usize],
    size: Size,
    preprocess: &Preprocess,
    multi_label: bool,
    tick: &dyn Fn(),
) -> Result<Extracted, HeadError> {
    if let Some(sample) =
        indices.iter().map(|&i| &data.samples[i]).find(|s| !multi_label && s.labels.len() != 1)
    {
        let (image, labels) = (&sample.name, sample.labels.len());
        return Err(HeadError::Classes(format!(
            "{image} has {labels} labels where one class an image is expected; use a head for several labels, or give \
             each image one"
        )));
    }
    let mut features: Vec<f32> = Vec::new();
    let mut dim = 0;
    // Enough images for every thread, few enough that their pixels are no matter of memory.
    for batch in indices.chunks(2 * session.threads()) {
        let mut pixels = Vec::with_capacity(batch.len());
        for &i in batch {
            pixels.push(data.samples[i].source.open()?.tensor(size, preprocess));
        }
        for row in probe_rows(session, data, batch, &pixels, size)? {
            dim = row.len();
            features.extend(row);
            tick();
        }
    }
    let features = Array2::from_shape_vec((indices.len(), dim), features)
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

/// The rows of features of a batch. Where the batch fails its images run one by one, so that the error names one.
fn probe_rows(
    session: &mut Session,
    data: &Dataset,
    batch: &[usize],
    pixels: &[Vec<f32>],
    size: Size,
) -> Result<Vec<Vec<f32>>, HeadError> {
    let images: Vec<&[f32]> = pixels.iter().map(Vec::as_slice).collect();
    if let Ok(all) = session.run_batch(&images, size) {
        return Ok(all.iter().map(|f| cls_and_mean(&f.cls, &f.patch)).collect());
    }
    let mut rows = Vec::with_capacity(batch.len());
    for (&i, image) in batch.iter().zip(images) {
        let features = session.run(image, size).map_err(|source| HeadError::Engine {
            image: data.samples[i].name.clone(),
            source: Box::new(source),
        })?;
        rows.push(cls_and_mean(&features.cls, &features.patch));
    }
    Ok(rows)
}

/// Refuses training images `indices` of `data` from which a class cannot be learned, before the work of embedding them.
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
