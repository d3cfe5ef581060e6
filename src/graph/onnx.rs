//! Any other ONNX image model, through tract as it is: f32, tract's own operators.
//!
//! What a model's outputs mean is told by their names and shapes; nothing about its architecture is assumed.
//! An output named `last_hidden_state` (else the first output) gives the tokens and, by its shape, their mean as
//! `cls`: `[1, d]` is the `cls` alone; `[1, n, d]` is one row of n tokens (whether some of them are no patches, the
//! file does not tell); `[1, c, h, w]` is h rows of w tokens of width c. An output `pooler_output` of shape `[1, d]`,
//! as wide as a token, is the `cls` in the place of the mean.
//!
//! tract needs a plan for each input size ([`OnnxModel::plan`]), which callers keep.

use std::path::Path;
use std::sync::Arc;

use rayon::ThreadPool;
use tract_core::internal::*;
use tract_linalg::multithread::Executor;

use super::{Features, GraphError};
use crate::checkpoint::onnx::{Imported, OnnxError, Proof, Source, import_source, try_out};
use crate::vit::{Size, SizeError};

/// What an ONNX file turned out to be.
#[derive(Clone, Debug)]
pub enum OnnxFile {
    /// DINOv3: our graph runs it.
    Dinov3(Box<Imported>),
    /// Anything else: tract runs it as it is.
    Other(OnnxModel),
}

/// Reads the file at `path` once and tells DINOv3 from the rest.
///
/// # Errors
/// [`OnnxError`] as [`import`](crate::checkpoint::onnx::import) and [`OnnxModel::load`].
pub fn open(path: &Path, proof: Proof) -> Result<OnnxFile, OnnxError> {
    let source = Source::read(path)?;
    match import_source(&source, proof)? {
        Some(imported) => Ok(OnnxFile::Dinov3(Box::new(imported))),
        None => OnnxModel::from_source(source).map(OnnxFile::Other),
    }
}

/// An ONNX model that takes one image.
#[derive(Clone, Debug)]
pub struct OnnxModel {
    source: Arc<Source>,
    channels: usize,
}

/// An [`OnnxModel`] made ready for one input size and a number of threads.
#[derive(Clone)]
pub struct OnnxPlan {
    source: Arc<Source>,
    plan: Arc<TypedSimplePlan>,
    size: Size,
    channels: usize,
    cls: Option<usize>,
    tokens: usize,
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
}

impl From<OnnxRunError> for GraphError {
    fn from(error: OnnxRunError) -> GraphError {
        match error {
            OnnxRunError::Size(error) => GraphError::Size(error),
            error => GraphError::Tract(error.to_string()),
        }
    }
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
        Ok(OnnxModel { source: Arc::new(source), channels })
    }

    /// SHA-256 of the file and of the files with weights that it names, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.source.sha256
    }

    /// The size of a model that takes no other.
    pub fn fixed_size(&self) -> Option<Size> {
        self.source.input().ok()?.fixed_size()
    }

    /// Makes the model ready for images of `size` on the threads of `pool`, or on the caller's. Takes from milliseconds
    /// to seconds; keep it.
    ///
    /// # Errors
    /// [`OnnxRunError`] when the model does not take this size, its outputs are no features, or tract refuses it.
    pub fn plan(&self, size: Size, pool: Option<&Arc<ThreadPool>>) -> Result<OnnxPlan, OnnxRunError> {
        size.grid(1)?;
        let input = self.source.input()?;
        let fixed =
            Size { height: input.height.unwrap_or(size.height), width: input.width.unwrap_or(size.width) };
        if fixed != size {
            return Err(OnnxRunError::FixedSize { model: self.source.name(), fixed, asked: size });
        }
        try_out(self.source.path(), Some(&[1, input.channels, size.height, size.width]))?;
        let model = self.source.typed(size)?;
        let facts = self.source.guarded(|| {
            let outlets = model.output_outlets()?.to_vec();
            outlets.iter().map(|&outlet| model.outlet_fact(outlet).cloned()).collect::<TractResult<Vec<_>>>()
        })?;
        let position = |name: &str| self.source.outputs.iter().position(|output| output == name);
        let shape = |output: usize| facts[output].shape.as_concrete().unwrap_or_default().to_vec();
        let tokens = position("last_hidden_state").unwrap_or(0);
        let width = |output: usize| match *shape(output) {
            [_, dim, _, _] | [.., dim] => dim,
            [] => 0,
        };
        let pooled = |&output: &usize| shape(output).len() == 2 && width(output) == width(tokens);
        let cls = position("pooler_output").filter(pooled);
        for output in cls.into_iter().chain([tokens]) {
            let shape = shape(output);
            if !(2..=4).contains(&shape.len())
                || shape[0] != 1
                || shape.contains(&0)
                || facts[output].datum_type != f32::datum_type()
            {
                return Err(OnnxRunError::Output { model: self.source.name(), shape });
            }
        }
        // `Executor::multithread(1)` would run on rayon's global pool (tract issue 2894).
        let executor = pool.map_or(Executor::SingleThread, |pool| Executor::MultiThread(pool.clone()));
        let plan = self.source.guarded(|| {
            let options = RunOptions { executor: Some(executor), ..RunOptions::default() };
            TypedSimplePlan::new_with_options(model.into_optimized()?, &options)
        })?;
        Ok(OnnxPlan { source: self.source.clone(), plan, size, channels: self.channels, cls, tokens })
    }
}

