//! The file of a head: one small safetensors file that knows what it was trained on.
//!
//! Tensors, all F64: `weight` `[classes, dim]`, `bias` `[classes]`, `mean` `[dim]`, `std` `[dim]`, `threshold` `[1]`.
//! The metadata hold one entry, `microraptor.head`, a JSON object: safetensors keeps its metadata in a hash map, whose
//! order changes from run to run, and a head's bytes must not.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::{HeadError, LinearHead};
use crate::output::write_atomically;
use crate::vit::{Preprocess, Size};

/// Key of the metadata entry.
const METADATA: &str = "microraptor.head";

/// Version of the format; a file of another version is refused.
const VERSION: u32 = 1;

/// A head's file larger than this is not read: 1000 classes on 8192 features are 62 MiB.
const MAX_BYTES: u64 = 64 << 20;

/// A head with all that is needed to use it on an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// From features to probabilities.
    pub linear: LinearHead,
    /// How pixels become the backbone's input.
    pub preprocess: Preprocess,
    /// Input size that the features were made at.
    pub size: Size,
    /// The backbone that makes the features.
    pub backbone: Backbone,
    /// What a row of features is.
    pub features: FeatureKind,
    /// How the head was trained.
    pub training: TrainingSummary,
    /// Name and version of the program that wrote the file.
    pub tool: String,
}

/// Which backbone a head belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backbone {
    /// Its name, for people.
    pub name: String,
    /// SHA-256 of its weights, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// What a row of features is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeatureKind {
    /// CLS token, then the mean of the patch tokens: `[2 * dim]`.
    #[serde(rename = "cls+mean_patch")]
    ClsMeanPatch,
}

/// How a head was trained. Numbers are informative: their last digit may change when the file is read and written again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// Training images of each class, in the head's order.
    pub images_per_class: Vec<usize>,
    /// Inverse strength of the regularisation.
    pub c: f64,
    /// Whether classes were weighted to count the same.
    pub balanced: bool,
    /// Whether training and validation images were joined for the last fit.
    pub refit: bool,
    /// Measured on validation images, before such a last fit.
    pub validation: Option<ValidationSummary>,
    /// How the validation images were drawn, where the data named none.
    pub drawn: Option<DrawnSplit>,
}

/// A drawn split, so that it can be drawn again on the same data and not be mistaken for unseen images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrawnSplit {
    /// [`Dataset::digest`](crate::input::Dataset::digest) of the data.
    pub digest: String,
    /// Seed of the draw.
    pub seed: u64,
    /// Share that was held out.
    pub val_share: f64,
}

/// What a head reached on validation images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValidationSummary {
    /// Number of images.
    pub images: usize,
    /// Area under the ROC curve, macro.
    pub auc: Option<f64>,
    /// Share of images predicted right.
    pub accuracy: Option<f64>,
    /// Mean sensitivity over the classes.
    pub balanced_accuracy: Option<f64>,
    /// Mean F1 over the classes.
    pub macro_f1: Option<f64>,
    /// Mean cross entropy in nats.
    pub log_loss: Option<f64>,
}

impl From<&super::Report> for ValidationSummary {
    fn from(report: &super::Report) -> ValidationSummary {
        // Six decimals: all that a few hundred images support, and exact through JSON.
        let value = |e: Option<super::Estimate>| e.map(|e| (e.value * 1e6).round() / 1e6);
        ValidationSummary {
            images: report.images,
            auc: value(report.auc),
            accuracy: value(report.accuracy),
            balanced_accuracy: value(report.balanced_accuracy),
            macro_f1: value(report.macro_f1),
            log_loss: value(report.log_loss),
        }
    }
}

/// Only the version: read first, so that a file of a later version is refused for that reason.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
    kind: String,
}

/// The metadata entry.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    kind: String,
    classes: Vec<String>,
    multi_label: bool,
    preprocess: Preprocess,
    size: String,
    backbone: Backbone,
    features: FeatureKind,
    training: TrainingSummary,
    tool: String,
}

impl Head {
    /// Name and version of this program, for [`Head::tool`].
    pub const TOOL: &str = concat!("microraptor ", env!("CARGO_PKG_VERSION"));

