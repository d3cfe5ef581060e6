//! An ONNX image model in tract: a backbone of the family within it runs on our encoder, everything else on tract's own
//! operators, in f32.
//!
//! tract needs a plan for each input size ([`OnnxModel::plan`]), which callers keep.

use std::path::Path;
use std::sync::Arc;

use rayon::ThreadPool;
use tract_core::internal::*;
use tract_linalg::multithread::Executor;

use super::Features;
use super::around::{Placed, around};
use super::optimise::optimised;
use super::reading::{Reading, named};
use crate::checkpoint::GraphParts;
use crate::checkpoint::onnx::{
    Contents, Document, Imported, OnnxError, Proof, Source, Surroundings, read, try_out,
};
use crate::encoder::Encoder;
use crate::kernels::Isa;
use crate::quant::Network;
use crate::vit::{Config, Size, StandIn};

pub use super::around::Threads;
pub use super::onnx_error::OnnxRunError;
pub use super::reading::MAX_PREFIX;

/// Contents of an ONNX file.
#[derive(Debug)]
pub enum OnnxFile {
    /// A backbone of the family, and perhaps a graph around it.
    Backbone(Box<Imported>),
    /// Anything else, run by tract.
    Other(OnnxModel),
}

/// Reads the file at `path`.
///
/// # Errors
/// [`OnnxError`] as [`import`](crate::checkpoint::onnx::import) and [`OnnxModel::load`].
pub fn open(path: &Path, proof: Proof) -> Result<OnnxFile, OnnxError> {
    Ok(match read(path, proof)? {
        Contents::Backbone(imported) => OnnxFile::Backbone(imported),
        Contents::Other(source) => OnnxFile::Other(OnnxModel::from_source(*source)?),
    })
}

/// Version of the interpretation of a graph's outputs and of the way tract runs it. A head stores the version that its
/// features were computed with; features of another version do not fit it. Version 1: prefix tokens and patches are
/// told apart, and tract does not tabulate a softmax between DequantizeLinear and QuantizeLinear.
pub const READING: u32 = 1;

/// An ONNX model that takes one image.
#[derive(Clone)]
pub struct OnnxModel {
    channels: usize,
    body: Body,
}

/// What runs.
#[derive(Clone)]
enum Body {
    /// tract alone.
    Plain(Arc<Source>),
    /// tract, around our encoder.
    Around(Arc<Surroundings>, Arc<Encoder>),
}

impl std::fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OnnxModel {{ {}, backbone: {:?} }}", self.source().name(), self.config())
    }
}

/// An [`OnnxModel`] prepared for one input size and thread pool.
pub struct OnnxPlan {
    model: OnnxModel,
    state: TypedSimpleState,
    /// The threads that tract runs on, if not on the caller's.
    pool: Option<Arc<ThreadPool>>,
    size: Size,
    batch: usize,
    /// Number of the graph's own outputs.
    outputs: usize,
    what: What,
}

/// How a plan's outputs become features.
enum What {
    /// By their names and shapes.
    Read(Reading),
    /// The encoder's outputs follow the graph's: tokens, then layers. The graph's are kept where true.
    Known { grid: (usize, usize), dim: usize, prefix: usize, keep: Vec<bool>, stand_in: StandIn },
}

impl OnnxModel {
    /// Reads the model at `path`, as it is: a backbone in it is run by tract. Its input must be one f32 tensor `[1, 3,
    /// height, width]` or `[1, 1, height, width]` with fixed or dynamic sides.
    ///
    /// # Errors
    /// [`OnnxError`] if the file cannot be read or is damaged, uses operators that tract lacks, or takes another input.
    pub fn load(path: &Path) -> Result<OnnxModel, OnnxError> {
        OnnxModel::from_source(Document::read(path)?.source()?)
    }

    fn from_source(source: Source) -> Result<OnnxModel, OnnxError> {
        Ok(OnnxModel { channels: source.input()?.channels, body: Body::Plain(Arc::new(source)) })
    }