impl OnnxPlan {
    /// Runs the model on `pixels`: `[3, height, width]`, preprocessed, row-major. A grey model gets their mean.
    ///
    /// # Errors
    /// [`OnnxRunError`] when tract fails or the features are not finite.
    ///
    /// # Panics
    /// When `pixels` has another length.
    pub fn run(&self, pixels: &[f32]) -> Result<Features, OnnxRunError> {
        let area = self.size.area();
        assert_eq!(pixels.len(), 3 * area);
        let grey: Vec<f32>;
        let pixels = if self.channels == 3 {
            pixels
        } else {
            let (red, rest) = pixels.split_at(area);
            let (green, blue) = rest.split_at(area);
            grey = red.iter().zip(green).zip(blue).map(|((r, g), b)| (r + g + b) / 3.0).collect();
            &grey
        };
        let shape = [1, self.channels, self.size.height, self.size.width];
        let features = self.source.guarded(|| {
            let outputs = self.plan.run(tvec![Tensor::from_shape(&shape, pixels)?.into()])?;
            let mut features = features(outputs[self.tokens].to_plain_array_view::<f32>()?);
            if let Some(output) = self.cls {
                features.cls = outputs[output].to_plain_array_view::<f32>()?.iter().copied().collect();
            }
            Ok(features)
        })?;
        if features.cls.iter().chain(&features.patch).any(|value| !value.is_finite()) {
            return Err(OnnxRunError::NonFinite { model: self.source.name() });
        }
        Ok(features)
    }
}

/// What an output of two, three or four dimensions says; `cls` is the mean of the tokens.
fn features(output: ndarray::ArrayViewD<'_, f32>) -> Features {
    let (rows, cols, dim) = match *output.shape() {
        [_, n, dim] => (1, n, dim),
        [_, dim, rows, cols] => (rows, cols, dim),
        _ => {
            return Features { cls: output.iter().copied().collect(), ..Features::default() };
        }
    };
    let by_token = if output.ndim() == 4 { output.permuted_axes(vec![0, 2, 3, 1]) } else { output };
    let patch: Vec<f32> = by_token.iter().copied().collect();
    let mut cls = vec![0.0; dim];
    for token in patch.chunks_exact(dim) {
        cls.iter_mut().zip(token).for_each(|(mean, value)| *mean += value);
    }
    cls.iter_mut().for_each(|value| *value /= (rows * cols) as f32);
    Features { cls, patch, rows, cols, ..Features::default() }
}
