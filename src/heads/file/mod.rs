//! The file of a head: one small safetensors file that knows what it was trained on.
//!
//! Which tensors it holds depends on its kind (`parts.rs`). The metadata hold one entry, `microraptor.head`, a JSON object:
//! safetensors keeps its metadata in a hash map, whose order changes from run to run, and a head's bytes must not. The
//! object's second entry is a digest of the whole file (`sealed.rs`), without which a head would go on answering with a
//! weight or a class's name changed.

#[cfg(feature = "onnx")]
mod onnx;
mod parts;
mod summary;
mod tensors;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

pub use summary::{Backbone, DrawnSplit, TrainingSummary, ValidationSummary};

use super::{EvaluationSet, FeatureKind, Fitted, HeadError, HeadModel, OutOfDistribution};
use crate::engine::About;
use crate::files::write_atomically;
use crate::input::ReadOptions;
use crate::names::one_line;
use crate::sealed;
use crate::vit::{Preprocess, Size};
use parts::Options;
use tensors::{Incoming, Outgoing};

/// Key of the metadata entry.
const METADATA: &str = "microraptor.head";

/// Version of the format; a file of another version is refused. Files of version 2 and before hold no digest, so that
/// nothing tells whether their weights and names are those that were trained.
const VERSION: u32 = 3;

/// A head's file larger than this is not read: 100,000 neighbours of 768 features in half precision are 147 MiB.
const MAX_BYTES: u64 = 256 << 20;

/// The most bytes of the JSON that it begins with; one of a thousand classes has 30 KiB.
const MAX_HEADER: u64 = 16 << 20;

/// A head with all that is needed to use it on an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// What was learned: from features to probabilities, or a mask.
    pub model: HeadModel,
    /// The training features, to tell images unlike them.
    pub ood: Option<OutOfDistribution>,
    /// How pixels become the backbone's input.
    pub preprocess: Preprocess,
    /// How files become pixels.
    pub read: ReadOptions,
    /// Input size that the features were made at.
    pub size: Size,
    /// The backbone that makes the features.
    pub backbone: Backbone,
    /// How the head was trained.
    pub training: TrainingSummary,
    /// Name and version of the program that wrote the file.
    pub tool: String,
}

/// Only the version and the digest: read first, so that a file of a later version is refused for that reason, and one that
/// is damaged for that.
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
    preprocess: Preprocess,
    read: ReadOptions,
    size: String,
    backbone: Backbone,
    features: FeatureKind,
    training: TrainingSummary,
    tool: String,
}

impl Head {
    /// Name and version of this program, for [`Head::tool`].
    pub const TOOL: &str = concat!("microraptor ", env!("CARGO_PKG_VERSION"));

    /// A head that was fitted on the examples `train` of `set`, whose features the backbone `about` made at `size`. The
    /// examples `val`, on which it is worth `validation`, say how unlike those an image may be.
    ///
    /// # Errors
    /// [`HeadError`] when there are too few examples to tell.
    pub fn fitted(
        about: &About,
        size: Size,
        set: &EvaluationSet<'_>,
        (train, val): (&[usize], &[usize]),
        fitted: Fitted,
        validation: ValidationSummary,
    ) -> Result<Head, HeadError> {
        let ood = OutOfDistribution::fit(set.mean_rows(train).view(), set.mean_rows(val).view())?;
        Ok(Head {
            training: TrainingSummary::new(set, train, &fitted, validation),
            model: fitted.model,
            ood: Some(ood),
            size,
            preprocess: about.preprocess,
            read: ReadOptions::default(),
            backbone: Backbone::of(about),
            tool: Head::TOOL.to_owned(),
        })
    }

