//! The digest of a head's answers.

use sha2::{Digest, Sha256};

use super::AttestError;
use super::run::Made;
use crate::checkpoint::file::hex;
use crate::features::{Collector, ScanFeatures};
use crate::heads::{FeatureKind, Head, HeadModel, Outcome, Predictor};
use crate::kernels::Isa;

/// Whether the answers of `model` have the same bits on every machine: those that tract computes need not.
pub(super) fn is_exact(model: &HeadModel) -> bool {
    match model {
        HeadModel::Linear(_) | HeadModel::Volume(_) | HeadModel::Knn(_) | HeadModel::Abmil(_) => true,
        HeadModel::Segment(_) => true,
        HeadModel::Output(_) => false,
        #[cfg(feature = "onnx")]
        HeadModel::Onnx(_) => false,
    }
}

/// SHA-256 of the answers of `head`, which is number `number`, to what was `made` of the pictures with the blocks `layers`
/// kept (ascending).
///
/// For each size, of its pictures as the frames of one clip: probabilities, decision and attention, or the mask and the
/// scores behind it; then the distance of each picture from the training images. All little-endian: f64, but scores f32;
/// numbers of classes and sides u64.
pub(super) fn digest(
    (number, head): (usize, &Head),
    made: &[Made],
    layers: &[usize],
    isa: Isa,
) -> Result<String, AttestError> {
    let failed = |source| AttestError::Head { head: number, source };
    let predictor = Predictor::new(&head.model, isa);
    let mut hash = Sha256::new();
    for made in made {
        let features = seen_by(&head.model, made, layers)?;
        add(&mut hash, &predictor.predict(&features).map_err(failed)?);
        // The classes of a mask say little of the scores that they are the largest of.
        if let (HeadModel::Segment(head), Some(tokens)) = (&head.model, &features.tokens) {
            let scores = head.scores(tokens, isa).map_err(failed)?;
            scores.iter().for_each(|score| hash.update(score.to_le_bytes()));
        }
        for row in features.rows.rows() {
            let score = head.ood.as_ref().map(|ood| ood.score(&row.to_vec())).transpose().map_err(failed)?;
            score.iter().for_each(|score| hash.update(score.score.to_le_bytes()));
        }
    }
    Ok(hex(&hash.finalize()))
}

/// What `model` reads of the features.
fn seen_by(model: &HeadModel, made: &Made, layers: &[usize]) -> Result<ScanFeatures, AttestError> {
    let place = |layer: &usize| layers.binary_search(layer).ok();
    let tokens =
        (model.features() == FeatureKind::Patch).then(|| model.layers().iter().filter_map(place).collect());
    let mut collector = Collector::new(tokens);
    made.frames.iter().try_for_each(|features| collector.add(features))?;
    Ok(collector.finish(made.geometry))
}

fn add(hash: &mut Sha256, outcome: &Outcome) {
    let number = |n: usize| (n as u64).to_le_bytes();
    match outcome {
        Outcome::Classes { prediction, attention } => {
            hash.update(number(prediction.probabilities.len()));
            prediction.probabilities.iter().for_each(|p| hash.update(p.to_le_bytes()));
            hash.update(number(prediction.classes.len()));
            prediction.classes.iter().for_each(|&class| hash.update(number(class)));
            attention.iter().flatten().for_each(|weight| hash.update(weight.to_le_bytes()));
        }
        Outcome::Mask(mask) => {
            [mask.depth, mask.height, mask.width].into_iter().for_each(|side| hash.update(number(side)));
            hash.update(&mask.labels);
        }
    }
}
