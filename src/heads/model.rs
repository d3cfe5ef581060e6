//! What a head learned, of whichever kind.

use super::features::{Geometry, ScanFeatures};
use super::linear::decide;
use super::{AbmilHead, HeadError, KnnHead, LinearHead, Prediction, SegmentHead, knn};
use crate::input::LabelMap;
use crate::kernels::Isa;

/// The learned part of a head.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadModel {
    /// Logistic regression on CLS and the mean of the patch tokens of an image.
    Linear(LinearHead),
    /// The same on the mean of these over the slices of a volume or the frames of a clip.
    Volume(LinearHead),
    /// Votes of the nearest training images, by the cosine of CLS.
    Knn(KnnHead),
    /// Gated attention over slices or frames.
    Abmil(AbmilHead),
    /// A class a pixel or voxel, from patch tokens.
    Segment(SegmentHead),
    /// An ONNX file, run by tract.
    #[cfg(feature = "onnx")]
    Onnx(super::OnnxHead),
}

impl HeadModel {
    /// Its name on the command line, in files and in output.
    pub fn kind(&self) -> &'static str {
        match self {
            HeadModel::Linear(_) => "linear",
            HeadModel::Volume(_) => "volume",
            HeadModel::Knn(_) => "knn",
            HeadModel::Abmil(_) => "abmil",
            HeadModel::Segment(head) if head.volume => "segment3d",
            HeadModel::Segment(_) => "segment",
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(_) => "onnx",
        }
    }

    /// Names of the classes, or labels; of a dense head the first is the background.
    pub fn classes(&self) -> &[String] {
        match self {
            HeadModel::Linear(head) | HeadModel::Volume(head) => &head.classes,
            HeadModel::Knn(head) => &head.classes,
            HeadModel::Abmil(head) => &head.classes,
            HeadModel::Segment(head) => &head.classes,
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(head) => &head.classes,
        }
    }

    /// Whether an image or a bag may have several labels.
    pub fn multi_label(&self) -> bool {
        match self {
            HeadModel::Linear(head) | HeadModel::Volume(head) => head.multi_label,
            HeadModel::Knn(head) => head.multi_label,
            HeadModel::Abmil(head) => head.multi_label,
            HeadModel::Segment(_) => false,
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(head) => head.multi_label(),
        }
    }

    /// Probability from which the second of two classes, or a label, is said to be there; none for a dense head.
    pub fn threshold(&self) -> Option<f64> {
        match self {
            HeadModel::Linear(head) | HeadModel::Volume(head) => Some(head.threshold),
            HeadModel::Knn(head) => Some(head.threshold),
            HeadModel::Abmil(head) => Some(head.threshold),
            HeadModel::Segment(_) => None,
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(head) => Some(head.threshold),
        }
    }

    /// What it reads of an image.
    pub fn features(&self) -> FeatureKind {
        match self {
            HeadModel::Linear(_) | HeadModel::Volume(_) | HeadModel::Abmil(_) => FeatureKind::ClsMeanPatch,
            HeadModel::Knn(_) => FeatureKind::Cls,
            HeadModel::Segment(_) => FeatureKind::Patch,
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(head) if head.tokens() => FeatureKind::Patch,
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(_) => FeatureKind::ClsMeanPatch,
        }
    }

    /// Blocks whose patch tokens it reads, numbered from 0; empty for the last alone.
    pub fn layers(&self) -> &[usize] {
        match self {
            HeadModel::Segment(head) => &head.layers,
            _ => &[],
        }
    }

    /// Whether it sees the frames of a bag together, and not one by one.
    pub fn takes_bags(&self) -> bool {
        match self {
            HeadModel::Volume(_) | HeadModel::Abmil(_) => true,
            HeadModel::Segment(head) => head.volume,
            HeadModel::Linear(_) | HeadModel::Knn(_) => false,
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(_) => false,
        }
    }
}