    /// The graph `surroundings` around `network`, which is packed for `isa`.
    pub fn around(surroundings: Surroundings, network: Network, isa: Isa) -> OnnxModel {
        // A graph that takes anything but one image fails when it is planned.
        let channels = surroundings.source().input().map_or(3, |input| input.channels);
        let encoder = Arc::new(Encoder::new(network, isa));
        OnnxModel { channels, body: Body::Around(Arc::new(surroundings), encoder) }
    }

    /// The graph that a converted model stores, around its network, which is packed for `isa`. `path` is the model's file
    /// and `sha256` its digest.
    ///
    /// # Errors
    /// [`OnnxError`] if the graph is damaged.
    pub fn stored(
        path: &Path,
        graph: &GraphParts,
        sha256: &str,
        network: Network,
        isa: Isa,
    ) -> Result<OnnxModel, OnnxError> {
        Ok(OnnxModel::around(Surroundings::from_stored(path, graph, sha256)?, network, isa))
    }

    fn source(&self) -> &Source {
        match &self.body {
            Body::Plain(source) => source,
            Body::Around(surroundings, _) => surroundings.source(),
        }
    }

    /// SHA-256 of the file and its external data files, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.source().sha256
    }

    /// The input size of a model that takes only one.
    pub fn fixed_size(&self) -> Option<Size> {
        self.source().fixed_size()
    }

    /// The encoder that runs the backbone, if there is one.
    pub fn encoder(&self) -> Option<&Arc<Encoder>> {
        match &self.body {
            Body::Plain(_) => None,
            Body::Around(_, encoder) => Some(encoder),
        }
    }

    /// The architecture of the backbone, if our encoder runs it.
    pub fn config(&self) -> Option<&Config> {
        self.encoder().map(|encoder| encoder.config())
    }

    /// Whether the backbone reads the graph's input as it is.
    pub fn reads_pixels(&self) -> bool {
        matches!(&self.body, Body::Around(surroundings, _) if surroundings.reads_pixels())
    }

    /// Whether its features are the encoder's alone: the backbone reads the image as it is, and knows its positions.
    pub fn is_exact(&self) -> bool {
        matches!(&self.body, Body::Around(surroundings, _) if surroundings.leaves_the_backbone_alone())
    }

    /// The names of its outputs.
    pub fn outputs(&self) -> &[String] {
        match &self.body {
            Body::Plain(source) => &source.outputs,
            Body::Around(surroundings, _) => surroundings.outputs(),
        }
    }

    /// What was rewritten to run the file, such as fp16 to f32: lines for people.
    pub fn notes(&self) -> &[String] {
        &self.source().notes
    }

    /// Number of images that the model takes at once: 1 unless the file fixes another number.
    pub fn batch(&self) -> usize {
        self.source().input().map_or(1, |input| input.batch)
    }

    /// Prepares the model for images of `size` on `threads`. Of a backbone, the outputs of the blocks `layers`
    /// (ascending, from 0) are kept too. This takes from milliseconds to seconds, so keep the plan.
    ///
    /// # Errors
    /// [`OnnxRunError`] if the model does not take this size, its outputs are not features, or tract refuses it.
    pub fn plan(&self, size: Size, threads: &Threads, layers: &[usize]) -> Result<OnnxPlan, OnnxRunError> {
        size.grid(1)?;
        let source = self.source();
        let input = source.input()?;
        let fixed =
            Size { height: input.height.unwrap_or(size.height), width: input.width.unwrap_or(size.width) };
        if fixed != size {
            return Err(OnnxRunError::FixedSize { model: source.name(), fixed, asked: size });
        }
        try_out(source.path(), Some(&source.image(size)?))?;
        let (model, what, outputs, alone) = match &self.body {
            Body::Plain(source) => {
                let (model, what, outputs) = self.plain(source, size)?;
                (model, what, outputs, false)
            }
            Body::Around(surroundings, encoder) => {
                let Placed { model, grid, keep, stand_in, alone } =
                    around(surroundings, encoder, size, threads, layers)?;
                let (dim, prefix, outputs) = (encoder.config().dim, encoder.config().prefix(), keep.len());
                (model, What::Known { grid, dim, prefix, keep, stand_in }, outputs, alone)
            }
        };
        let pool = threads.pool.clone().filter(|_| !alone);
        // `Executor::multithread(1)` would run on rayon's global pool (tract issue 2894).
        let executor = pool.clone().map_or(Executor::SingleThread, Executor::MultiThread);
        let state = source.guarded(|| {
            let options = RunOptions { executor: Some(executor), ..RunOptions::default() };
            TypedSimplePlan::new_with_options(optimised(model)?, &options)?.spawn()
        })?;
        Ok(OnnxPlan { model: self.clone(), state, pool, size, batch: input.batch, outputs, what })
    }

    /// The typed graph, how its outputs are read, and their number.
    fn plain(&self, source: &Source, size: Size) -> Result<(TypedModel, What, usize), OnnxRunError> {
        let model = source.typed(size)?;
        let facts = source.guarded(|| {
            let outlets = model.output_outlets()?.to_vec();
            outlets.iter().map(|&outlet| model.outlet_fact(outlet).cloned()).collect::<TractResult<Vec<_>>>()
        })?;
        let names = &source.outputs;
        let reading = Reading::new(names, &facts, source.grid(size))
            .map_err(|shape| OnnxRunError::Output { model: source.name(), shape })?;
        if let Some(conclusion) = reading.conclusion(names, &facts) {
            log::warn!("{}: {conclusion}", source.name());
        }
        Ok((model, What::Read(reading), facts.len()))
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
    pub fn run(&mut self, pixels: &[f32]) -> Result<Features, OnnxRunError> {
        match self.pool.clone() {
            Some(pool) => pool.install(|| self.run_here(pixels)),
            None => self.run_here(pixels),
        }
    }

    fn run_here(&mut self, pixels: &[f32]) -> Result<Features, OnnxRunError> {
        let area = self.size.area();
        assert_eq!(pixels.len(), 3 * area);
        let OnnxPlan { model, state, size, batch, outputs, what, .. } = self;
        let channels = model.channels;
        let shape = [*batch, channels, size.height, size.width];
        let grey: Vec<f32>;
        let one = if channels == 3 {
            pixels
        } else {
            let (red, rest) = pixels.split_at(area);
            let (green, blue) = rest.split_at(area);
            grey = red.iter().zip(green).zip(blue).map(|((r, g), b)| (r + g + b) / 3.0).collect();
            &grey
        };
        let repeated: Vec<f32>;
        let input = if *batch == 1 {
            one
        } else {
            repeated = one.repeat(*batch);
            &repeated
        };
        let features = model.source().guarded(|| {
            let found = state.run(tvec![Tensor::from_shape(&shape, input)?.into()])?;
            match what {
                What::Read(reading) => reading.features(model.outputs(), &found, *batch),
                What::Known { grid, dim, prefix, keep, stand_in } => {
                    let (own, known) = found.split_at(*outputs);
                    let mut features = backbone(known, *grid, *prefix, *dim)?;
                    features.stand_in = *stand_in;
                    for ((name, output), _) in
                        model.outputs().iter().zip(own).zip(keep).filter(|(_, keep)| **keep)
                    {
                        features.outputs.extend(named(name, output, *batch)?);
                    }
                    Ok(features)
                }
            }
        })?;
        // Another output may hold an infinity by design, as the scores of what is masked.
        if features.cls.iter().chain(&features.patch).any(|value| !value.is_finite()) {
            return Err(OnnxRunError::NonFinite { model: model.source().name() });
        }
        Ok(features)
    }
}

/// Features from what an encoder makes of the first image: the tokens, then those of each layer.
fn backbone(
    made: &[TValue],
    (rows, cols): (usize, usize),
    prefix: usize,
    dim: usize,
) -> TractResult<Features> {
    let mut all = made.iter().map(|made| {
        let tokens = made.to_plain_array_view::<f32>()?;
        let tokens = tokens.as_slice().context("tokens that are not contiguous")?;
        Ok::<_, TractError>(tokens[..(prefix + rows * cols) * dim].to_vec())
    });
    let mut tokens = all.next().context("an encoder without tokens")??;
    let patch = tokens.split_off(prefix * dim);
    tokens.truncate(dim);
    let layers: TractResult<Vec<Vec<f32>>> = all.map(|layer| Ok(layer?.split_off(prefix * dim))).collect();
    Ok(Features { cls: tokens, patch, layers: layers?, rows, cols, ..Features::default() })
}
