//! Any other ONNX image model, through tract as it is: f32, tract's own operators.
//!
//! What a model's outputs mean is told by their names and shapes ([`OnnxOutput`]); nothing about its architecture is
//! assumed. tract needs a plan for each input size ([`OnnxModel::plan`]), which callers keep.

use std::path::Path;
use std::sync::Arc;

use tract_core::internal::*;
use tract_linalg::multithread::Executor;

use crate::checkpoint::onnx::{OnnxError, Source};
use crate::vit::{Size, SizeError};

/// An ONNX model that takes one image.
#[derive(Clone, Debug)]
pub struct OnnxModel {
    source: Source,
    channels: usize,
}

/// An [`OnnxModel`] made ready for one input size and a number of threads.
#[derive(Clone)]
pub struct OnnxPlan {
    plan: Arc<TypedSimplePlan>,
    size: Size,
    channels: usize,
    cls: Option<usize>,
    tokens: usize,
}

/// Features of one image.
///
/// An output named `last_hidden_state` (else the first output) gives the tokens and, by its shape, their mean as
/// `cls`: `[1, d]` is the `cls` alone; `[1, n, d]` is n tokens; `[1, c, h, w]` is h * w tokens of width c, row by row.
/// An output `pooler_output` of shape `[1, d]`, if there is one, is the `cls` in the place of the mean.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxOutput {
    /// One vector for the image: `[dim]`.
    pub cls: Vec<f32>,
    /// `[tokens, token_dim]`; empty where the model gives one vector only.
    pub tokens: Vec<f32>,
    /// Width of a token; 0 without tokens.
    pub token_dim: usize,
}

/// Why a model could not be made ready for a size, or run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OnnxRunError {
    /// The file or tract.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// A side is zero or too long.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The model was exported for another size.
    #[error("{model} takes images of {fixed} only, not {asked}: export it with dynamic height and width")]
    FixedSize {
        /// The file.
        model: String,
        /// What it takes; a free side reads as what was asked for.
        fixed: Size,
        /// What was asked for.
        asked: Size,
    },
    /// An output is no vector, no tokens and no map.
    #[error("{model} has an output of shape {shape:?}, expected [1, d], [1, n, d] or [1, c, h, w] of f32")]
    Output {
        /// The file.
        model: String,
        /// The shape.
        shape: Vec<usize>,
    },
    /// The network computed a NaN or an infinity.
    #[error("{model} computes NaN or infinity for this image")]
    NonFinite {
        /// The file.
        model: String,
    },
    /// Threads could not be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system says.
        reason: String,
    },
}

impl OnnxModel {
    /// Reads the model at `path`. Its input must be one f32 tensor `[1, 3, height, width]` or `[1, 1, height, width]`
    /// with fixed or free sides.
    ///
    /// # Errors
    /// [`OnnxError`] when the file cannot be read or is damaged, uses operators that tract lacks, or takes another input.
    pub fn load(path: &Path) -> Result<OnnxModel, OnnxError> {
        OnnxModel::from_source(Source::read(path)?)
    }

    /// As [`OnnxModel::load`], from a file that has been read.
    pub(crate) fn from_source(source: Source) -> Result<OnnxModel, OnnxError> {
        let channels = source.input()?.channels;
        Ok(OnnxModel { source, channels })
    }