    /// Refuses a backbone other than the one that the head was trained on, and one whose features were read in another way
    /// then. A head that does not say (an ONNX file) is accepted with a warning.
    ///
    /// # Errors
    /// [`HeadError::Backbone`] names both, [`HeadError::Reading`] the backbone.
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
        // Who trains elsewhere makes the features there, and knows nothing of our versions.
        if self.model.kind() != "onnx" && self.backbone.reading != about.reading {
            return Err(HeadError::Reading { backbone: self.backbone.name.clone() });
        }
        Ok(())
    }

    /// Writes the head, whole or not at all. The same head gives the same bytes.
    ///
    /// # Errors
    /// [`HeadError::Write`]; [`HeadError::Format`] when the head could not be read back, such as a backbone without a
    /// SHA-256.
    pub fn save(&self, path: &Path) -> Result<(), HeadError> {
        let format = |reason: String| HeadError::Format { path: path.to_owned(), reason };
        let bytes = self.to_bytes().map_err(format)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format(too_large(bytes.len() as u64)));
        }
        Head::from_bytes(&bytes).map_err(format)?;
        Ok(write_atomically(path, |file| file.write_all(&bytes))?)
    }

    /// [`Head::read`], without the digest.
    ///
    /// # Errors
    /// As [`Head::read`].
    pub fn load(path: &Path) -> Result<Head, HeadError> {
        Head::read(path).map(|(head, _)| head)
    }

    /// Reads a head and checks all of it: a file that [`Head::save`] wrote, or (feature `onnx`, by its ending) an ONNX model
    /// with its description beside it. With it comes the SHA-256, in lower-case hex, of the very bytes that it was read
    /// from: those of the file; of an ONNX model, those of the model, of the files with weights that it names and of the
    /// description, one after the other.
    ///
    /// # Errors
    /// [`HeadError::Read`] when the file cannot be read, [`HeadError::Format`] when it is not a whole and sound head of
    /// this version.
    pub fn read(path: &Path) -> Result<(Head, String), HeadError> {
        if crate::engine::is_onnx(path) {
            return Head::load_onnx(path);
        }
        let read = |source| HeadError::Read { path: path.to_owned(), source };
        // Reasons quote what the file holds.
        let format = |reason: String| HeadError::Format { path: path.to_owned(), reason: one_line(&reason) };
        let file = crate::files::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        if length > MAX_BYTES {
            return Err(format(too_large(length)));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        // The limit also holds where the length is a lie, as it is of a pipe.
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(read)?;
        Ok((Head::from_bytes(&bytes).map_err(format)?, sealed::sha256(&bytes)))
    }

    #[cfg(feature = "onnx")]
    fn load_onnx(path: &Path) -> Result<(Head, String), HeadError> {
        onnx::load(path)
    }

    #[cfg(not(feature = "onnx"))]
    fn load_onnx(path: &Path) -> Result<(Head, String), HeadError> {
        let reason = "this build cannot read ONNX (it was built without the feature onnx)".into();
        Err(HeadError::Format { path: path.to_owned(), reason })
    }

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut tensors = Outgoing::default();
        let options = parts::write(&self.model, &mut tensors);
        if let Some(ood) = &self.ood {
            parts::write_ood(ood, &mut tensors);
        }
        let header = Header {
            version: VERSION,
            digest: sealed::blank(),
            kind: self.model.kind().into(),
            classes: self.model.classes().to_vec(),
            multi_label: self.model.multi_label(),
            options,
            preprocess: self.preprocess,
            read: self.read.clone(),
            size: self.size.to_string(),
            backbone: self.backbone.clone(),
            features: self.model.features(),
            training: self.training.clone(),
            tool: self.tool.clone(),
        };
        let json = serde_json::to_string(&header).map_err(|e| e.to_string())?;
        let metadata = HashMap::from([(METADATA.to_owned(), json)]);
        let mut bytes =
            safetensors::serialize(tensors.views()?, Some(metadata)).map_err(|e| e.to_string())?;
        sealed::seal(&mut bytes);
        Ok(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Head, String> {
        // Of its JSON something is made for every few bytes.
        let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        if header > MAX_HEADER {
            return Err(format!("its header claims {header} bytes, of at most {MAX_HEADER}"));
        }
        let broken =
            |e| format!("{e}; the file is cut short or is not a safetensors file, copy or train it again");
        let tensors = Incoming(SafeTensors::deserialize(bytes).map_err(broken)?);
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let header = read_header(bytes, metadata.metadata().as_ref().and_then(|m| m.get(METADATA)))?;
        let size: Size = header.size.parse().map_err(|e| format!("its input size: {e}"))?;
        let sha256 = &header.backbone.sha256;
        if sha256.len() != 64 || !sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!(
                "the SHA-256 of its backbone is '{sha256}', not 64 lower-case hexadecimal digits"
            ));
        }
        if !header.preprocess.mean.iter().all(|m| m.is_finite())
            || !header.preprocess.std.iter().all(|&s| s.is_finite() && s > 0.0)
        {
            return Err("its preprocessing has a mean or a deviation that cannot be used".into());
        }
        let names = (header.classes, header.multi_label);
        Ok(Head {
            model: parts::read(&header.kind, names, header.options, &tensors)?,
            ood: parts::read_ood(&tensors)?,
            preprocess: header.preprocess,
            read: header.read,
            size,
            backbone: header.backbone,
            training: header.training,
            tool: header.tool,
        })
    }
}

/// The header `json` of the file `bytes`, after its version and its digest.
fn read_header(bytes: &[u8], json: Option<&String>) -> Result<Header, String> {
    let json = json.ok_or_else(|| {
        format!("its metadata have no '{METADATA}'; give a file that `microraptor train` wrote")
    })?;
    let metadata = |e: serde_json::Error| format!("its metadata '{METADATA}' cannot be read: {e}");
    let Versioned { version, digest } = serde_json::from_str(json).map_err(metadata)?;
    if version != VERSION {
        return Err(format!(
            "it is of format version {version}, this program reads version {VERSION}; train the head again or use the program that wrote it"
        ));
    }
    if !sealed::holds(bytes, &digest) {
        return Err(
            "its digest is not that of its bytes: it was damaged or changed; copy or train it again".into()
        );
    }
    serde_json::from_str(json).map_err(metadata)
}

fn too_large(bytes: u64) -> String {
    format!(
        "it has {bytes} bytes, and a head has at most {MAX_BYTES}; is this a backbone's checkpoint instead of a head?"
    )
}

#[cfg(test)]
mod tests;
