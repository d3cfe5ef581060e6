//! Any other ONNX image model, run by tract unchanged: f32, with tract's own operators.
//!
//! A model's outputs are interpreted by their names and shapes. The tokens come from the output named
//! `last_hidden_state`, else from the first:
//!
//! - `[1, d]` is `cls` alone;
//! - `[1, c, h, w]` is h rows of w patches of width c, and `cls` is their mean;
//! - `[1, n, d]` is tokens. If the first convolution cuts the image into r x c patches and n is that number or up to
//!   [`MAX_PREFIX`] more, the extra tokens precede the patches: first a class token, then registers, as in every vision
//!   transformer of timm, transformers and Meta. Without extra tokens, `cls` is the mean of the patches. In all other
//!   cases the tokens cannot be told apart: `patch` holds all of them, `cls` is their mean, and the features have no
//!   grid.
//!
//! An output `pooler_output` of shape `[1, d]`, as wide as a token, replaces `cls`. Conclusions drawn from shapes alone
//! are logged as warnings, because the file does not state them.
//!
//! tract needs a plan for each input size ([`OnnxModel::plan`]), which callers keep.

use std::path::Path;
use std::sync::Arc;

use rayon::ThreadPool;
use tract_core::internal::*;
use tract_linalg::multithread::Executor;

use super::{Features, GraphError};
use crate::checkpoint::onnx::{Imported, OnnxError, Proof, Source, import_source, try_out};
use crate::names;
use crate::vit::{Size, SizeError};

/// Contents of an ONNX file.
#[derive(Clone, Debug)]
pub enum OnnxFile {
    /// DINOv3, run by our graph.
    Dinov3(Box<Imported>),
    /// Anything else, run by tract unchanged.
    Other(OnnxModel),
}

/// Reads the file at `path` once and tells DINOv3 from other models.
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

/// An [`OnnxModel`] prepared for one input size and thread pool.
#[derive(Clone)]
pub struct OnnxPlan {
    source: Arc<Source>,
    plan: Arc<TypedSimplePlan>,
    size: Size,
    channels: usize,
    cls: Option<usize>,
    tokens: usize,
    /// Layout of the tokens, if it is known.
    layout: Option<Layout>,
}

/// Version of the interpretation of a graph's outputs and of the way tract runs it. A head stores the version that its
/// features were computed with; features of another version do not fit it. Version 1: prefix tokens and patches are
/// told apart, and tract does not tabulate a softmax between DequantizeLinear and QuantizeLinear.
pub const READING: u32 = 1;

/// Maximum number of tokens before the patches: DINOv3 has a class token and 4 registers, others have up to 16
/// registers.
pub const MAX_PREFIX: usize = 17;

/// Layout of the n tokens of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Number of tokens before the patches.
    prefix: usize,
    /// Rows and columns of patches.
    grid: (usize, usize),
}

impl Layout {
    /// Layout of `tokens` tokens in a graph that cuts the image into patches of `grid`; `None` if the numbers do not
    /// fit.
    fn new(tokens: usize, grid: Option<(usize, usize)>) -> Option<Layout> {
        let grid = grid?;
        let prefix = tokens.checked_sub(grid.0 * grid.1).filter(|prefix| *prefix <= MAX_PREFIX)?;
        Some(Layout { prefix, grid })
    }
}

/// Why a model could not be prepared for a size, or run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxRunError {
    /// The file cannot be used, or tract failed.
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
        /// The size it takes; a dynamic side shows the requested length.
        fixed: Size,
        /// The requested size.
        asked: Size,
    },
    /// An output is neither a vector, tokens nor a map.
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
    /// with fixed or dynamic sides.
    ///
    /// # Errors
    /// [`OnnxError`] if the file cannot be read or is damaged, uses operators that tract lacks, or takes another input.
    pub fn load(path: &Path) -> Result<OnnxModel, OnnxError> {
        OnnxModel::from_source(Source::read(path)?)
    }

    /// As [`OnnxModel::load`], for a file that has already been read.
    pub(crate) fn from_source(source: Source) -> Result<OnnxModel, OnnxError> {
        let channels = source.input()?.channels;
        Ok(OnnxModel { source: Arc::new(source), channels })
    }

    /// SHA-256 of the file and its external data files, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.source.sha256
    }

    /// The input size of a model that takes only one.
    pub fn fixed_size(&self) -> Option<Size> {
        self.source.input().ok()?.fixed_size()
    }

    /// Prepares the model for images of `size` on the threads of `pool`, or on the caller's thread. This takes from
    /// milliseconds to seconds, so keep the plan.
    ///
    /// # Errors
    /// [`OnnxRunError`] if the model does not take this size, its outputs are not features, or tract refuses it.
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
        let of_tokens = shape(tokens);
        let layout = match *of_tokens {
            [_, n, _] => Layout::new(n, self.source.grid(size)),
            _ => None,
        };
        self.say(&of_tokens, tokens, cls.is_some(), layout);
        // `Executor::multithread(1)` would run on rayon's global pool (tract issue 2894).
        let executor = pool.map_or(Executor::SingleThread, |pool| Executor::MultiThread(pool.clone()));
        let plan = self.source.guarded(|| {
            let options = RunOptions { executor: Some(executor), ..RunOptions::default() };
            TypedSimplePlan::new_with_options(model.into_optimized()?, &options)
        })?;
        Ok(OnnxPlan { source: self.source.clone(), plan, size, channels: self.channels, cls, tokens, layout })
    }

    /// Logs how outputs are interpreted, if that follows from shapes alone.
    fn say(&self, shape: &[usize], output: usize, pooled: bool, layout: Option<Layout>) {
        let name = names::one_line(&self.source.outputs[output]);
        let cls = |otherwise: &'static str| if pooled { "pooler_output" } else { otherwise };
        let taken = match (shape, layout) {
            ([_, n, _], Some(Layout { prefix: 0, grid: (r, c) })) => {
                format!(
                    "its {n} tokens '{name}' are taken for {r} x {c} patches, and {} for cls",
                    cls("their mean")
                )
            }
            ([_, n, _], Some(Layout { prefix, grid: (r, c) })) => format!(
                "its {n} tokens '{name}' are taken for a class token, {} registers and {r} x {c} patches, and {} for cls",
                prefix - 1,
                cls("the first")
            ),
            ([_, n, _], None) => format!(
                "nothing says which of its {n} tokens '{name}' are patches: patch holds all, cls is {}, and heads that need \
                 a grid are refused",
                cls("the mean of all")
            ),
            ([_, d], _) if name != "pooler_output" => {
                format!("its output '{name}', {d} numbers, is taken for cls")
            }
            _ => return,
        };
        log::warn!("{}: {taken}", self.source.name());
    }
}

