//! The file of a head: one small safetensors file that also describes what the head was trained on.
//!
//! The tensors depend on the kind of head (`parts.rs`). The metadata have a single entry, `microraptor.head`, a JSON
//! object: safetensors keeps its metadata in a hash map, whose order changes from run to run, whereas a head's bytes
//! must not change. The second field of the object is a digest of the whole file (`sealed.rs`). Without it, a head with
//! a changed weight or class name would load without an error.

mod attestation;
#[cfg(feature = "onnx")]
mod onnx;
mod parts;
mod record;
mod summary;
mod tensors;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;

use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

pub use attestation::HeadAttestation;
pub use record::{CrossValidation, Metrics, TrainingRecord};
pub use summary::{Backbone, DrawnSplit, Provenance, TrainingSummary, ValidationSummary};

use super::{
    Certainty, Conformal, ContourRule, Contours, EvaluationSet, FeatureKind, Fitted, Guarantee, HeadError,
    HeadFormatError, HeadModel, OutOfDistribution, OutputHead, SetAside, SetRule,
};
use crate::engine::About;
use crate::files::write_atomically;
use crate::input::ReadOptions;
use crate::sealed;
use crate::vit::{Preprocess, Size};
use parts::{Options, Part};
use tensors::{Incoming, Outgoing};

/// Key of the metadata entry.
const METADATA: &str = "microraptor.head";

/// Version of the format of a head without calibration and conformal scores. Files up to version 2 have no digest, so
/// changes to their weights and names cannot be detected: they are rejected.
const VERSION: u32 = 3;

/// Version of the format of a head with one of these. A program that reads only [`VERSION`] would ignore them, and say
/// something else than the head was made to say: so it rejects the file.
const CALIBRATED: u32 = 4;

/// Maximum size of a head file, in bytes: 100,000 neighbours of 768 features in half precision are 147 MiB.
const MAX_BYTES: u64 = 256 << 20;

/// Maximum size of the JSON header, in bytes; a head with a thousand classes has 30 KiB.
const MAX_HEADER: u64 = 16 << 20;

/// A head with everything needed to apply it to an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The learned part: maps features to probabilities or a mask.
    pub model: HeadModel,
    /// Statistics of the training features, to detect images unlike them.
    pub ood: Option<OutOfDistribution>,
    /// Scores of held-out images, for prediction sets with a stated coverage.
    pub conformal: Option<Conformal>,
    /// Scores of images that were set aside, for inner and outer contours of masks with a stated coverage.
    pub contours: Option<Contours>,
    /// How pixels become the backbone's input.
    pub preprocess: Preprocess,
    /// How files become pixels.
    pub read: ReadOptions,
    /// Input size at which the features were computed.
    pub size: Size,
    /// The backbone that computes the features.
    pub backbone: Backbone,
    /// How the head was trained.
    pub training: TrainingSummary,
    /// What it answers to generated pictures, for devices to compare with ([`attest`](crate::attest)); `None` in files of
    /// older programs, and if the bits need not be the same everywhere.
    pub attestation: Option<HeadAttestation>,
    /// Name and version of the program that wrote the file.
    pub tool: String,
}

/// The version and the digest only. They are read first, so that a file of another version, or a damaged one, is
/// rejected for that reason.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
    #[serde(default)]
    digest: String,
}

/// The metadata entry.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    digest: String,
    kind: String,
    classes: Vec<String>,
    multi_label: bool,
    #[serde(default)]
    options: Options,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
    preprocess: Preprocess,
    read: ReadOptions,
    size: String,
    backbone: Backbone,
    features: FeatureKind,
    training: TrainingSummary,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attestation: Option<HeadAttestation>,
    tool: String,
}

impl Head {
    /// Name and version of this program, for [`Head::tool`].
    pub const TOOL: &str = concat!("microraptor ", env!("CARGO_PKG_VERSION"));

    /// An output of the graph of the model that `about` describes, on images of `size`.
    pub fn of_output(output: OutputHead, about: &About, size: Size) -> Head {
        Head {
            model: HeadModel::Output(output),
            ood: None,
            conformal: None,
            contours: None,
            preprocess: about.preprocess,
            read: ReadOptions::default(),
            size,
            backbone: Backbone::of(about),
            training: TrainingSummary::default(),
            attestation: None,
            tool: String::new(),
        }
    }

