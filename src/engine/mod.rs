//! An [`Engine`] is a loaded backbone, immutable and shared; a [`Session`] is one thread of use of it.

mod backend;
mod plans;
mod session;
#[cfg(feature = "onnx")]
mod tract;
mod vit;

use std::path::Path;
use std::sync::Arc;

pub use crate::encoder::{Macs, Operator, OperatorTimes};
pub use crate::vit::Features;
pub use session::Session;

use crate::board::Cores;
#[cfg(feature = "onnx")]
use crate::checkpoint::onnx::Proof;
use crate::checkpoint::{self, Assumption, CheckpointError, Hints, Model, Naming};
use crate::encoder::{Encoder, EncoderError};
#[cfg(feature = "onnx")]
use crate::graph::{self, GraphError, onnx::OnnxFile};
use crate::kernels::{Isa, IsaError};
use crate::quant::{self, Network, Precision, QuantError, file::QuantModel};
use crate::vit::{Config, Preprocess, Size, SizeError};
use backend::{Backbone, RunError};
use vit::Vit;

/// What [`Backend::Kernels`] is called.
pub const OURS: &str = "microraptor";

/// The code that runs a backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Our encoder, on the kernels of an instruction set.
    Kernels(Isa),
    /// tract: an ONNX graph that is not of the family.
    Tract,
}

impl Backend {
    /// Its name: `microraptor` or `tract`.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Kernels(_) => OURS,
            Backend::Tract => "tract",
        }
    }

    /// The instruction set that our kernels run on; None where they run nothing.
    pub fn isa(self) -> Option<Isa> {
        match self {
            Backend::Kernels(isa) => Some(isa),
            Backend::Tract => None,
        }
    }
}

/// Why a backbone could not be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The checkpoint is not usable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The converted model is not usable.
    #[error(transparent)]
    Model(#[from] QuantError),
    /// The ONNX file is not usable.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] checkpoint::onnx::OnnxError),
    /// The build has no ONNX reader.
    #[error("{0}: this build cannot read ONNX (it was built without the feature onnx)")]
    NoOnnx(String),
    /// The input size does not suit the model.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The model takes one size only.
    #[error(
        "{model} takes {expected} px only, not {found}: export it with dynamic height and width for other sizes"
    )]
    FixedSize {
        /// Name of the model.
        model: String,
        /// The size that it takes.
        expected: Size,
        /// The size asked for.
        found: Size,
    },
    /// Running the encoder failed.
    #[error("{model}: {source}")]
    Encoder {
        /// Name of the model.
        model: String,
        /// What failed, with the name of the layer.
        source: EncoderError,
    },
    /// Features of earlier layers, of a model that tract runs.
    #[error(
        "{0}: features of several layers need a model of the family (this one is run by tract): use the last layer"
    )]
    NoLayers(String),
    /// The instruction set asked for cannot be used.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// Building or running tract's graph failed.
    #[cfg(feature = "onnx")]
    #[error("{model}: {source}")]
    Graph {
        /// Name of the model.
        model: String,
        /// What failed, with the name of the layer.
        source: GraphError,
    },
    /// The pixels are not `[3, height, width]`.
    #[error("{found} pixel values given, expected 3 x {size} = {expected}")]
    Pixels {
        /// Values given.
        found: usize,
        /// Values expected.
        expected: usize,
        /// Input size.
        size: Size,
    },
    /// The thread pool could not be started.
    #[error("{threads} threads asked for: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// Why not.
        reason: String,
    },
}

/// Most threads that a session may have.
pub const MAX_THREADS: usize = 256;

/// The name of the built-in backbone where a path is expected; a file or folder of this name is `./demo`.
pub const DEMO: &str = "demo";

/// What precedes a card's name where weights from a seed are meant.
pub const UNTRAINED: &str = "untrained:";

/// Whether `model`, where a command or a deployment file expects a path, is a name and no path: [`DEMO`] or
/// `untrained:CARD`.
pub fn is_name(model: &str) -> bool {
    model == DEMO || model.starts_with(UNTRAINED)
}

/// Whether [`Engine::open`] takes `path` for an ONNX file: by its ending.
pub fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx"))
}

/// A loaded backbone; cloning it shares the weights.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    about: About,
    backbone: Box<dyn Backbone>,
}

