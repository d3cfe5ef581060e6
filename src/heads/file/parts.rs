//! The contents of each kind of head: its tensors and a few options.

use serde::{Deserialize, Serialize};

use super::tensors::{Incoming, Outgoing};
use crate::heads::{
    AbmilHead, Bank, Calibration, Conformal, Contours, HeadFormatError, HeadModel, KnnHead, LinearHead,
    OutOfDistribution, SegmentHead,
};

/// Maximum size of the names of training images, in bytes: 100,000 names of 160 characters. Parsing takes at most eight
/// times as much memory.
const MAX_NAMES: usize = 16 << 20;

/// Options that some kinds of head have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Options {
    /// Number of neighbours that vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    k: Option<usize>,
    /// Blocks that a dense head reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    layers: Vec<usize>,
    /// Whether a dense head has a decoder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    decoder: bool,
}

/// Adds the tensors of `model` to `out`.
pub(super) fn write(model: &HeadModel, out: &mut Outgoing) -> Options {
    let classes = model.classes().len();
    if let Some(threshold) = model.threshold() {
        out.add("threshold", &[1], &[threshold]);
    }
    let mut options = Options::default();
    match model {
        HeadModel::Linear(head) | HeadModel::Volume(head) => {
            let dim = head.dim();
            out.add("weight", &[classes, dim], head.weight());
            out.add("bias", &[classes], head.bias());
            out.add("mean", &[dim], head.mean());
            out.add("std", &[dim], head.std());
        }
        HeadModel::Knn(head) => {
            options.k = Some(head.k);
            let images = head.images();
            let labels: Vec<u8> = head.labels.iter().map(|&has| u8::from(has)).collect();
            out.add("temperature", &[1], &[head.temperature]);
            out.add("labels", &[images, classes], &labels);
            match &head.bank {
                Bank::F16(rows) => out.add("bank", &[images, head.dim], rows),
                Bank::Int8 { codes, scales } => {
                    out.add("bank", &[images, head.dim], codes);
                    out.add("scales", &[images], scales);
                }
            }
            if let Some(names) = &head.names {
                // A list of strings always has a text in JSON.
                let text = serde_json::to_vec(names).unwrap_or_default();
                out.add("names", &[text.len()], &text);
            }
        }
        HeadModel::Abmil(head) => {
            out.add("mean", &[head.mean.len()], &head.mean);
            out.add("std", &[head.std.len()], &head.std);
            for (name, network) in
                [("attention.gates", &head.gates), ("attention.score", &head.score), ("output", &head.output)]
            {
                out.add(name, &[network.parameters.len()], &network.parameters);
            }
        }
        HeadModel::Segment(head) => {
            options.layers.clone_from(&head.layers);
            options.decoder = head.decoder();
            out.add("mean", &[head.mean.len()], &head.mean);
            out.add("std", &[head.std.len()], &head.std);
            out.add("network", &[head.network.parameters.len()], &head.network.parameters);
        }
        // An ONNX head has its own file format, an output is in the model's; `Head::save` rejects both.
        HeadModel::Output(_) => {}
        #[cfg(feature = "onnx")]
        HeadModel::Onnx(_) => {}
    }
    options
}

