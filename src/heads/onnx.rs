//! An ONNX file as a head, with what it does not say in a JSON file beside it.
//!
//! `head.onnx` takes one tensor: `[n, dim]` (CLS) or `[n, 2 * dim]` (CLS ++ mean of the patch tokens), `[n, tokens, dim]`
//! (patch tokens by row) or `[n, dim, rows, columns]` (the same as a map). It gives `[n, classes]` for classes, or
//! `[n, classes, h, w]` for masks. `head.json` beside it:
//!
//! ```json
//! {"classes": ["benign", "malignant"], "size": "224", "activation": "softmax",
//!  "backbone": {"name": "dinov3-vits16", "sha256": "..."}}
//! ```
//!
//! `activation` is `softmax`, `sigmoid` (several labels an image) or `none` (probabilities already); `threshold` may be
//! given; without `backbone` it runs on any, with a warning.
//!
//! Its identity is the SHA-256 of the bytes of `head.onnx`, of the files with weights that it names (sorted by name) and of
//! `head.json`, one after the other: `cat head.onnx head.json | sha256sum` where it names none.

use std::path::Path;

use serde::Deserialize;

use super::features::ScanFeatures;
use super::linear::decide;
use super::logistic::{sigmoid, softmax};
use super::nn::bilinear::Bilinear;
use super::{Backbone, Head, HeadError, HeadModel, Prediction, TrainingSummary};
use crate::files;
use crate::graph::head::OnnxFunction;
use crate::input::{LabelMap, ReadOptions};
use crate::vit::{Preprocess, Size};

/// Longest description that is read.
const MAX_JSON: u64 = 1 << 20;

/// What turns a model's output into probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Activation {
    #[default]
    Softmax,
    Sigmoid,
    None,
}

/// The file beside the model.
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

/// A head that tract runs.
#[derive(Clone, Debug)]
pub struct OnnxHead {
    /// Names of the classes; of a model that makes masks the first is the background.
    pub classes: Vec<String>,
    /// Probability from which the second of two classes, or a label, is said to be there.
    pub threshold: f64,
    activation: Activation,
    function: OnnxFunction,
}

impl PartialEq for OnnxHead {
    fn eq(&self, other: &OnnxHead) -> bool {
        (&self.classes, self.threshold, self.activation, self.function.sha256())
            == (&other.classes, other.threshold, other.activation, other.function.sha256())
    }
}

impl OnnxHead {
    /// Reads `path` and the description beside it; with the head comes its SHA-256, as the module says. The backbone is empty
    /// where the description names none.
    ///
    /// # Errors
    /// [`HeadError::Format`] names the file and what is wrong with it.
    pub fn load(path: &Path) -> Result<(Head, String), HeadError> {
        let beside = path.with_extension("json");
        let format = |path: &Path, reason: String| HeadError::Format { path: path.to_owned(), reason };
        let text = match files::text(&beside, MAX_JSON) {
            Ok(text) => text,
            Err(error) => {
                let wanted = r#"{"classes": ["name", ...], "size": "224"}"#;
                return Err(format(
                    path,
                    format!(
                        "{} cannot be read ({error}); an ONNX head needs it beside it, with {wanted}",
                        beside.display()
                    ),
                ));
            }
        };
        let description: Description = serde_json::from_str(&text)
            .map_err(|e| format(&beside, format!("it is no description of a head: {e}")))?;
        let multi_label = description.activation == Activation::Sigmoid;
        super::examples::check_classes(&description.classes, multi_label)
            .map_err(|e| format(&beside, e.to_string()))?;
        let threshold = description.threshold.unwrap_or(0.5);
        if !(0.0..=1.0).contains(&threshold) {
            return Err(format(&beside, format!("threshold {threshold} is not between 0 and 1")));
        }
        let size: Size = description.size.parse().map_err(|e| format(&beside, format!("its size: {e}")))?;
        let function = OnnxFunction::load(path).map_err(|e| format(path, e.to_string()))?;
        if !(2..=4).contains(&function.input().len()) {
            let reason = "its input has neither 2, 3 nor 4 dimensions; features are [n, dim], [n, tokens, dim] or [n, dim, rows, columns]";
            return Err(format(path, reason.into()));
        }
        let unknown = Backbone { name: String::new(), sha256: String::new(), reading: 0 };
        let model = OnnxHead {
            classes: description.classes,
            threshold,
            activation: description.activation,
            function,
        };
        let sha256 = model.function.sha256_with(text.as_bytes());
        let head = Head {
            model: HeadModel::Onnx(model),
            ood: None,
            preprocess: description.preprocess.unwrap_or(Preprocess::IMAGENET),
            read: ReadOptions { allow_unsupported_modality: false, ..description.read },
            size,
            backbone: description.backbone.unwrap_or(unknown),
            training: TrainingSummary::default(),
            tool: String::new(),
        };
        Ok((head, sha256))
    }