/// What a backbone is, for people and for the files that refer to it.
#[derive(Clone, Debug)]
pub struct About {
    /// Short name: the card's, or that of the file.
    pub name: String,
    /// SHA-256 of the weights file, lower-case hex: the identity to which heads are bound. Where the caller's word made
    /// another network of the file than the usual one, the digest of both (see [`Model::identity`]).
    pub sha256: String,
    /// How pixels become its input.
    pub preprocess: Preprocess,
    /// Whether its weights are drawn from a seed and so mean nothing.
    pub untrained: bool,
    /// How its matrices are held.
    pub precision: Precision,
    /// The code that runs it.
    pub backend: Backend,
    /// Version of how features are read from a graph that tract runs ([`graph::onnx::READING`]); 0 where our encoder makes
    /// them.
    pub reading: u32,
    /// What its files do not say, and is assumed.
    pub assumed: Vec<Assumption>,
}

impl About {
    /// Which code runs it, and in which precision: `microraptor int8`, `tract f32`.
    pub fn runs_on(&self) -> String {
        format!("{} {}", self.backend.name(), self.precision)
    }
}

impl Engine {
    /// Loads a converted model, a checkpoint (a Hugging Face folder or a safetensors file), or (feature `onnx`) an ONNX
    /// file; packs it for the
    /// instruction set that [`Isa::preferred`] says.
    ///
    /// # Errors
    /// [`EngineError`] names the file and what is wrong with it.
    pub fn open(path: impl AsRef<Path>) -> Result<Engine, EngineError> {
        Engine::open_for(path, Isa::preferred()?)
    }

