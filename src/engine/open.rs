//! Decides what kind of model a path holds, and loads it into an [`Engine`].
//!
//! Converted models and checkpoints become a [`Network`], which our encoder runs. So does an ONNX file whose whole
//! graph is a backbone of the DINOv3 family. tract runs any other ONNX graph.

use std::path::Path;

use super::vit::Vit;
use super::{About, Backend, Engine, EngineError};
#[cfg(doc)]
use crate::checkpoint::CheckpointError;
#[cfg(feature = "onnx")]
use crate::checkpoint::onnx::Proof;
use crate::checkpoint::{self, Hints, Model, Naming};
use crate::encoder::Encoder;
#[cfg(feature = "onnx")]
use crate::graph::{
    self,
    onnx::{OnnxFile, OnnxModel},
};
use crate::kernels::Isa;
use crate::parallel::in_pool;
use crate::quant::{self, ModelFile, Network, Precision};

/// Name of the built-in backbone, accepted where a path is expected. A file or folder of that name is given as
/// `./demo`.
pub const DEMO: &str = "demo";

/// Prefix that, before the name of a card, selects weights drawn from a seed.
pub const UNTRAINED: &str = "untrained:";

/// Whether `model`, given where a path is expected, is a name: [`DEMO`] or `untrained:CARD`.
pub fn is_name(model: &str) -> bool {
    model == DEMO || model.starts_with(UNTRAINED)
}

/// Whether [`Engine::open`] reads `path` as an ONNX file, judging by its extension.
pub fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx"))
}

impl Engine {
    /// Loads a converted model, a checkpoint (a Hugging Face folder or a safetensors file), or (feature `onnx`) an ONNX
    /// file, and packs it for the instruction set [`Isa::preferred`]. `path` is always a path: the built-in backbone is
    /// [`Engine::demo`], with the feature `demo`.
    ///
    /// # Errors
    /// [`EngineError`], whose message names the file and the problem.
    pub fn open(path: impl AsRef<Path>) -> Result<Engine, EngineError> {
        Engine::open_for(path, Isa::preferred()?)
    }

    /// As [`Engine::open`], for a given instruction set.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_for(path: impl AsRef<Path>, isa: Isa) -> Result<Engine, EngineError> {
        Engine::open_with(path, isa, &Hints::default())
    }

    /// As [`Engine::open_for`], with hints: facts that the model's files lack.
    ///
    /// # Errors
    /// As [`Engine::open`]; [`CheckpointError::Hint`] if the files contradict a hint.
    pub fn open_with(path: impl AsRef<Path>, isa: Isa, hints: &Hints) -> Result<Engine, EngineError> {
        let path = path.as_ref();
        let engine = if is_onnx(path) {
            Engine::open_onnx(path, isa, hints)
        } else {
            // Reading and packing share one pool.
            in_pool(|| open_file(path, isa, hints))
        };
        engine?.agreeing(hints)
    }

    /// Returns the engine unchanged if `hints` agree with it.
    ///
    /// # Errors
    /// [`CheckpointError::Hint`] names the hint that contradicts the model.
    pub fn agreeing(self, hints: &Hints) -> Result<Engine, EngineError> {
        if let Some(config) = self.config() {
            hints.agree_with(&self.about().name, config, &self.about().preprocess)?;
        }
        Ok(self)
    }

    /// The built-in backbone. Heads trained on it also work with its model file, and vice versa.
    ///
    /// # Errors
    /// As [`Engine::open`], if the model data inside the program is damaged.
    #[cfg(feature = "demo")]
    pub fn demo(isa: Isa) -> Result<Engine, EngineError> {
        let file = quant::file::parse(Path::new(DEMO), quant::file::DEMO_FILE)?;
        Engine::from_converted(Path::new(DEMO), file, isa)
    }

    /// Creates an engine from the file of a converted model, which was read at `path`.
    ///
    /// # Errors
    /// [`EngineError`] if the file holds a graph around its backbone, and that graph is damaged or this build cannot run
    /// it.
    pub fn from_converted(path: &Path, file: ModelFile, isa: Isa) -> Result<Engine, EngineError> {
        let ModelFile { model, sha256, .. } = file;
        let kind = if model.graph.is_some() { Backend::Around } else { Backend::Kernels };
        #[cfg(feature = "demo")]
        let attestation = model.attestation.or_else(|| quant::file::demo_attestation(&sha256));
        #[cfg(not(feature = "demo"))]
        let attestation = model.attestation;
        let about = About {
            name: model.name,
            sha256,
            preprocess: model.preprocess,
            untrained: model.source.untrained,
            precision: model.precision,
            backend: kind(isa),
            reading: 0,
            described: false,
            assumed: Vec::new(),
            attestation,
        };
        match model.graph {
            None => Ok(Engine::new(about, Vit::new(Encoder::new(model.network, isa)))),
            #[cfg(feature = "onnx")]
            Some(graph) => {
                let body = OnnxModel::stored(path, &graph, &about.sha256, model.network, isa)?;
                Ok(Engine::new(about, body))
            }
            #[cfg(not(feature = "onnx"))]
            Some(_) => Err(EngineError::NoOnnx(path.display().to_string())),
        }
    }

    #[cfg(feature = "onnx")]
    fn open_onnx(path: &Path, isa: Isa, hints: &Hints) -> Result<Engine, EngineError> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let preprocess = checkpoint::preprocess_beside(path)?;
        let model = match graph::onnx::open(path, Proof::Run)? {
            OnnxFile::Backbone(imported) => {
                let model = Model::from_onnx(name, path, *imported, preprocess, hints)?;
                return Ok(Engine::from_model(model, isa));
            }
            OnnxFile::Other(model) => model,
        };
        let described = preprocess.is_some();
        let (preprocess, assumed) = hints.of_graph(&name, preprocess)?;
        let about = About {
            name,
            sha256: model.sha256().to_owned(),
            preprocess,
            untrained: false,
            precision: Precision::F32,
            backend: Backend::Tract,
            reading: graph::onnx::READING,
            described,
            assumed,
            attestation: None,
        };
        Ok(Engine::new(about, model))
    }

    #[cfg(not(feature = "onnx"))]
    fn open_onnx(path: &Path, _: Isa, _: &Hints) -> Result<Engine, EngineError> {
        Err(EngineError::NoOnnx(path.display().to_string()))
    }

    /// Creates an engine from a loaded checkpoint, in f32.
    pub fn from_model(model: Model, isa: Isa) -> Engine {
        let about = About {
            sha256: model.identity(),
            name: model.name,
            preprocess: model.preprocess,
            untrained: model.naming == Naming::Seeded,
            precision: Precision::F32,
            backend: Backend::Kernels(isa),
            reading: 0,
            described: model.described,
            assumed: model.assumed,
            attestation: None,
        };
        let network = Network::from_weights(&model.config, model.weights);
        #[cfg(feature = "onnx")]
        if let Some(graph) = model.graph {
            let about = About { backend: Backend::Around(isa), ..about };
            return Engine::new(about, OnnxModel::around(graph, network, isa));
        }
        Engine::new(about, Vit::new(Encoder::new(network, isa)))
    }
}

/// Opens a converted model or a checkpoint.
fn open_file(path: &Path, isa: Isa, hints: &Hints) -> Result<Engine, EngineError> {
    Ok(match quant::file::read_if_ours(path)? {
        Some(model) => Engine::from_converted(path, model, isa)?,
        None => Engine::from_model(checkpoint::load_with(path, hints)?, isa),
    })
}