    /// A head fitted on the examples `train` of `set`, whose features the backbone `about` computed at `size`. The
    /// examples `val` determine the out-of-distribution threshold; `validation` is the head's performance on them, made
    /// of an [`Evaluation`](crate::training::Evaluation) by `(&evaluation).into()`. The
    /// head is complete: it records all of `fitted` and `provenance`.
    ///
    /// # Errors
    /// [`HeadError`] when `train` has fewer than two examples or `val` none: the out-of-distribution statistics need them.
    pub fn fitted(
        about: &About,
        size: Size,
        set: &EvaluationSet<'_>,
        (train, val): (&[usize], &[usize]),
        fitted: Fitted,
        validation: ValidationSummary,
        provenance: Provenance,
    ) -> Result<Head, HeadError> {
        let ood = OutOfDistribution::fit(set.mean_rows(train).view(), set.mean_rows(val).view())?;
        let Provenance { read, drawn } = provenance;
        Ok(Head {
            training: TrainingSummary::new(set, train, &fitted, validation, drawn),
            model: fitted.model,
            ood: Some(ood),
            conformal: None,
            contours: None,
            size,
            preprocess: about.preprocess,
            read: read.of_head(),
            backbone: Backbone::of(about),
            attestation: None,
            tool: Head::TOOL.to_owned(),
        })
    }

    /// Adds what was learned from held-out predictions to the head; the calibration and the threshold are in its model
    /// already.
    pub fn learned(self, certainty: &Certainty) -> Head {
        let Certainty { calibration, conformal, operating, set_aside, .. } = certainty;
        let training = TrainingSummary {
            calibration: calibration.clone(),
            operating: operating.clone(),
            set_aside: *set_aside,
            ..self.training
        };
        Head { conformal: conformal.clone(), training, ..self }
    }

    /// Adds what a model card says of the training.
    pub fn recorded(mut self, record: TrainingRecord) -> Head {
        self.training.record = Some(Box::new(record));
        self
    }

    /// Adds the scores of contours on the images `set_aside`.
    pub fn with_contours(self, contours: Contours, set_aside: Option<SetAside>) -> Head {
        let training = TrainingSummary { set_aside, ..self.training };
        Head { contours: Some(contours), training, ..self }
    }

    /// The rule of the sets of classes in the head's answers, for `coverage` or the one that it was trained with; `None`
    /// if neither says one, and for a head of masks.
    ///
    /// # Errors
    /// [`HeadError::NoScores`] when the head stores no scores for the coverage asked for; as [`Conformal::rule`].
    pub fn set_rule(&self, coverage: Option<f64>) -> Result<Option<SetRule>, HeadError> {
        match &self.conformal {
            Some(conformal) => coverage.or(conformal.coverage).map(|c| conformal.rule(c)).transpose(),
            None if coverage.is_some() && !self.model.makes_masks() => Err(HeadError::NoScores),
            None => Ok(None),
        }
    }

    /// The thresholds of the contours of its masks, for `coverage` or the one that it was trained with; `None` if neither
    /// says one, and for a head that makes no masks.
    ///
    /// # Errors
    /// [`HeadError::NoContourScores`] when a head of masks stores no scores for the coverage asked for; as
    /// [`Contours::rule`].
    pub fn contour_rule(&self, coverage: Option<f64>) -> Result<Option<ContourRule>, HeadError> {
        match &self.contours {
            Some(contours) => coverage.or(contours.coverage).map(|c| contours.rule(c)).transpose(),
            None if coverage.is_some() && self.model.makes_masks() => Err(HeadError::NoContourScores),
            None => Ok(None),
        }
    }

    /// What is known of the coverage of its sets or contours; `None` if it has no scores for them.
    pub fn guarantee(&self) -> Option<Guarantee> {
        if self.contours.is_some() {
            return Some(Guarantee::FiniteSample);
        }
        self.conformal.as_ref().map(|_| match self.training.set_aside {
            Some(_) => Guarantee::FiniteSample,
            None => Guarantee::Approximate,
        })
    }