impl OnnxPlan {
    /// Runs the model on `pixels`: `[3, height, width]`, preprocessed, row-major. A greyscale model gets the mean of
    /// the channels.
    ///
    /// # Errors
    /// [`OnnxRunError`] if tract fails or the features are not finite.
    ///
    /// # Panics
    /// If `pixels` has another length.
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
            let mut features = features(outputs[self.tokens].to_plain_array_view::<f32>()?, self.layout);
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

/// Converts an output of two, three or four dimensions to features.
fn features(output: ndarray::ArrayViewD<'_, f32>, layout: Option<Layout>) -> Features {
    let (dim, (rows, cols)) = match *output.shape() {
        // No grid if the layout is unknown.
        [_, _, dim] => (dim, layout.map_or((0, 0), |layout| layout.grid)),
        [_, dim, rows, cols] => (dim, (rows, cols)),
        _ => return Features { cls: output.iter().copied().collect(), ..Features::default() },
    };
    let by_token = if output.ndim() == 4 { output.permuted_axes(vec![0, 2, 3, 1]) } else { output };
    let mut patch: Vec<f32> = by_token.iter().copied().collect();
    let cls = match layout {
        Some(Layout { prefix, .. }) if prefix > 0 => {
            let mut tokens = patch;
            patch = tokens.split_off(prefix * dim);
            tokens.truncate(dim);
            tokens
        }
        _ => mean(&patch, dim),
    };
    Features { cls, patch, rows, cols, ..Features::default() }
}

/// The mean of `tokens`, `[n, dim]`.
fn mean(tokens: &[f32], dim: usize) -> Vec<f32> {
    let mut mean = vec![0.0; dim];
    for token in tokens.chunks_exact(dim) {
        mean.iter_mut().zip(token).for_each(|(mean, value)| *mean += value);
    }
    let n = tokens.len() / dim;
    mean.iter_mut().for_each(|value| *value /= n as f32);
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_apart_by_the_grid_alone() {
        let layout = |prefix, grid| Some(Layout { prefix, grid });
        assert_eq!(Layout::new(21, Some((4, 4))), layout(5, (4, 4)));
        assert_eq!(Layout::new(196, Some((14, 14))), layout(0, (14, 14)));
        assert_eq!(Layout::new(33, Some((4, 8))), layout(1, (4, 8)));
        // Fewer tokens than patches, as after a layer that merges them; far more tokens; no patches at all.
        for (tokens, grid) in [(5, Some((16, 16))), (16 + MAX_PREFIX + 1, Some((4, 4))), (21, None)] {
            assert_eq!(Layout::new(tokens, grid), None);
        }
    }

    #[test]
    fn tokens_become_class_token_and_patches_or_stay_as_they_are() {
        let tokens =
            ndarray::Array::from_shape_vec(vec![1, 3, 2], vec![1.0, 2.0, 3.0, 4.0, 7.0, 8.0]).unwrap();
        let found = features(tokens.view(), Layout::new(3, Some((1, 2))));
        assert_eq!(
            (found.cls, found.patch, found.rows, found.cols),
            (vec![1.0, 2.0], vec![3.0, 4.0, 7.0, 8.0], 1, 2)
        );
        let found = features(tokens.view(), Layout::new(3, Some((1, 3))));
        assert_eq!(
            (found.cls, found.patch.len(), found.rows, found.cols),
            (vec![11.0 / 3.0, 14.0 / 3.0], 6, 1, 3)
        );
        let found = features(tokens.view(), None);
        assert_eq!(
            (found.cls, found.patch.len(), found.rows, found.cols),
            (vec![11.0 / 3.0, 14.0 / 3.0], 6, 0, 0)
        );
    }
}