/// Builds the model from a file's header and tensors.
pub(super) fn read(
    kind: &str,
    (classes, multi_label): (Vec<String>, bool),
    options: Options,
    tensors: &Incoming<'_>,
) -> Result<HeadModel, HeadFormatError> {
    let threshold = || Ok::<f64, HeadFormatError>(tensors.read("threshold", &[1])?[0]);
    let n = classes.len();
    match kind {
        "linear" | "volume" => {
            let dim = tensors.length("mean")?;
            let parts = [
                tensors.read("mean", &[dim])?,
                tensors.read("std", &[dim])?,
                tensors.read("weight", &[n, dim])?,
                tensors.read("bias", &[n])?,
            ];
            let head = LinearHead::new(classes, multi_label, threshold()?, parts)?;
            Ok(if kind == "linear" { HeadModel::Linear(head) } else { HeadModel::Volume(head) })
        }
        "knn" => {
            let temperature = tensors.read::<f64>("temperature", &[1])?[0];
            let k = options.k.ok_or(HeadFormatError::NoNeighbours)?;
            let (images, dim) = tensors.shape2("bank")?;
            let labels = tensors.read::<u8>("labels", &[images, n])?.iter().map(|&v| v != 0).collect();
            let bank = if tensors.has("scales") {
                let codes: Vec<i8> = tensors.read("bank", &[images, dim])?;
                if codes.contains(&i8::MIN) {
                    return Err(HeadFormatError::Code);
                }
                Bank::Int8 { codes, scales: tensors.read("scales", &[images])? }
            } else {
                Bank::F16(tensors.read("bank", &[images, dim])?)
            };
            let vote = (k, temperature, threshold()?);
            let mut head = KnnHead::from_parts((classes, multi_label), vote, bank, labels, dim)?;
            if tensors.has("names") {
                let length = Some(tensors.length("names")?).filter(|&length| length <= MAX_NAMES);
                let text: Vec<u8> = tensors.read("names", &[length.ok_or(HeadFormatError::Names)?])?;
                let names = serde_json::from_slice(&text).map_err(|_| HeadFormatError::Names)?;
                head.keep_names(names)?;
            }
            Ok(HeadModel::Knn(head))
        }
        "abmil" => {
            let dim = tensors.length("mean")?;
            let parameters = |name| tensors.read(name, &[tensors.length(name)?]);
            let networks =
                [parameters("attention.gates")?, parameters("attention.score")?, parameters("output")?];
            let (mean, std) = (tensors.read("mean", &[dim])?, tensors.read("std", &[dim])?);
            let decision = (classes, multi_label, threshold()?);
            Ok(HeadModel::Abmil(AbmilHead::from_parts(decision, mean, std, networks)?))
        }
        "segment" | "segment3d" => {
            let channels = tensors.length("mean")?;
            let (mean, std) = (tensors.read("mean", &[channels])?, tensors.read("std", &[channels])?);
            let parameters = tensors.read("network", &[tensors.length("network")?])?;
            let shape = (options.decoder, kind == "segment3d");
            let head = SegmentHead::from_parts(classes, options.layers, shape, mean, std, parameters)?;
            Ok(HeadModel::Segment(head))
        }
        _ => Err(HeadFormatError::Kind(kind.to_owned())),
    }
}

/// Adds the tensors of `ood` to `out`.
pub(super) fn write_ood(ood: &OutOfDistribution, out: &mut Outgoing) {
    out.add("ood.mean", &[ood.mean.len()], &ood.mean);
    out.add("ood.std", &[ood.std.len()], &ood.std);
    out.add("ood.factor", &[ood.factor.len()], &ood.factor);
    out.add("ood.threshold", &[1], &[ood.threshold]);
}

/// The out-of-distribution statistics of a file, if it has any.
pub(super) fn read_ood(tensors: &Incoming<'_>) -> Result<Option<OutOfDistribution>, HeadFormatError> {
    if !tensors.has("ood.mean") {
        return Ok(None);
    }
    let dim = tensors.length("ood.mean")?;
    let packed = dim.checked_mul(dim + 1).map_or(usize::MAX, |n| n / 2);
    let factor: Vec<f32> = tensors.read("ood.factor", &[packed])?;
    let std: Vec<f64> = tensors.read("ood.std", &[dim])?;
    let diagonal = (0..dim).map(|i| factor[i * (i + 1) / 2 + i]);
    if !diagonal.clone().all(|v| v > 0.0) || !std.iter().all(|&s| s > 0.0) {
        return Err(HeadFormatError::Covariance);
    }
    let threshold = tensors.read("ood.threshold", &[1])?[0];
    Ok(Some(OutOfDistribution { mean: tensors.read("ood.mean", &[dim])?, std, factor, threshold }))
}