/// What a head reads of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FeatureKind {
    /// CLS token, then the mean of the patch tokens: `[2 * dim]`.
    #[serde(rename = "cls+mean_patch")]
    ClsMeanPatch,
    /// CLS token: `[dim]`.
    #[serde(rename = "cls")]
    Cls,
    /// Patch tokens, of one or several layers.
    #[serde(rename = "patch")]
    Patch,
}

/// What a head says.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Of an image, a clip or a volume.
    Classes {
        /// Probabilities and decision.
        prediction: Prediction,
        /// Weight of each frame, of a head with attention.
        attention: Option<Vec<f64>>,
    },
    /// Of each pixel of each frame, at the frames' stored size; what was cropped away is background.
    Mask(LabelMap),
}

/// A head ready to run on an instruction set, with the same bits on each.
pub struct Predictor<'a> {
    model: &'a HeadModel,
    isa: Isa,
    search: Option<knn::Search<'a>>,
}

impl<'a> Predictor<'a> {
    /// Packs what is to be packed.
    pub fn new(model: &'a HeadModel, isa: Isa) -> Predictor<'a> {
        let search = match model {
            HeadModel::Knn(head) => Some(head.search(isa)),
            _ => None,
        };
        Predictor { model, isa, search }
    }

    /// The instruction set that it runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// What the head says about an image, a clip or a volume. A head for single images votes with the mean of its
    /// probabilities over the frames.
    ///
    /// # Errors
    /// [`HeadError`] when the features are not those that the head reads.
    pub fn predict(&self, features: &ScanFeatures) -> Result<Outcome, HeadError> {
        let classes = |prediction| Outcome::Classes { prediction, attention: None };
        match self.model {
            HeadModel::Linear(head) => {
                self.vote(features, features.rows.ncols(), |row| head.probabilities(row)).map(classes)
            }
            HeadModel::Knn(_) => {
                let search = self.search.as_ref().expect("made with the head");
                self.vote(features, features.rows.ncols() / 2, |row| search.probabilities(row)).map(classes)
            }
            HeadModel::Volume(head) => head.predict(&features.mean_row()).map(classes),
            HeadModel::Abmil(head) => {
                let found = head.predict(&features.rows, self.isa)?;
                Ok(Outcome::Classes { prediction: found.prediction, attention: Some(found.attention) })
            }
            HeadModel::Segment(head) => {
                let Some(tokens) = &features.tokens else {
                    return Err(HeadError::Shape { what: "patch tokens", found: 0, expected: 1 });
                };
                let mask = head.predict(tokens, seen(&features.geometry), self.isa)?;
                Ok(Outcome::Mask(placed(mask, &features.geometry)))
            }
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(head) => Ok(match head.predict(features, seen(&features.geometry))? {
                Ok(prediction) => classes(prediction),
                Err(mask) => Outcome::Mask(placed(mask, &features.geometry)),
            }),
        }
    }

    /// The mean over frames of the probabilities of the first `width` features of each.
    fn vote(
        &self,
        features: &ScanFeatures,
        width: usize,
        probabilities: impl Fn(&[f32]) -> Result<Vec<f64>, HeadError>,
    ) -> Result<Prediction, HeadError> {
        let mut sum = vec![0.0; self.model.classes().len()];
        for row in features.rows.rows() {
            let row = row.to_vec();
            let found = probabilities(&row[..width])?;
            sum.iter_mut().zip(found).for_each(|(sum, p)| *sum += p);
        }
        let frames = features.rows.nrows() as f64;
        let probabilities: Vec<f64> = sum.iter().map(|sum| sum / frames).collect();
        let threshold = self.model.threshold().unwrap_or(0.5);
        let classes = decide(&probabilities, self.model.multi_label(), threshold);
        Ok(Prediction { probabilities, classes })
    }
}

/// Rows and columns that the backbone saw.
fn seen(geometry: &Geometry) -> (usize, usize) {
    geometry.crop.map_or(geometry.size, |region| (region.height, region.width))
}

/// A mask of what was seen, as one of the whole frame.
fn placed(mask: LabelMap, geometry: &Geometry) -> LabelMap {
    match geometry.crop {
        Some(region) => mask.placed((region.top, region.left), geometry.size),
        None => mask,
    }
}