    /// Refuses a backbone other than the one that the head was trained on.
    ///
    /// # Errors
    /// [`HeadError::Backbone`] names both.
    pub fn check_backbone(&self, sha256: &str) -> Result<(), HeadError> {
        if self.backbone.sha256.eq_ignore_ascii_case(sha256) {
            return Ok(());
        }
        Err(HeadError::Backbone {
            trained: self.backbone.name.clone(),
            trained_sha256: self.backbone.sha256.clone(),
            found_sha256: sha256.to_owned(),
        })
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

    /// Reads a head and checks all of it.
    ///
    /// # Errors
    /// [`HeadError::Read`] when the file cannot be read, [`HeadError::Format`] when it is not a whole and sound head of
    /// this version.
    pub fn load(path: &Path) -> Result<Head, HeadError> {
        let read = |source| HeadError::Read { path: path.to_owned(), source };
        let format = |reason: String| HeadError::Format { path: path.to_owned(), reason };
        let file = File::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        if length > MAX_BYTES {
            return Err(format(too_large(length)));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        // The limit also holds where the length is a lie, as it is of a pipe.
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(read)?;
        Head::from_bytes(&bytes).map_err(format)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let linear = &self.linear;
        let header = Header {
            version: VERSION,
            kind: "linear".into(),
            classes: linear.classes.clone(),
            multi_label: linear.multi_label,
            preprocess: self.preprocess,
            size: self.size.to_string(),
            backbone: self.backbone.clone(),
            features: self.features,
            training: self.training.clone(),
            tool: self.tool.clone(),
        };
        let json = serde_json::to_string(&header).map_err(|e| e.to_string())?;
        let (classes, dim) = (linear.classes.len(), linear.dim());
        let threshold = [linear.threshold];
        let tensors: [(&str, Vec<usize>, &[f64]); 5] = [
            ("weight", vec![classes, dim], linear.weight()),
            ("bias", vec![classes], linear.bias()),
            ("mean", vec![dim], linear.mean()),
            ("std", vec![dim], linear.std()),
            ("threshold", vec![1], &threshold),
        ];
        let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, _, v)| little_endian(v)).collect();
        let views = tensors
            .iter()
            .zip(&bytes)
            .map(|((name, shape, _), bytes)| Ok((*name, TensorView::new(Dtype::F64, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| e.to_string())?;
        safetensors::serialize(views, Some(HashMap::from([(METADATA.to_owned(), json)])))
            .map_err(|e| e.to_string())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Head, String> {
        let broken =
            |e| format!("{e}; the file is cut short or is not a safetensors file, copy or train it again");
        let tensors = SafeTensors::deserialize(bytes).map_err(broken)?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let header = read_header(metadata.metadata().as_ref().and_then(|m| m.get(METADATA)))?;
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
        let classes = header.classes.len();
        let dim = match tensors.tensor("mean").map(|t| t.shape().to_vec()).as_deref() {
            Ok(&[dim]) if dim > 0 => dim,
            Ok(shape) => return Err(format!("tensor 'mean' has shape {shape:?}, expected [dim]")),
            Err(_) => return Err("tensor 'mean' is missing; train the head again".into()),
        };
        let read = |name: &str, shape: &[usize]| read_tensor(&tensors, name, shape);
        let threshold = read("threshold", &[1])?[0];
        let parts = [
            read("mean", &[dim])?,
            read("std", &[dim])?,
            read("weight", &[classes, dim])?,
            read("bias", &[classes])?,
        ];
        let linear = LinearHead::new(header.classes, header.multi_label, threshold, parts)
            .map_err(|e| e.to_string())?;
        Ok(Head {
            linear,
            preprocess: header.preprocess,
            size,
            backbone: header.backbone,
            features: header.features,
            training: header.training,
            tool: header.tool,
        })
    }
}

fn read_header(json: Option<&String>) -> Result<Header, String> {
    let json = json.ok_or_else(|| {
        format!("its metadata have no '{METADATA}'; give a file that `microraptor train` wrote")
    })?;
    let metadata = |e: serde_json::Error| format!("its metadata '{METADATA}' cannot be read: {e}");
    let Versioned { version, kind } = serde_json::from_str(json).map_err(metadata)?;
    if version != VERSION {
        return Err(format!(
            "it is of format version {version}, this program reads version {VERSION}; train the head again or use the program that wrote it"
        ));
    }
    if kind != "linear" {
        return Err(format!("it is a head of kind '{kind}', this program knows 'linear'"));
    }
    serde_json::from_str(json).map_err(metadata)
}

fn read_tensor(tensors: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f64>, String> {
    let tensor =
        tensors.tensor(name).map_err(|_| format!("tensor '{name}' is missing; train the head again"))?;
    if tensor.dtype() != Dtype::F64 {
        return Err(format!("tensor '{name}' is {}, expected F64", tensor.dtype()));
    }
    if tensor.shape() != shape {
        return Err(format!("tensor '{name}' has shape {:?}, expected {shape:?}", tensor.shape()));
    }
    let values: Vec<f64> = tensor
        .data()
        .chunks_exact(8)
        .map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes")))
        .collect();
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(format!("tensor '{name}' holds a NaN or an infinity at index {index}")),
        None => Ok(values),
    }
}

fn little_endian(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn too_large(bytes: u64) -> String {
    format!(
        "it has {bytes} bytes, and a head has at most {MAX_BYTES}; is this a backbone's checkpoint instead of a head?"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let names = vec!["benign".to_owned(), "malignant \"?\"".to_owned()];
        let parts = [vec![0.1, -3.0], vec![1.0, 0.3], vec![0.25, -1.0 / 3.0, 0.5, 1e-300], vec![0.7, -0.7]];
        Head {
            linear: LinearHead::new(names, false, 1.0 / 3.0, parts).unwrap(),
            preprocess: Preprocess::IMAGENET,
            size: Size { height: 224, width: 352 },
            backbone: Backbone { name: "deit-tiny".into(), sha256: "0123456789abcdef".repeat(4) },
            features: FeatureKind::ClsMeanPatch,
            training: TrainingSummary {
                images_per_class: vec![3, 4],
                c: 0.01,
                validation: Some(ValidationSummary { images: 9, auc: Some(0.875), ..Default::default() }),
                ..Default::default()
            },
            tool: Head::TOOL.into(),
        }
    }

    /// The error of a file that holds `bytes`.
    fn refusal(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head.safetensors");
        std::fs::write(&path, bytes).unwrap();
        let text = Head::load(&path).unwrap_err().to_string();
        assert!(text.contains("head.safetensors") && !text.contains('\n'), "{text}");
        text
    }

    /// The same file with `from` in its JSON header replaced by `to`, the header's length set right.
    fn edited(from: &str, to: &str) -> Vec<u8> {
        let bytes = head().to_bytes().unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
        assert!(header.contains(from), "{header}");
        let header = header.replacen(from, to, 1);
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes[8 + length..]].concat()
    }

    #[test]
    fn is_read_as_it_was_written_with_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head.safetensors");
        head().save(&path).unwrap();
        let loaded = Head::load(&path).unwrap();
        assert_eq!(loaded, head());
        let first = std::fs::read(&path).unwrap();
        loaded.save(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_head_that_could_not_be_read_back_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut head = head();
        head.backbone.sha256 = "unknown".into();
        assert!(head.save(&folder.path().join("head.safetensors")).is_err());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn refuses_another_backbone_and_names_both() {
        assert!(head().check_backbone(&"0123456789ABCDEF".repeat(4)).is_ok());
        let text = head().check_backbone("ffff").unwrap_err().to_string();
        assert!(text.contains("deit-tiny") && text.contains("0123456789abcdef0") && text.contains("ffff"));
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = head().to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(Head::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
        }
        refusal(&bytes[..bytes.len() - 1]);
        refusal(&[]);
    }

    #[test]
    fn a_header_that_lies_is_refused() {
        let bytes = head().to_bytes().unwrap();
        let mut lying = bytes.clone();
        lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        refusal(&lying);
        lying[..8].copy_from_slice(&99_000_000u64.to_le_bytes());
        refusal(&lying);
        refusal(&edited("\"shape\":[2,2]", "\"shape\":[2,4611686018427387904]"));
        refusal(&edited("\"shape\":[2,2]", "\"shape\":[4,1]"));
        refusal(&edited("\"shape\":[2,2]", "\"shape\":[2,3]"));
    }

    #[test]
    fn names_what_is_wrong() {
        for (from, to, says) in [
            ("\\\"version\\\":1", "\\\"version\\\":7", "version 7"),
            ("\\\"kind\\\":\\\"linear\\\"", "\\\"kind\\\":\\\"mlp\\\"", "'mlp'"),
            (METADATA, "format", "microraptor train"),
            ("\"bias\"", "\"baas\"", "'bias' is missing"),
            ("\"mean\"", "\"meen\"", "'mean' is missing"),
            ("\"F64\",\"shape\":[2,2]", "\"I64\",\"shape\":[2,2]", "'weight' is I64"),
            ("\\\"224x352\\\"", "\\\"0\\\"", "input size"),
            ("\\\"benign\\\"", "\\\"\\\"", "empty name"),
            ("0123456789abcdef", "0123456789ABCDEF", "hexadecimal"),
            ("\\\"std\\\":[0.229", "\\\"std\\\":[0.0", "preprocessing"),
        ] {
            let text = refusal(&edited(from, to));
            assert!(text.contains(says), "{from} -> {to}: {text}");
        }
        let mut nan = head().to_bytes().unwrap();
        let end = nan.len();
        nan[end - 8..].copy_from_slice(&f64::NAN.to_le_bytes());
        assert!(refusal(&nan).contains("NaN"));
        assert!(Head::load(Path::new("no/such/head")).unwrap_err().to_string().contains("no/such/head"));
    }
}
