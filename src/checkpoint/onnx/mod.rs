//! DINOv3 from ONNX: converts a graph written by `torch.onnx.export` back into our `Config` and `Weights`.
//!
//! The four exports (dynamo or TorchScript, fixed or dynamic size) differ a lot as files but little as tract's typed
//! graph for one concrete input size. Typing computes every shape, and constant propagation then folds the exporters'
//! shape arithmetic, the RoPE tables, TorchScript's `If`s and the broadcasts of the prefix tokens. Recognition
//! therefore walks the typed graph, not the file. It runs before `declutter`, which moves axes and splits the q and k
//! projections between prefix and patches.
//!
//! Recognition (`recognise.rs`) may tolerate variations because [`import`] ends in a proof: the original in tract and
//! our reference must agree on the same pixels.

mod bounds;
mod dequantise;
mod graphs;
mod layer_norm;
mod load;
mod proof;
mod recognise;
mod skim;
mod trial;
mod walk;

use std::path::{Path, PathBuf};

pub(crate) use load::Source;
pub use load::external_files;
pub(crate) use trial::try_out;
pub use trial::{Trial, set_trial};

use super::{Card, CheckpointError, Dtypes, Hints, Model, Naming};
use crate::vit::{Config, Preprocess, Size, Weights};

/// A DINOv3 model read from an ONNX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The architecture.
    pub config: Config,
    /// The parameters.
    pub weights: Weights,
    /// SHA-256 of the file and its external data files, in hexadecimal.
    pub sha256: String,
    /// Number of constant tensors stored in the file.
    pub tensors: usize,
    /// The input size of a fixed-size export. The imported model runs at any size.
    pub fixed_size: Option<Size>,
}

impl Model {
    /// The model imported from the ONNX file at `path`, named `name` unless a card describes it. ONNX does not specify
    /// preprocessing: it is `preprocess` if that is known ([`preprocess_beside`](super::preprocess_beside)), else the
    /// card's, else ImageNet's.
    ///
    /// # Errors
    /// [`CheckpointError::Hint`] if `hints` contradict the graph or `preprocess`.
    pub fn from_onnx(
        name: String,
        path: &Path,
        imported: Imported,
        preprocess: Option<Preprocess>,
        hints: &Hints,
    ) -> Result<Model, CheckpointError> {
        let Imported { config, weights, sha256, tensors, .. } = imported;
        hints.check()?;
        hints.agree_on(&name, &config)?;
        let card = Card::describing(&config, Naming::Onnx, None)
            .filter(|card| preprocess.is_none_or(|known| known == card.preprocess));
        let mut assumed = Vec::new();
        let preprocess = super::statistics(&config, preprocess, card, hints, &mut assumed)?;
        Ok(Model {
            name: card.map_or(name, |card| card.name.clone()),
            config,
            weights,
            preprocess,
            sha256,
            naming: Naming::Onnx,
            dtypes: Dtypes { f32: true, ..Dtypes::default() },
            tensors,
            file_bytes: std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
            source: path.into(),
            card,
            assumed,
            notes: Vec::new(),
            word: None,
        })
    }
}

/// Whether [`import_with`] runs the model to prove that it was imported correctly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Run the original and our model on the same pixels.
    Run,
    /// Trust the structure of the graph.
    Skip,
}

/// Reads a DINOv3 export; `None` if the file is a valid ONNX model of something else (the log gives the reason).
///
/// # Errors
/// [`OnnxError`] if the file cannot be read, is damaged, or tract refuses it.
pub fn import(path: &Path) -> Result<Option<Imported>, OnnxError> {
    import_with(path, Proof::Run)
}

/// As [`import`], but the final proof, its slowest step, can be skipped.
///
/// # Errors
/// As [`import`].
pub fn import_with(path: &Path, proof: Proof) -> Result<Option<Imported>, OnnxError> {
    import_source(&Source::read(path)?, proof)
}

/// As [`import_with`], for a file that has already been read.
pub(crate) fn import_source(source: &Source, proof: Proof) -> Result<Option<Imported>, OnnxError> {
    let other = |reason: &str| {
        log::info!("{} is not a DINOv3 export: {reason}", source.path().display());
        Ok(None)
    };
    let (input, size) = match (source.input(), source.smallest_size()) {
        (Ok(input), Some(size)) if input.channels == 3 => (input, size),
        (Ok(_), _) => return other("it does not cut a colour image into patches"),
        (Err(error), _) => return other(&error.to_string()),
    };
    let model = source.typed(size).and_then(|mut model| {
        source.guarded(|| model.prop_consts())?;
        Ok(model)
    });
    let model = match model {
        Ok(model) => model,
        Err(error @ OnnxError::Bounds { .. }) => return Err(error),
        // A network of dynamic size need not accept a size chosen for a vision transformer.
        Err(error) if input.fixed_size().is_none() => return other(&error.to_string()),
        Err(error) => return Err(error),
    };
    let found = match source.guarded(|| Ok(recognise::recognise(&model, size)))? {
        Ok(found) => found,
        Err(reason) => return other(&reason),
    };
    if proof == Proof::Run {
        let agreement = proof::compare(source, model, &found, size)?;
        if !agreement.holds() {
            log::warn!(
                "{} looks like a DINOv3 export but computes something else (difference {:.1e}, cosine {:.6})",
                source.path().display(),
                agreement.difference,
                agreement.cosine
            );
            return Ok(None);
        }
        log::debug!("{}: {agreement:?}", source.path().display());
    }
    let (fixed_size, tensors) = (input.fixed_size(), source.tensors);
    Ok(Some(Imported {
        config: found.config,
        weights: found.weights,
        sha256: source.sha256.clone(),
        tensors,
        fixed_size,
    }))
}

/// Why an ONNX file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason given by the system.
        reason: String,
    },
    /// Not an ONNX file, or a damaged one.
    #[error("{} is not an ONNX model or is damaged: {reason}; export or copy it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An external data file of the ONNX file is missing or not acceptable.
    #[error("{} keeps weights in '{location}', which cannot be read: {reason}; put it beside the model", path.display())]
    External {
        /// The ONNX file.
        path: PathBuf,
        /// The external data file, as the ONNX file names it.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model uses operators that tract does not have.
    #[error("{} uses operators that tract lacks: {operators}; export it with other operators (opset 18)", path.display())]
    Operator {
        /// The file.
        path: PathBuf,
        /// Names of the operators.
        operators: String,
    },
    /// The model does not take one image.
    #[error("{}: {reason}, expected one f32 input [1, 3, height, width] (or one channel)", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What it takes instead.
        reason: String,
    },
    /// The graph would need more memory than any model does.
    #[error("{} is refused: {reason}", path.display())]
    Bounds {
        /// The file.
        path: PathBuf,
        /// What would need it.
        reason: String,
    },
    /// The trial of the model failed ([`set_trial`]).
    #[error("{}: {reason}", path.display())]
    Trial {
        /// The file.
        path: PathBuf,
        /// The result of the trial, and what to do.
        reason: String,
    },
    /// tract refuses the model.
    #[error("tract cannot run {}: {reason}", path.display())]
    Tract {
        /// The file.
        path: PathBuf,
        /// The reason given by tract.
        reason: String,
    },
}