    /// Rejects a backbone other than the one that the head was trained on, and one whose features are now read
    /// differently. A head that does not name its backbone (an ONNX file) is accepted with a warning.
    ///
    /// # Errors
    /// [`HeadError::Backbone`] names both backbones, [`HeadError::Reading`] the backbone.
    pub fn check_backbone(&self, about: &About) -> Result<(), HeadError> {
        if self.backbone.sha256.is_empty() {
            log::warn!(
                "the head does not say which backbone it was trained on: nothing proves that it is this one"
            );
            return Ok(());
        }
        if !self.backbone.sha256.eq_ignore_ascii_case(&about.sha256) {
            return Err(HeadError::Backbone {
                trained: self.backbone.name.clone(),
                trained_sha256: self.backbone.sha256.clone(),
                found_sha256: about.sha256.clone(),
            });
        }
        // An ONNX head is trained elsewhere on features computed there, so it does not record our `reading` version.
        if self.model.kind() != "onnx" && self.backbone.reading != about.reading {
            return Err(HeadError::Reading { backbone: self.backbone.name.clone() });
        }
        Ok(())
    }

    /// Writes the head atomically. The same head gives the same bytes.
    ///
    /// # Errors
    /// [`HeadError::Write`]; [`HeadError::Format`] when the head could not be read back, for example if its backbone
    /// has no SHA-256.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), HeadError> {
        let path = path.as_ref();
        let format = |reason| HeadError::Format { path: path.to_owned(), reason };
        let bytes = self.to_bytes().map_err(format)?;
        check_length(bytes.len() as u64).map_err(format)?;
        Head::from_bytes(&bytes).map_err(format)?;
        Ok(write_atomically(path, |file| file.write_all(&bytes))?)
    }

    /// As [`Head::read`], without the digest.
    ///
    /// # Errors
    /// As [`Head::read`].
    pub fn load(path: impl AsRef<Path>) -> Result<Head, HeadError> {
        Head::read(path).map(|(head, _)| head)
    }

    /// Reads and validates a head: a file that [`Head::save`] wrote, or (feature `onnx`, by the file extension) an ONNX
    /// model with its description beside it. Also returns the SHA-256, in lower-case hex, of the bytes read: those of
    /// the file, or, for an ONNX model, those of the model, of the weight files that it names and of the description,
    /// concatenated.
    ///
    /// # Errors
    /// [`HeadError::Read`] when the file cannot be read, [`HeadError::Format`] when it is not a complete and valid head
    /// of this version.
    pub fn read(path: impl AsRef<Path>) -> Result<(Head, String), HeadError> {
        let path = path.as_ref();
        if crate::engine::is_onnx(path) {
            return Head::load_onnx(path);
        }
        let read = |source| HeadError::Read { path: path.to_owned(), source };
        let format = |reason| HeadError::Format { path: path.to_owned(), reason };
        let file = crate::files::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        check_length(length).map_err(format)?;
        let mut bytes = Vec::with_capacity(length as usize);
        // The limit also applies if the reported length is wrong, as it is for a pipe.
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(read)?;
        Ok((Head::from_bytes(&bytes).map_err(format)?, sealed::sha256(&bytes)))
    }

    /// The head whose file holds `bytes`; `name` stands for the file in errors.
    ///
    /// # Errors
    /// [`HeadError::Format`] as [`Head::read`].
    pub fn parse(name: &Path, bytes: &[u8]) -> Result<Head, HeadError> {
        let format = |reason| HeadError::Format { path: name.to_owned(), reason };
        check_length(bytes.len() as u64).map_err(format)?;
        Head::from_bytes(bytes).map_err(format)
    }

    #[cfg(feature = "onnx")]
    fn load_onnx(path: &Path) -> Result<(Head, String), HeadError> {
        onnx::load(path)
    }

    #[cfg(not(feature = "onnx"))]
    fn load_onnx(path: &Path) -> Result<(Head, String), HeadError> {
        Err(HeadError::Format { path: path.to_owned(), reason: HeadFormatError::NoOnnx })
    }

    /// SHA-256 of all its numbers as they are in memory now, in lower-case hex: the names and bytes of the tensors that its
    /// file has, in the order in which they are made.
    pub(crate) fn values(&self) -> String {
        self.tensors().0.sha256()
    }

    /// The tensors of its file, and what the header says of them.
    fn tensors(&self) -> (Outgoing, Options, Vec<Part>) {
        let mut tensors = Outgoing::default();
        let options = parts::write(&self.model, &mut tensors);
        if let Some(ood) = &self.ood {
            parts::write_ood(ood, &mut tensors);
        }
        let calibration = self.model.calibration();
        let parts = parts::write_certainty(calibration, self.conformal.as_ref(), &mut tensors);
        let parts = parts::write_contours(parts, self.contours.as_ref(), &mut tensors);
        (tensors, options, parts)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, HeadFormatError> {
        let (tensors, options, parts) = self.tensors();
        let header = Header {
            version: if parts.is_empty() { VERSION } else { CALIBRATED },
            digest: sealed::blank(),
            kind: self.model.kind().into(),
            classes: self.model.classes().to_vec(),
            multi_label: self.model.multi_label(),
            options,
            parts,
            preprocess: self.preprocess,
            read: self.read.clone(),
            size: self.size.to_string(),
            backbone: self.backbone.clone(),
            features: self.model.features(),
            training: self.training.clone(),
            attestation: self.attestation.clone(),
            tool: self.tool.clone(),
        };
        let json = serde_json::to_string(&header).map_err(|e| HeadFormatError::Encode(e.to_string()))?;
        let metadata = HashMap::from([(METADATA.to_owned(), json)]);
        let mut bytes = safetensors::serialize(tensors.views()?, Some(metadata))
            .map_err(|e| HeadFormatError::Encode(e.to_string()))?;
        sealed::seal(&mut bytes);
        Ok(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Head, HeadFormatError> {
        // Parsing the JSON allocates an object for every few bytes, so its length is checked first.
        let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        if header > MAX_HEADER {
            return Err(HeadFormatError::HeaderTooLarge { bytes: header, limit: MAX_HEADER });
        }
        let broken = |e: SafeTensorError| HeadFormatError::Safetensors(e.to_string());
        let tensors = Incoming(SafeTensors::deserialize(bytes).map_err(broken)?);
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let header = read_header(bytes, metadata.metadata().as_ref().and_then(|m| m.get(METADATA)))?;
        let size: Size = header.size.parse().map_err(HeadFormatError::Size)?;
        let sha256 = &header.backbone.sha256;
        if sha256.len() != 64 || !sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(HeadFormatError::BackboneDigest(sha256.clone()));
        }
        if !header.preprocess.mean.iter().all(|m| m.is_finite())
            || !header.preprocess.std.iter().all(|&s| s.is_finite() && s > 0.0)
        {
            return Err(HeadFormatError::Preprocess);
        }
        let names = (header.classes, header.multi_label);
        let mut model = parts::read(&header.kind, names, header.options, &tensors)?;
        model.set_calibration(parts::read_calibration(&header.parts, &tensors)?)?;
        let conformal = parts::read_conformal(&header.parts, &tensors)?;
        if conformal.is_some() && (model.multi_label() || model.makes_masks()) {
            return Err(HeadError::Conformal.into());
        }
        let contours = parts::read_contours(&header.parts, &tensors)?;
        if contours.is_some() && model.kind() != "segment" {
            return Err(HeadError::ContourScores.into());
        }
        Ok(Head {
            model,
            conformal,
            contours,
            ood: parts::read_ood(&tensors)?,
            preprocess: header.preprocess,
            read: header.read,
            size,
            backbone: header.backbone,
            training: header.training,
            attestation: header.attestation,
            tool: header.tool,
        })
    }
}

/// Parses the header `json` of the file `bytes`, after checking its version and digest.
fn read_header(bytes: &[u8], json: Option<&String>) -> Result<Header, HeadFormatError> {
    let json = json.ok_or(HeadFormatError::NoMetadata(METADATA))?;
    let metadata = |e: serde_json::Error| HeadFormatError::Metadata { key: METADATA, error: e.to_string() };
    let Versioned { version, digest } = serde_json::from_str(json).map_err(metadata)?;
    if ![VERSION, CALIBRATED].contains(&version) {
        return Err(HeadFormatError::Version { found: version, expected: CALIBRATED });
    }
    if !sealed::holds(bytes, &digest) {
        return Err(HeadFormatError::Digest);
    }
    serde_json::from_str(json).map_err(metadata)
}

/// Rejects a file of `bytes` bytes that is larger than any head.
fn check_length(bytes: u64) -> Result<(), HeadFormatError> {
    if bytes > MAX_BYTES { Err(HeadFormatError::TooLarge { bytes, limit: MAX_BYTES }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