    /// SHA-256 of the file and of the files with weights that it names, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.source.sha256
    }

    /// The size of a model that takes no other.
    pub fn fixed_size(&self) -> Option<Size> {
        self.source.input().ok()?.fixed_size()
    }

    /// Makes the model ready for images of `size` on `threads` threads. Takes from milliseconds to seconds; keep it.
    ///
    /// # Errors
    /// [`OnnxRunError`] when the model does not take this size, its outputs are no features, or tract refuses it.
    pub fn plan(&self, size: Size, threads: usize) -> Result<OnnxPlan, OnnxRunError> {
        size.grid(1)?;
        let input = self.source.input()?;
        let fixed =
            Size { height: input.height.unwrap_or(size.height), width: input.width.unwrap_or(size.width) };
        if fixed != size {
            return Err(OnnxRunError::FixedSize { model: self.name(), fixed, asked: size });
        }
        let model = self.source.typed(size)?;
        let facts = self.source.guarded(|| {
            let outlets = model.output_outlets()?.to_vec();
            outlets.iter().map(|&outlet| model.outlet_fact(outlet).cloned()).collect::<TractResult<Vec<_>>>()
        })?;
        let position = |name: &str| self.source.outputs.iter().position(|output| output == name);
        let shape = |output: usize| facts[output].shape.as_concrete().unwrap_or_default().to_vec();
        let tokens = position("last_hidden_state").unwrap_or(0);
        let cls = position("pooler_output").filter(|&output| shape(output).len() == 2);
        for output in cls.into_iter().chain([tokens]) {
            let shape = shape(output);
            if !(2..=4).contains(&shape.len())
                || shape[0] != 1
                || shape.contains(&0)
                || facts[output].datum_type != f32::datum_type()
            {
                return Err(OnnxRunError::Output { model: self.name(), shape });
            }
        }
        let executor = executor(threads)?;
        let plan = self.source.guarded(|| {
            let options = RunOptions { executor: Some(executor), ..RunOptions::default() };
            TypedSimplePlan::new_with_options(model.into_optimized()?, &options)
        })?;
        Ok(OnnxPlan { plan, size, channels: self.channels, cls, tokens })
    }

    /// Runs `plan`, which must be this model's, on `pixels`: `[3, height, width]`, preprocessed, row-major. A grey
    /// model gets their mean.
    ///
    /// # Errors
    /// [`OnnxRunError`] when tract fails or the features are not finite.
    ///
    /// # Panics
    /// When `pixels` has another length.
    pub fn run(&self, plan: &OnnxPlan, pixels: &[f32]) -> Result<OnnxOutput, OnnxRunError> {
        let area = plan.size.area();
        assert_eq!(pixels.len(), 3 * area);
        let grey: Vec<f32>;
        let pixels = if plan.channels == 3 {
            pixels
        } else {
            let (red, rest) = pixels.split_at(area);
            let (green, blue) = rest.split_at(area);
            grey = red.iter().zip(green).zip(blue).map(|((r, g), b)| (r + g + b) / 3.0).collect();
            &grey
        };
        let shape = [1, plan.channels, plan.size.height, plan.size.width];
        let outputs =
            self.source.guarded(|| plan.plan.run(tvec![Tensor::from_shape(&shape, pixels)?.into()]))?;
        let features = self.source.guarded(|| {
            let (cls, tokens, token_dim) = features(outputs[plan.tokens].to_plain_array_view::<f32>()?);
            let cls = match plan.cls {
                Some(output) => outputs[output].to_plain_array_view::<f32>()?.iter().copied().collect(),
                None => cls,
            };
            Ok(OnnxOutput { cls, tokens, token_dim })
        })?;
        if features.cls.iter().chain(&features.tokens).any(|value| !value.is_finite()) {
            return Err(OnnxRunError::NonFinite { model: self.name() });
        }
        Ok(features)
    }

    fn name(&self) -> String {
        self.source.path().display().to_string()
    }
}

/// CLS, tokens and their width from an output of two, three or four dimensions.
fn features(output: ndarray::ArrayViewD<'_, f32>) -> (Vec<f32>, Vec<f32>, usize) {
    let (tokens, dim): (Vec<f32>, usize) = match *output.shape() {
        [_, _] => return (output.iter().copied().collect(), Vec::new(), 0),
        [_, _, dim] => (output.iter().copied().collect(), dim),
        _ => {
            let dim = output.shape()[1];
            (output.permuted_axes(vec![0, 2, 3, 1]).iter().copied().collect(), dim)
        }
    };
    let mut mean = vec![0.0; dim];
    for token in tokens.chunks_exact(dim) {
        mean.iter_mut().zip(token).for_each(|(mean, value)| *mean += value);
    }
    let count = (tokens.len() / dim) as f32;
    mean.iter_mut().for_each(|value| *value /= count);
    (mean, tokens, dim)
}

/// Threads of a plan's own. `Executor::multithread(1)` would run on rayon's global pool (tract issue 2894).
fn executor(threads: usize) -> Result<Executor, OnnxRunError> {
    if threads <= 1 {
        return Ok(Executor::SingleThread);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| OnnxRunError::Threads { threads, reason: error.to_string() })?;
    Ok(Executor::MultiThread(Arc::new(pool)))
}