    /// Whether an image may have several labels.
    pub fn multi_label(&self) -> bool {
        self.activation == Activation::Sigmoid
    }

    /// Whether it reads patch tokens.
    pub fn tokens(&self) -> bool {
        self.function.input().len() > 2
    }

    /// Class probabilities (the mean over frames), or a mask of `(height, width)`.
    pub(super) fn predict(
        &self,
        features: &ScanFeatures,
        (height, width): (usize, usize),
    ) -> Result<Result<Prediction, LabelMap>, HeadError> {
        let classes = self.classes.len();
        let mut sum = vec![0.0; classes];
        let mut labels = Vec::new();
        for frame in 0..features.rows.nrows() {
            let (shape, values) = self.input(features, frame)?;
            let run = self.function.run(&shape, &values).map_err(|e| HeadError::Classes(e.to_string()))?;
            if let Some(column) = run.1.iter().position(|v| !v.is_finite()) {
                return Err(HeadError::NonFinite { row: frame, column });
            }
            match *run.0 {
                [1, found] if found == classes => {
                    let mut p: Vec<f64> = run.1.iter().map(|&v| v.into()).collect();
                    match self.activation {
                        Activation::Softmax => drop(softmax(&mut p)),
                        Activation::Sigmoid => p.iter_mut().for_each(|z| *z = sigmoid(*z)),
                        Activation::None => {}
                    }
                    sum.iter_mut().zip(p).for_each(|(sum, p)| *sum += p);
                }
                [1, found, rows, columns] if found == classes && rows * columns > 0 => {
                    labels.extend(mask(&run.1, classes, (rows, columns), (height, width)));
                }
                _ => {
                    return Err(HeadError::Classes(format!(
                        "the ONNX head gives {:?}, expected [1, {classes}] or [1, {classes}, rows, columns]",
                        run.0
                    )));
                }
            }
        }
        if !labels.is_empty() {
            return Ok(Err(LabelMap { depth: features.rows.nrows(), height, width, labels }));
        }
        let frames = features.rows.nrows() as f64;
        let probabilities: Vec<f64> = sum.iter().map(|sum| sum / frames).collect();
        let classes = decide(&probabilities, self.multi_label(), self.threshold);
        Ok(Ok(Prediction { probabilities, classes }))
    }

    /// A frame's features in the shape that the model declares.
    fn input(&self, features: &ScanFeatures, frame: usize) -> Result<(Vec<usize>, Vec<f32>), HeadError> {
        let declared = self.function.input();
        if declared.len() == 2 {
            let row = features.rows.row(frame).to_vec();
            // Half of the row is CLS; a free side takes all of it.
            let dim = declared[1].filter(|&dim| 2 * dim == row.len()).unwrap_or(row.len());
            return Ok((vec![1, dim], row[..dim].to_vec()));
        }
        let Some(tokens) = &features.tokens else {
            return Err(HeadError::Shape { what: "patch tokens", found: 0, expected: 1 });
        };
        let (positions, channels) = (tokens.grid.height * tokens.grid.width, tokens.channels);
        let own = &tokens.values[frame * positions * channels..(frame + 1) * positions * channels];
        if declared.len() == 3 {
            return Ok((vec![1, positions, channels], own.iter().map(|v| v.to_f32()).collect()));
        }
        let mut map = vec![0.0; own.len()];
        for (position, token) in own.chunks_exact(channels).enumerate() {
            token.iter().enumerate().for_each(|(c, v)| map[c * positions + position] = v.to_f32());
        }
        Ok((vec![1, channels, tokens.grid.height, tokens.grid.width], map))
    }
}

/// The class of each pixel, from scores `[classes, rows, columns]`, bilinear.
fn mask(scores: &[f32], classes: usize, (rows, columns): (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let cells = rows * columns;
    let by_cell: Vec<f32> = (0..scores.len()).map(|i| scores[i % classes * cells + i / classes]).collect();
    let resized = Bilinear::new((rows, columns), to).apply(&by_cell, classes);
    resized.chunks_exact(classes).map(|logits| super::segment::largest(logits) as u8).collect()
}
