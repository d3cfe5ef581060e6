//! Applies a head of any kind: packed once for an instruction set, with the same bits on each.

use super::frame::{Frame, Memory, Said};
use super::linear::decide_in;
use super::{FeatureKind, HeadError, HeadModel, Prediction, knn, nn};
use crate::features::{Geometry, ScanFeatures};
use crate::input::LabelMap;
use crate::kernels::Isa;
use crate::kernels::linear::PackedLinear;

/// A head's prediction.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Classes of an image, a clip or a volume.
    Classes {
        /// Probabilities and decision.
        prediction: Prediction,
        /// Weight of each frame, for a head with attention.
        attention: Option<Vec<f64>>,
    },
    /// The class of each pixel of each frame, at the frames' stored size; cropped areas are background.
    Mask(LabelMap),
}

impl Outcome {
    /// Indices of the predicted classes; none of a mask.
    pub fn predicted(&self) -> &[usize] {
        match self {
            Outcome::Classes { prediction, .. } => &prediction.classes,
            Outcome::Mask(_) => &[],
        }
    }

    pub(crate) fn classes(prediction: Prediction) -> Outcome {
        Outcome::Classes { prediction, attention: None }
    }

    /// Places a mask of what the backbone sees on the whole frames.
    pub(crate) fn mask(mask: LabelMap, geometry: &Geometry) -> Outcome {
        Outcome::Mask(match geometry.crop {
            Some(region) => mask.placed((region.top, region.left), geometry.size),
            None => mask,
        })
    }
}

/// The packed data of a head for an instruction set.
pub(crate) enum PackedHead {
    /// Nothing packed: a few numbers in f64, or a model that tract runs.
    Plain,
    Knn(knn::PackedBank),
    Abmil(PackedLinear),
    Segment(nn::Packed),
}

impl PackedHead {
    pub(crate) fn new(model: &HeadModel, isa: Isa) -> PackedHead {
        match model {
            HeadModel::Knn(head) => PackedHead::Knn(head.pack(isa)),
            HeadModel::Abmil(head) => PackedHead::Abmil(head.pack(isa)),
            HeadModel::Segment(head) => PackedHead::Segment(head.pack(isa)),
            HeadModel::Linear(_) | HeadModel::Volume(_) | HeadModel::Output(_) => PackedHead::Plain,
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(_) => PackedHead::Plain,
        }
    }

    /// The output of `model`, from which `self` was packed, for one frame, with the memory of earlier ones.
    ///
    /// # Errors
    /// [`HeadError`], with the frame's index if a feature is not finite.
    pub(crate) fn frame(
        &self,
        model: &HeadModel,
        frame: &Frame,
        memory: &mut Memory,
    ) -> Result<Said, HeadError> {
        self.said(model, frame, memory).map_err(|error| match error {
            HeadError::NonFinite { column, .. } => HeadError::NonFinite { row: frame.number, column },
            error => error,
        })
    }

    fn said(&self, model: &HeadModel, frame: &Frame, memory: &mut Memory) -> Result<Said, HeadError> {
        match (model, self) {
            (HeadModel::Linear(head), _) => {
                let probabilities = std::mem::take(&mut memory.probabilities);
                head.probabilities_in(frame.row, probabilities).map(Said::Probabilities)
            }
            (HeadModel::Knn(head), PackedHead::Knn(bank)) => {
                let cls = &frame.row[..frame.row.len() / 2];
                head.probabilities(bank, cls).map(Said::Probabilities)
            }
            (HeadModel::Segment(head), PackedHead::Segment(network)) if !head.volume => {
                head.predict_packed(frame.tokens()?, frame.seen, network, memory).map(Said::Mask)
            }
            (HeadModel::Output(head), _) => head.frame(frame),
            #[cfg(feature = "onnx")]
            (HeadModel::Onnx(head), _) => head.frame(frame),
            (HeadModel::Volume(_) | HeadModel::Abmil(_) | HeadModel::Segment(_), _) => Ok(Said::Nothing),
            (HeadModel::Knn(_), _) => unreachable!("packed of this head"),
        }
    }

