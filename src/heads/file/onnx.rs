//! An ONNX file as a head, with additional information in a JSON file beside it.
//!
//! `head.onnx` takes one tensor: `[n, dim]` (CLS) or `[n, 2 * dim]` (CLS ++ mean of the patch tokens),
//! `[n, tokens, dim]` (patch tokens in row order) or `[n, dim, rows, columns]` (the same as a map). It returns
//! `[n, classes]` for classes, or `[n, classes, h, w]` for masks. `head.json` beside it:
//!
//! ```json
//! {"classes": ["benign", "malignant"], "size": "224", "activation": "softmax",
//!  "backbone": {"name": "dinov3-vits16", "sha256": "..."}}
//! ```
//!
//! `activation` is `softmax`, `sigmoid` (several labels per image) or `none` (the output is already probabilities);
//! `threshold` is optional; without `backbone` the head runs on any backbone, with a warning.
//!
//! The identity of such a head is the SHA-256 of the concatenated bytes of `head.onnx`, of the weight files that it
//! names (sorted by name) and of `head.json`: `cat head.onnx head.json | sha256sum` if it names none.

use std::path::Path;

use serde::Deserialize;

use super::{Backbone, Head, TrainingSummary};
use crate::files;
use crate::graph::head::OnnxFunction;
use crate::heads::scores::Activation;
use crate::heads::targets::check_classes;
use crate::heads::{HeadError, HeadFormatError, HeadModel, OnnxHead};
use crate::input::ReadOptions;
use crate::vit::{Preprocess, Size};

/// Maximum size of the description, in bytes.
const MAX_JSON: u64 = 1 << 20;

/// The description beside the model.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    classes: Vec<String>,
    size: String,
    #[serde(default)]
    activation: Activation,
    #[serde(default)]
    threshold: Option<f64>,
    #[serde(default)]
    backbone: Option<Backbone>,
    #[serde(default)]
    preprocess: Option<Preprocess>,
    #[serde(default)]
    read: ReadOptions,
}

/// Reads `path` and the description beside it; also returns the SHA-256 described in the module documentation. The
/// backbone is empty if the description names none.
///
/// # Errors
/// [`HeadError::Format`] names the file and the problem.
pub(super) fn load(path: &Path) -> Result<(Head, String), HeadError> {
    let beside = path.with_extension("json");
    let of_model = |reason| HeadError::Format { path: path.to_owned(), reason };
    let of_description = |reason| HeadError::Format { path: beside.clone(), reason };
    let text = files::text(&beside, MAX_JSON)
        .map_err(|error| of_model(HeadFormatError::NoDescription { path: beside.clone(), error }))?;
    let description: Description = serde_json::from_str(&text)
        .map_err(|e| of_description(HeadFormatError::Description(e.to_string())))?;
    let multi_label = description.activation == Activation::Sigmoid;
    check_classes(&description.classes, multi_label).map_err(|e| of_description(e.into()))?;
    let threshold = description.threshold.unwrap_or(0.5);
    if !(0.0..=1.0).contains(&threshold) {
        return Err(of_description(HeadError::Threshold(threshold).into()));
    }
    let size: Size =
        description.size.parse().map_err(|e| of_description(HeadFormatError::DescriptionSize(e)))?;
    let function = OnnxFunction::load(path).map_err(|e| of_model(HeadFormatError::Onnx(e)))?;
    if !(2..=4).contains(&function.input().len()) {
        return Err(of_model(HeadFormatError::OnnxInput));
    }
    let unknown = Backbone { name: String::new(), sha256: String::new(), reading: 0 };
    let model =
        OnnxHead { classes: description.classes, threshold, activation: description.activation, function };
    let sha256 = model.function.sha256_with(text.as_bytes());
    let head = Head {
        model: HeadModel::Onnx(model),
        ood: None,
        conformal: None,
        contours: None,
        preprocess: description.preprocess.unwrap_or(Preprocess::IMAGENET),
        read: ReadOptions { allow_unsupported_modality: false, ..description.read },
        size,
        backbone: description.backbone.unwrap_or(unknown),
        training: TrainingSummary::default(),
        attestation: None,
        tool: String::new(),
    };
    Ok((head, sha256))
}