/// A part that a head may have or not, which changes what it says. The header lists those that are there, so that none is
/// lost without notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Part {
    /// The tensor `calibration.temperature`, or `calibration.platt`.
    Temperature,
    Platt,
    /// The tensor `conformal.scores`.
    Conformal,
    /// The tensor `conformal.coverage`.
    Coverage,
    /// The tensors `contours.outer`, `contours.inner` and `contours.share`.
    Contours,
    /// The tensor `contours.coverage`.
    ContourCoverage,
}

/// Adds the tensors of `calibration` and `conformal` to `out`; returns which there are.
pub(super) fn write_certainty(
    calibration: Option<&Calibration>,
    conformal: Option<&Conformal>,
    out: &mut Outgoing,
) -> Vec<Part> {
    let mut parts = Vec::new();
    match calibration {
        Some(Calibration::Temperature(t)) => {
            out.add("calibration.temperature", &[1], &[*t]);
            parts.push(Part::Temperature);
        }
        Some(Calibration::Platt(pairs)) => {
            out.add("calibration.platt", &[pairs.len(), 2], &pairs.concat());
            parts.push(Part::Platt);
        }
        None => {}
    }
    if let Some(conformal) = conformal {
        out.add("conformal.scores", &[conformal.scores().len()], conformal.scores());
        parts.push(Part::Conformal);
        if let Some(coverage) = conformal.coverage {
            out.add("conformal.coverage", &[1], &[coverage]);
            parts.push(Part::Coverage);
        }
    }
    parts
}

/// The calibration of a file with these parts.
pub(super) fn read_calibration(
    parts: &[Part],
    tensors: &Incoming<'_>,
) -> Result<Option<Calibration>, HeadFormatError> {
    if parts.contains(&Part::Temperature) {
        return Ok(Some(Calibration::Temperature(tensors.read("calibration.temperature", &[1])?[0])));
    }
    if !parts.contains(&Part::Platt) {
        return Ok(None);
    }
    let (pairs, _) = tensors.shape2("calibration.platt")?;
    let values: Vec<f64> = tensors.read("calibration.platt", &[pairs, 2])?;
    Ok(Some(Calibration::Platt(values.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect())))
}

/// The conformal scores of a file with these parts.
pub(super) fn read_conformal(
    parts: &[Part],
    tensors: &Incoming<'_>,
) -> Result<Option<Conformal>, HeadFormatError> {
    if !parts.contains(&Part::Conformal) {
        return Ok(None);
    }
    let scores = tensors.read("conformal.scores", &[tensors.length("conformal.scores")?])?;
    let coverage = match parts.contains(&Part::Coverage) {
        true => Some(tensors.read("conformal.coverage", &[1])?[0]),
        false => None,
    };
    Ok(Some(Conformal::from_sorted(scores, coverage)?))
}

/// Adds the tensors of `contours` to `out`; returns `parts` with those that there are.
pub(super) fn write_contours(
    mut parts: Vec<Part>,
    contours: Option<&Contours>,
    out: &mut Outgoing,
) -> Vec<Part> {
    let Some(contours) = contours else { return parts };
    let [outer, inner] = contours.scores();
    out.add("contours.outer", &[outer.len()], outer);
    out.add("contours.inner", &[inner.len()], inner);
    out.add("contours.share", &[1], &[contours.share]);
    parts.push(Part::Contours);
    if let Some(coverage) = contours.coverage {
        out.add("contours.coverage", &[1], &[coverage]);
        parts.push(Part::ContourCoverage);
    }
    parts
}

/// The contour scores of a file with these parts.
pub(super) fn read_contours(
    parts: &[Part],
    tensors: &Incoming<'_>,
) -> Result<Option<Contours>, HeadFormatError> {
    if !parts.contains(&Part::Contours) {
        return Ok(None);
    }
    let scores = |name| tensors.read(name, &[tensors.length(name)?]);
    let scores = [scores("contours.outer")?, scores("contours.inner")?];
    let share = tensors.read("contours.share", &[1])?[0];
    let coverage = match parts.contains(&Part::ContourCoverage) {
        true => Some(tensors.read("contours.coverage", &[1])?[0]),
        false => None,
    };
    Ok(Some(Contours::from_sorted(scores, share, coverage)?))
}