    /// [`Engine::open`] for an instruction set of the caller's choice.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_for(path: impl AsRef<Path>, isa: Isa) -> Result<Engine, EngineError> {
        Engine::open_with(path, isa, &Hints::default())
    }

    /// [`Engine::open_for`], with what the caller says of a model whose files do not say it.
    ///
    /// # Errors
    /// As [`Engine::open`]; [`CheckpointError::Hint`] when the files say otherwise.
    pub fn open_with(path: impl AsRef<Path>, isa: Isa, hints: &Hints) -> Result<Engine, EngineError> {
        let path = path.as_ref();
        let engine = if is_onnx(path) {
            Engine::open_onnx(path, isa, hints)?
        } else if let Some(model) = quant::file::read_if_ours(path)? {
            Engine::from_converted(model, isa)
        } else {
            Engine::from_model(checkpoint::load_with(path, hints)?, isa)
        };
        engine.agreeing(hints)
    }

    /// The same engine, unless `hints` say of it what it is not.
    ///
    /// # Errors
    /// [`CheckpointError::Hint`] says what contradicts.
    pub fn agreeing(self, hints: &Hints) -> Result<Engine, EngineError> {
        if let Some(config) = self.config() {
            hints.agree_with(&self.about().name, config, &self.about().preprocess)?;
        }
        Ok(self)
    }

    /// The backbone that is built in. Heads that were trained on it work on its file too, and the other way round.
    ///
    /// # Errors
    /// As [`Engine::open`], if the program itself is damaged.
    #[cfg(feature = "demo")]
    pub fn demo(isa: Isa) -> Result<Engine, EngineError> {
        let model = quant::file::parse(Path::new(DEMO), quant::file::DEMO_FILE)?;
        Ok(Engine::from_converted(model, isa))
    }

    /// Takes over a converted model.
    pub fn from_converted(model: QuantModel, isa: Isa) -> Engine {
        let about = About {
            name: model.name,
            sha256: model.sha256,
            preprocess: model.preprocess,
            untrained: model.source.untrained,
            precision: model.precision,
            backend: Backend::Kernels(isa),
            reading: 0,
            assumed: Vec::new(),
        };
        Engine::new(about, Vit::new(Encoder::new(model.network, isa)))
    }

    #[cfg(feature = "onnx")]
    fn open_onnx(path: &Path, isa: Isa, hints: &Hints) -> Result<Engine, EngineError> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let preprocess = checkpoint::preprocess_beside(path)?;
        let model = match graph::onnx::open(path, Proof::Run)? {
            OnnxFile::Dinov3(imported) => {
                let model = Model::from_onnx(name, path, *imported, preprocess, hints)?;
                return Ok(Engine::from_model(model, isa));
            }
            OnnxFile::Other(model) => model,
        };
        let (preprocess, assumed) = hints.of_graph(&name, preprocess)?;
        let about = About {
            name,
            sha256: model.sha256().to_owned(),
            preprocess,
            untrained: false,
            precision: Precision::F32,
            backend: Backend::Tract,
            reading: graph::onnx::READING,
            assumed,
        };
        Ok(Engine::new(about, model))
    }

    #[cfg(not(feature = "onnx"))]
    fn open_onnx(path: &Path, _: Isa, _: &Hints) -> Result<Engine, EngineError> {
        Err(EngineError::NoOnnx(path.display().to_string()))
    }

    /// Takes over a loaded checkpoint, in f32.
    pub fn from_model(model: Model, isa: Isa) -> Engine {
        let about = About {
            sha256: model.identity(),
            name: model.name,
            preprocess: model.preprocess,
            untrained: model.naming == Naming::Seeded,
            precision: Precision::F32,
            backend: Backend::Kernels(isa),
            reading: 0,
            assumed: model.assumed,
        };
        let network = Network::from_weights(&model.config, model.weights);
        Engine::new(about, Vit::new(Encoder::new(network, isa)))
    }

    fn new(about: About, backbone: impl Backbone + 'static) -> Engine {
        Engine { shared: Arc::new(Shared { about, backbone: Box::new(backbone) }) }
    }

    /// What the backbone is.
    pub fn about(&self) -> &About {
        &self.shared.about
    }

    /// The architecture, if the backbone is a vision transformer of the family.
    pub fn config(&self) -> Option<&Config> {
        self.shared.backbone.config()
    }

    /// The multiply-accumulates of an operator on an image of `size`, by the numbers that they are computed in; None where
    /// tract runs the model.
    ///
    /// # Errors
    /// [`EngineError::Size`] when `size` is not a whole number of patches.
    pub fn macs(&self, operator: Operator, size: Size) -> Result<Option<Macs>, EngineError> {
        Ok(self.shared.backbone.macs(operator, size)?)
    }

    /// The only size that the model takes, if it is an ONNX file exported for one.
    pub fn fixed_size(&self) -> Option<Size> {
        self.shared.backbone.fixed_size()
    }

    /// Refuses a size that the model cannot take.
    ///
    /// # Errors
    /// [`EngineError::Size`] or [`EngineError::FixedSize`].
    pub fn check_size(&self, size: Size) -> Result<(), EngineError> {
        if let Some(config) = self.config() {
            size.grid(config.patch)?;
        }
        if let Some(expected) = self.fixed_size().filter(|&fixed| fixed != size) {
            let model = self.about().name.clone();
            return Err(EngineError::FixedSize { model, expected, found: size });
        }
        Ok(())
    }

    /// A session with so many threads of its own (1 runs on the caller's), anywhere or kept to some [`Cores`].
    ///
    /// Where cores are named, the session's own threads keep to them; the caller's is moved only by [`Session::pin_caller`].
    ///
    /// # Errors
    /// [`EngineError::Threads`] when there are 0 threads or more than [`MAX_THREADS`], the pool cannot be started, or none
    /// of the cores may be used.
    pub fn session(&self, cores: impl Into<Cores>) -> Result<Session, EngineError> {
        Session::new(self.clone(), cores.into())
    }

    /// What a session of `threads` threads says of `error`.
    fn run_error(&self, error: RunError, threads: usize) -> EngineError {
        match error {
            RunError::Encoder(error) => self.encoder_error(error),
            #[cfg(feature = "onnx")]
            RunError::Graph(error) => self.graph_error(error),
            RunError::NoLayers => EngineError::NoLayers(self.about().name.clone()),
            RunError::Threads(reason) => EngineError::Threads { threads, reason },
        }
    }

    fn encoder_error(&self, source: EncoderError) -> EngineError {
        match source {
            EncoderError::Size(error) => error.into(),
            source => EngineError::Encoder { model: self.about().name.clone(), source },
        }
    }

    #[cfg(feature = "onnx")]
    fn graph_error(&self, source: GraphError) -> EngineError {
        match source {
            GraphError::Size(error) => error.into(),
            source => EngineError::Graph { model: self.about().name.clone(), source },
        }
    }
}
