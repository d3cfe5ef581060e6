//! The learned part of a head, of any kind.

use super::{AbmilHead, Calibration, HeadError, KnnHead, LinearHead, SegmentHead};

/// The learned part of a head.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadModel {
    /// Logistic regression on CLS and the mean of the patch tokens of an image.
    Linear(LinearHead),
    /// Logistic regression on the mean of these features over the slices of a volume or the frames of a clip.
    Volume(LinearHead),
    /// Votes of the nearest training images, by cosine similarity of CLS.
    Knn(KnnHead),
    /// Gated attention over slices or frames.
    Abmil(AbmilHead),
    /// One class per pixel or voxel, from patch tokens.
    Segment(SegmentHead),
    /// An output of the graph that holds the backbone.
    Output(super::OutputHead),
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
            HeadModel::Output(_) => "output",
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(_) => "onnx",
        }
    }

    /// Names of the classes, or labels; the first class of a dense head is the background.
    pub fn classes(&self) -> &[String] {
        match self {
            HeadModel::Linear(head) | HeadModel::Volume(head) => &head.classes,
            HeadModel::Knn(head) => &head.classes,
            HeadModel::Abmil(head) => &head.classes,
            HeadModel::Segment(head) => &head.classes,
            HeadModel::Output(head) => &head.classes,
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
            HeadModel::Output(head) => head.multi_label(),
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(head) => head.multi_label(),
        }
    }

    /// Probability from which the second of two classes, or a label, is predicted; `None` for a dense head.
    ///
    /// For two classes, fitting chooses the one that maximises Youden's J, sensitivity + specificity - 1, on the
    /// validation images (1/2 if one of the classes is not among them), so the predicted class need not be the more
    /// probable one. For labels fitting leaves it at 1/2. A head of an ONNX graph has the one of its description.
    pub fn threshold(&self) -> Option<f64> {
        match self {
            HeadModel::Linear(head) | HeadModel::Volume(head) => Some(head.threshold),
            HeadModel::Knn(head) => Some(head.threshold),
            HeadModel::Abmil(head) => Some(head.threshold),
            HeadModel::Segment(_) => None,
            HeadModel::Output(head) => Some(head.threshold),
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(head) => Some(head.threshold),
        }
    }

    /// The map to calibrated probabilities that the head applies; `None` if it has none.
    pub fn calibration(&self) -> Option<&Calibration> {
        match self {
            HeadModel::Linear(head) | HeadModel::Volume(head) => head.calibration.as_ref(),
            HeadModel::Abmil(head) => head.calibration.as_ref(),
            _ => None,
        }
    }

    /// Whether its probabilities come from logits, which can be calibrated: those of `linear`, `volume` and `abmil`.
    pub fn has_logits(&self) -> bool {
        matches!(self, HeadModel::Linear(_) | HeadModel::Volume(_) | HeadModel::Abmil(_))
    }

    /// Calibrates the head from now on, or no longer. The threshold stays, and applies to the new probabilities.
    ///
    /// # Errors
    /// [`HeadError::Calibration`] when the map does not fit the classes, or the head has no logits.
    pub fn set_calibration(&mut self, calibration: Option<Calibration>) -> Result<(), HeadError> {
        if let Some(calibration) = &calibration {
            calibration.check(self.classes().len(), self.multi_label())?;
        }
        match self {
            HeadModel::Linear(head) | HeadModel::Volume(head) => head.calibration = calibration,
            HeadModel::Abmil(head) => head.calibration = calibration,
            _ if calibration.is_some() => return Err(HeadError::Calibration),
            _ => {}
        }
        Ok(())
    }

    /// Replaces the threshold; a dense head has none.
    ///
    /// # Errors
    /// [`HeadError::Threshold`] when it is no probability.
    pub fn set_threshold(&mut self, threshold: f64) -> Result<(), HeadError> {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(HeadError::Threshold(threshold));
        }
        match self {
            HeadModel::Linear(head) | HeadModel::Volume(head) => head.threshold = threshold,
            HeadModel::Knn(head) => head.threshold = threshold,
            HeadModel::Abmil(head) => head.threshold = threshold,
            HeadModel::Output(head) => head.threshold = threshold,
            HeadModel::Segment(_) => {}
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(head) => head.threshold = threshold,
        }
        Ok(())
    }

    /// The features it reads of an image.
    pub fn features(&self) -> FeatureKind {
        match self {
            HeadModel::Linear(_) | HeadModel::Volume(_) | HeadModel::Abmil(_) | HeadModel::Output(_) => {
                FeatureKind::ClsMeanPatch
            }
            HeadModel::Knn(_) => FeatureKind::Cls,
            HeadModel::Segment(_) => FeatureKind::Patch,
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(head) if head.tokens() => FeatureKind::Patch,
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(_) => FeatureKind::ClsMeanPatch,
        }
    }

    /// Whether it predicts a class for each pixel.
    pub fn makes_masks(&self) -> bool {
        match self {
            HeadModel::Output(head) => head.mask,
            model => model.features() == FeatureKind::Patch,
        }
    }

    /// Blocks whose patch tokens it reads, numbered from 0; empty for the last block only.
    pub fn layers(&self) -> &[usize] {
        match self {
            HeadModel::Segment(head) => &head.layers,
            _ => &[],
        }
    }

    /// Whether it sees all frames of a bag together rather than one by one.
    pub fn takes_bags(&self) -> bool {
        match self {
            HeadModel::Volume(_) | HeadModel::Abmil(_) => true,
            HeadModel::Segment(head) => head.volume,
            HeadModel::Linear(_) | HeadModel::Knn(_) | HeadModel::Output(_) => false,
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(_) => false,
        }
    }
}

/// The features that a head reads of an image.
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