    /// The prediction of `model`, from which `self` was packed, for all frames together; `None` if it predicts frame by
    /// frame.
    pub(crate) fn together(
        &self,
        model: &HeadModel,
        features: &ScanFeatures,
    ) -> Result<Option<Outcome>, HeadError> {
        Ok(Some(match (model, self) {
            (HeadModel::Volume(head), _) => head.predict(&features.mean_row()).map(Outcome::classes)?,
            (HeadModel::Abmil(head), PackedHead::Abmil(gates)) => {
                let found = head.predict_packed(&features.rows, gates)?;
                Outcome::Classes { prediction: found.prediction, attention: Some(found.attention) }
            }
            (HeadModel::Segment(head), PackedHead::Segment(network)) => {
                let Some(tokens) = &features.tokens else {
                    return Err(HeadError::Shape { what: "patch tokens", found: 0, expected: 1 });
                };
                let memory = &mut Memory::default();
                let mask = head.predict_packed(tokens, features.geometry.seen(), network, memory)?;
                Outcome::mask(mask, &features.geometry)
            }
            (HeadModel::Linear(_) | HeadModel::Knn(_) | HeadModel::Output(_), _) => return Ok(None),
            #[cfg(feature = "onnx")]
            (HeadModel::Onnx(_), _) => return Ok(None),
            (HeadModel::Abmil(_) | HeadModel::Segment(_), _) => unreachable!("packed of this head"),
        }))
    }
}

/// Votes of a scan's frames: the mean of their probabilities.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    sum: Vec<f64>,
    frames: usize,
}

impl Votes {
    pub(crate) fn clear(&mut self) {
        self.sum.clear();
        self.frames = 0;
    }

    pub(crate) fn add(&mut self, probabilities: &[f64]) {
        self.sum.resize(probabilities.len(), 0.0);
        self.sum.iter_mut().zip(probabilities).for_each(|(sum, p)| *sum += p);
        self.frames += 1;
    }

    /// The prediction of `model` from all votes; `None` if there are none.
    pub(crate) fn outcome(&self, model: &HeadModel) -> Option<Outcome> {
        let frames = self.frames as f64;
        let mean = || self.sum.iter().map(|sum| sum / frames).collect();
        (self.frames > 0).then(|| outcome(model, mean(), Vec::new()))
    }
}

/// The decision of `model` on `probabilities`, in the memory of `classes`.
pub(crate) fn outcome(model: &HeadModel, probabilities: Vec<f64>, classes: Vec<usize>) -> Outcome {
    let threshold = model.threshold().unwrap_or(0.5);
    let classes = decide_in(&probabilities, model.multi_label(), threshold, classes);
    Outcome::classes(Prediction { probabilities, classes })
}

/// A head ready to run on precomputed features; [`Pipeline`](crate::pipeline::Pipeline) runs heads frame by frame.
pub struct Predictor<'a> {
    model: &'a HeadModel,
    isa: Isa,
    packed: PackedHead,
}

impl<'a> Predictor<'a> {
    /// Packs the head for `isa`.
    pub fn new(model: &'a HeadModel, isa: Isa) -> Predictor<'a> {
        Predictor { model, isa, packed: PackedHead::new(model, isa) }
    }

    /// The instruction set it runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The prediction for an image, a clip or a volume. A head for single images votes with the mean of its
    /// probabilities over the frames.
    ///
    /// # Errors
    /// [`HeadError`] when the features are not those that the head reads.
    pub fn predict(&self, features: &ScanFeatures) -> Result<Outcome, HeadError> {
        if let Some(outcome) = self.packed.together(self.model, features)? {
            return Ok(outcome);
        }
        let dense = self.model.features() == FeatureKind::Patch;
        let mut votes = Votes::default();
        let (mut labels, mut memory) = (Vec::new(), Memory::default());
        for (number, row) in features.rows.rows().into_iter().enumerate() {
            let tokens = features.tokens.as_ref().filter(|_| dense).map(|tokens| tokens.slice(number));
            let (row, seen) = (row.to_vec(), features.geometry.seen());
            let frame = Frame { number, row: &row, tokens: tokens.as_ref(), outputs: &[], seen };
            match self.packed.frame(self.model, &frame, &mut memory)? {
                Said::Probabilities(probabilities) => votes.add(&probabilities),
                Said::Mask(mask) => labels.extend(mask.labels),
                Said::Nothing => {}
            }
        }
        if let Some(outcome) = votes.outcome(self.model) {
            return Ok(outcome);
        }
        let (height, width) = features.geometry.seen();
        let (depth, expected) = (features.rows.nrows(), features.rows.nrows() * height * width);
        if labels.is_empty() || labels.len() != expected {
            let what = "number of pixels of which the head said something";
            return Err(HeadError::Shape { what, found: labels.len(), expected });
        }
        Ok(Outcome::mask(LabelMap { depth, height, width, labels }, &features.geometry))
    }
}
