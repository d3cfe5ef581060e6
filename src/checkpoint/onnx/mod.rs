//! Backbones from ONNX: finds a vision transformer of the family in a graph and converts it back into our `Config` and
//! `Weights`. What is around it stays a graph ([`Surroundings`]).
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
mod branch;
mod check;
mod cut;
mod dequantise;
mod error;
mod external;
mod graphs;
mod input;
mod layer_norm;
mod load;
mod proof;
mod recognise;
mod rewrite;
mod skim;
mod surroundings;
mod trial;
mod walk;

use std::path::Path;

use tract_core::prelude::{TractResult, TypedModel};

pub(crate) use cut::Joint;
pub use error::OnnxError;

pub use load::external_files;
pub(crate) use load::{Document, Source};
use recognise::Found;
pub(crate) use recognise::Found as Recognised;
pub use surroundings::Surroundings;
pub(crate) use surroundings::Within;
pub(crate) use trial::try_out;
pub use trial::{Trial, set_trial};
pub(crate) use walk::reroute;

use super::{Card, CheckpointError, Dtypes, GraphParts, Hints, Model, Naming};
use crate::vit::{Config, Positions, Preprocess, Size, Weights};

/// A backbone read from an ONNX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The architecture.
    pub config: Config,
    /// The parameters.
    pub weights: Weights,
    /// The graph around the backbone; `None` if the file gives nothing but its tokens.
    pub graph: Option<Surroundings>,
    /// SHA-256 of the file and its external data files, in hexadecimal.
    pub sha256: String,
    /// Number of constant tensors stored in the file.
    pub tensors: usize,
    /// The input size of a fixed-size export. A backbone with nothing around it runs at any size.
    pub fixed_size: Option<Size>,
    /// What was rewritten before it was read, such as fp16 to f32: lines for people.
    pub notes: Vec<String>,
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
        let Imported { config, weights, graph, sha256, tensors, notes, .. } = imported;
        hints.check()?;
        hints.agree_on(&name, &config)?;
        let card = Card::describing(&config, Naming::Onnx, None)
            .filter(|card| preprocess.is_none_or(|known| known == card.preprocess));
        let (mut assumed, described) = (Vec::new(), preprocess.is_some());
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
            described,
            assumed,
            notes,
            graph,
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

/// Reads a file that holds a backbone of the family; `None` if the file is a valid ONNX model of something else (the log
/// gives the reason).
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
    Ok(match read(path, proof)? {
        Contents::Backbone(imported) => Some(*imported),
        Contents::Other(_) => None,
    })
}

/// What an ONNX file holds.
#[derive(Debug)]
pub(crate) enum Contents {
    /// A backbone, and perhaps a graph around it.
    Backbone(Box<Imported>),
    /// Something else.
    Other(Box<Source>),
}

/// Reads the file at `path`.
///
/// # Errors
/// [`OnnxError`] if the file cannot be read, is damaged, or tract refuses it.
pub(crate) fn read(path: &Path, proof: Proof) -> Result<Contents, OnnxError> {
    let mut document = Document::read(path)?;
    // A backbone is looked for in what the quantised weights stand for.
    let mut twin = rewrite::twin(&document.proto);
    let source = match document.source() {
        // Some of onnxruntime's fused operators for codes are not in tract: then the whole graph is widened.
        Err(OnnxError::Operator { .. }) if twin.is_some() => {
            if let Some((proto, line)) = twin.take() {
                document.proto = proto;
                document.notes.push(line);
            }
            document.source()?
        }
        source => source?,
    };
    let searched = match &twin {
        Some((twin, _)) => &document.parse(twin)?,
        None => &source,
    };
    let Some((model, found, whole)) = found(searched, proof)? else {
        return Ok(Contents::Other(Box::new(source)));
    };
    document.notes.extend(twin.as_ref().map(|(_, line)| line.clone()));
    let fixed_size = source.fixed_size();
    let grid_known = found.config.positions == Positions::Rope || fixed_size.is_some();
    let graph = if whole && grid_known {
        None
    } else {
        let searched = twin.as_ref().map_or(&document.proto, |(twin, _)| twin);
        let Some(surroundings) = Surroundings::of(&document, &source, searched, &model, &found)? else {
            log::warn!("{}: its backbone cannot be cut out: tract runs it", path.display());
            return Ok(Contents::Other(Box::new(source)));
        };
        Some(surroundings)
    };
    let (Found { config, weights, .. }, Document { sha256, tensors, notes, .. }) = (found, document);
    Ok(Contents::Backbone(Box::new(Imported { config, weights, graph, sha256, tensors, fixed_size, notes })))
}

/// The backbone in a graph, the typed graph in which it was found, and whether its tokens are all that the graph gives.
fn found(source: &Source, proof: Proof) -> Result<Option<(TypedModel, Found, bool)>, OnnxError> {
    let other = |reason: &str| {
        log::info!("{} holds no backbone of the family: {reason}", source.path().display());
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
    let found = source.guarded(|| recognised_in(&source.name(), &model, proof))?;
    Ok(found.map(|(found, whole)| (model, found, whole)))
}

/// The backbone in a typed graph whose shapes are known and whose constants have been propagated; `None` if there is none
/// (the log gives the reason).
pub(crate) fn recognised(model: &TypedModel, proof: Proof) -> TractResult<Option<Recognised>> {
    Ok(recognised_in("the graph", model, proof)?.map(|(found, _)| found))
}

/// As [`recognised`], for a graph that the log calls `name`; also whether its tokens are all that the graph gives.
fn recognised_in(name: &str, model: &TypedModel, proof: Proof) -> TractResult<Option<(Found, bool)>> {
    let found = match recognise::recognise(model) {
        Ok(found) => found,
        Err(reason) => {
            log::info!("{name} holds no backbone of the family: {reason}");
            return Ok(None);
        }
    };
    let mut whole = proof::may_be_whole(model, &found);
    if proof == Proof::Run {
        let (agreement, tokens_alone) = proof::compare(model.clone(), &found)?;
        if !agreement.holds() {
            log::warn!(
                "{name} looks like a vision transformer but computes something else (difference {:.1e}, cosine {:.6})",
                agreement.difference,
                agreement.cosine
            );
            return Ok(None);
        }
        log::debug!("{name}: {agreement:?}");
        whole &= tokens_alone;
    }
    Ok(Some((found, whole)))
}
