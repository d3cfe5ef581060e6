//! Checkpoints: reads published weights into [`vit::Weights`].
//!
//! [`load`] takes a Hugging Face folder or one safetensors file and detects its naming scheme: transformers', timm's,
//! open_clip's or Meta's own. What the files do not specify comes from the caller ([`Hints`]), or is assumed and listed
//! in [`Model::assumed`]. Tensors may be f32, f16 or bf16. A tensor that is missing, extra, of the wrong shape or not
//! finite is an error that names it. [`cards`] holds what is known of published models.

mod assemble;
mod card;
mod description;
mod error;
pub(crate) mod file;
#[cfg(test)]
mod fixtures;
mod graph_parts;
mod hints;
mod infer;
mod json;
mod layout;
mod naming;
#[cfg(feature = "onnx")]
pub mod onnx;
mod processor;
mod shards;
#[cfg(test)]
mod tests;
mod timm;
mod transformers;

use std::fmt;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use sha2::{Digest, Sha256};

pub use card::{Card, Link, Quality, cards};
pub use error::CheckpointError;
pub use graph_parts::GraphParts;
pub use hints::{Assumption, Hints};
pub use naming::Naming;

use crate::parallel::in_pool;
use crate::vit::{self, Config, Interpolation, Positions, Preprocess};
use description::Description;
use file::{Entry, TensorFile};
use layout::Layout;
use naming::Part;
use shards::Shards;

/// A model in memory, and its origin.
#[derive(Clone, Debug)]
pub struct Model {
    /// The card's name if there is one, else timm's name of the architecture, else the name of the folder or file.
    pub name: String,
    /// The architecture.
    pub config: Config,
    /// The parameters, checked against `config`.
    pub weights: vit::Weights,
    /// Preprocessing of pixels.
    pub preprocess: Preprocess,
    /// SHA-256 in lower-case hex: of the weights file, or of `seed_text` for seeded weights. For weights in several
    /// files, of the lines that `sha256sum` prints for them, sorted by name.
    pub sha256: String,
    /// Naming scheme of the file's tensors.
    pub naming: Naming,
    /// Data types of the tensors that were read.
    pub dtypes: Dtypes,
    /// Number of tensors in the file, including those that the backbone does not use.
    pub tensors: usize,
    /// Length of the file in bytes; 0 if there is none.
    pub file_bytes: u64,
    /// The weights file; empty if there is none.
    pub source: PathBuf,
    /// The card of this model, if the files name the model or the weights file has a SHA-256 listed on the card.
    pub card: Option<&'static Card>,
    /// Whether JSON files beside the weights were read, which [`Model::sha256`] does not cover.
    pub described: bool,
    /// What was not specified anywhere and was assumed.
    pub assumed: Vec<Assumption>,
    /// Notes for the user on how the files were interpreted.
    pub notes: Vec<String>,
    /// The graph around the backbone, of an ONNX file that holds more.
    #[cfg(feature = "onnx")]
    pub graph: Option<onnx::Surroundings>,
    /// Heads and grid that the caller's hints led to, as text; `None` if they equal what is assumed without hints.
    pub word: Option<String>,
}

/// Which of the supported data types a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dtypes {
    /// IEEE single precision.
    pub f32: bool,
    /// IEEE half precision.
    pub f16: bool,
    /// bfloat16.
    pub bf16: bool,
}

impl fmt::Display for Dtypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = [(self.f32, "f32"), (self.f16, "f16"), (self.bf16, "bf16")];
        f.pad(&held.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect::<Vec<_>>().join(" + "))
    }
}

impl Dtypes {
    fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Dtypes {
        entries.fold(Dtypes::default(), |mut held, entry| {
            match entry.dtype {
                Dtype::F16 => held.f16 = true,
                Dtype::BF16 => held.bf16 = true,
                _ => held.f32 = true,
            }
            held
        })
    }
}

/// [`load_with`] without hints.
///
/// # Errors
/// As [`load_with`].
pub fn load(path: &Path) -> Result<Model, CheckpointError> {
    load_with(path, &Hints::default())
}

/// Reads a checkpoint: a folder with `model.safetensors`, or with `model.safetensors.index.json` and its shards, or one
/// `.safetensors` file. `config.json` and `preprocessor_config.json` in the same folder are used if they exist.
///
/// Without `config.json`, the architecture is inferred from the tensor shapes and from `hints`.
///
/// # Errors
/// [`CheckpointError`] names the file and the tensor or JSON key that is wrong, or the hint that contradicts the files.
pub fn load_with(path: &Path, hints: &Hints) -> Result<Model, CheckpointError> {
    in_pool(|| load_in_pool(path, hints))
}

fn load_in_pool(path: &Path, hints: &Hints) -> Result<Model, CheckpointError> {
    hints.check()?;
    let source = weights_file(path)?;
    let folder = source.parent().unwrap_or(Path::new("."));
    let known = Description::read(folder)?;
    let file = Shards::open(&source)?;
    let layout = Layout::new(&source, &file.entries())?;
    let (mut config, mut assumed, mut word) = match known.config {
        Some(config) => {
            hints.agree_on(&infer::beside(&source), &config)?;
            (config, Vec::new(), None)
        }
        None => {
            let (config, assumed) = layout.infer(&known, hints)?;
            hints.agree_on(&source.display().to_string(), &config)?;
            (config, assumed, layout.word(&config, &known, hints))
        }
    };
    config.validate().map_err(|error| CheckpointError::Config { path: source.clone(), source: error })?;
    let naming = layout.naming;
    let mut card = named_card(&known, &config, naming);
    layout.check(&config, &known)?;
    if let Some(card) = card.filter(|card| card.naming == naming) {
        layout::check_card(&source, card, &file.entries())?;
    }

    let used = |name: &str| naming.part(name).is_some_and(|(part, _)| part != Part::Unused);
    let (tensors, file_bytes) = (file.entries().len(), file.bytes());
    let dtypes = Dtypes::of(file.entries().iter().filter(|entry| used(&entry.name)));
    let contents = file.read(used)?;
    let mut preprocess = known.preprocess;
    if let Some(published) = Card::of_bytes(&contents.sha256) {
        // The digest identifies the file, so nothing is left to be assumed.
        let Card { architecture, .. } = published;
        hints.agree_on(&format!("{}, which is {},", source.display(), published.title), architecture)?;
        card = Some(published);
        preprocess = preprocess.or(Some(published.preprocess));
        assumed.clear();
        word = None;
        config = *architecture;
    }
    let preprocess = statistics(&config, preprocess, card, hints, &mut assumed)?;
    let weights = assemble::assemble(&source, &layout, &config, &known, contents.values)?;
    let name = match (card, &known.architecture) {
        (Some(card), _) => card.name.clone(),
        (None, Some(architecture)) => architecture.clone(),
        (None, None) => display_name(&source),
    };
    let (sha256, notes, described) = (contents.sha256, known.notes, known.read);
    Ok(Model {
        name,
        config,
        weights,
        preprocess,
        sha256,
        naming,
        dtypes,
        tensors,
        file_bytes,
        source,
        card,
        described,
        assumed,
        notes,
        #[cfg(feature = "onnx")]
        graph: None,
        word,
    })
}

/// The card of a model whose files identify it. Rotary positions identify it too: no other published model has
/// DINOv3's.
fn named_card(known: &Description, config: &Config, naming: Naming) -> Option<&'static Card> {
    if !known.any && config.positions != Positions::Rope {
        return None;
    }
    // Different statistics mean a different training: DINOv3's satellite models have the same shapes as the web ones.
    let same = |card: &&Card| {
        known.preprocess.is_none_or(|p| (p.mean, p.std) == (card.preprocess.mean, card.preprocess.std))
    };
    Card::describing(config, naming, known.architecture.as_deref()).filter(same)
}

/// Rows and columns of the grid of learned positions; `None` with rotary positions.
pub(crate) fn grid(config: &Config) -> Option<(usize, usize)> {
    match config.positions {
        Positions::Learned { rows, cols, .. } => Some((rows, cols)),
        Positions::Rope => None,
    }
}

/// Preprocessing: what the files specify (`said`), else what the user specifies, else the usual values, which are added
/// to `assumed`.
fn statistics(
    config: &Config,
    said: Option<Preprocess>,
    card: Option<&Card>,
    hints: &Hints,
    assumed: &mut Vec<Assumption>,
) -> Result<Preprocess, CheckpointError> {
    if let Some(said) = said {
        hints.agree("what lies beside the weights", None, None, Some(&said))?;
        return Ok(said);
    }
    let usual = hints.applied(card.map_or(usual_preprocess(config), |card| card.preprocess));
    if !hints.has_statistics() {
        assumed.push(Assumption::Statistics(usual.mean, usual.std));
    }
    Ok(usual)
}

/// Preprocessing from the `preprocessor_config.json` beside `file`, if there is one: an ONNX file cannot specify it
/// itself.
///
/// # Errors
/// [`CheckpointError`] if that file exists but cannot be used.
pub fn preprocess_beside(file: &Path) -> Result<Option<Preprocess>, CheckpointError> {
    Description::preprocess_in(file.parent().unwrap_or(Path::new(".")))
}

/// The weights files of the checkpoint `path`: one file, or the shards listed in an index.
///
/// # Errors
/// [`CheckpointError`] if `path` is not a checkpoint, or the index cannot be used.
pub fn weights_files(path: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    shards::files(&weights_file(path)?)
}

/// The files that belong to the checkpoint `path`: its weights, and the descriptions and licences beside them.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let weights = weights_files(path).unwrap_or_else(|_| vec![path.to_owned()]);
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let beside = std::fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let beside = beside.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.file_name()));
    // JSON descriptions, including the index of shards, and licences.
    let read = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy().to_ascii_lowercase();
        name.ends_with(".json") || name.starts_with("licen")
    };
    weights.into_iter().chain(beside.filter(read).map(|name| folder.join(name))).collect()
}

/// Header entry of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the file.
    pub name: String,
    /// Its data type, as safetensors writes it: F32, F16, BF16.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// Lists the tensors of a checkpoint in the order of their data, without reading the data.
///
/// # Errors
/// [`CheckpointError`] names the file.
pub fn list_tensors(path: &Path) -> Result<Vec<TensorInfo>, CheckpointError> {
    Ok(Shards::open(&weights_file(path)?)?.entries().into_iter().map(info).collect())
}

/// [`list_tensors`] for a safetensors file in memory; error messages call it `name`.
///
/// # Errors
/// As [`list_tensors`].
pub fn list_tensors_of(name: &Path, bytes: &[u8]) -> Result<Vec<TensorInfo>, CheckpointError> {
    Ok(TensorFile::of_bytes(name, bytes)?.entries.into_iter().map(info).collect())
}

fn info(e: Entry) -> TensorInfo {
    TensorInfo { name: e.name, dtype: format!("{:?}", e.dtype), shape: e.shape }
}

impl Model {
    /// The identity to which heads and cached features are bound: [`Model::sha256`], or, if the caller's hints changed
    /// the network from the one assumed without them, the SHA-256 of the file's digest, a space and [`Model::word`].
    pub fn identity(&self) -> String {
        match &self.word {
            None => self.sha256.clone(),
            Some(word) => file::hex(&Sha256::digest(format!("{} {word}", self.sha256))),
        }
    }

    /// A model of weights that are not from a file, called `name`: without identity, with ImageNet's preprocessing.
    #[cfg(feature = "onnx")]
    pub(crate) fn of_parts(name: String, config: Config, weights: vit::Weights) -> Model {
        Model {
            name,
            config,
            weights,
            preprocess: Preprocess::IMAGENET,
            sha256: String::new(),
            naming: Naming::Onnx,
            dtypes: Dtypes { f32: true, ..Dtypes::default() },
            tensors: 0,
            file_bytes: 0,
            source: PathBuf::new(),
            card: None,
            described: false,
            assumed: Vec::new(),
            notes: Vec::new(),
            graph: None,
            word: None,
        }
    }

    /// An untrained model with the architecture of the card `card` and weights drawn from `seed`, for latency
    /// measurements without a checkpoint. Its digest is that of `seed_text`.
    ///
    /// # Errors
    /// [`CheckpointError::UnknownCard`].
    pub fn seeded(card: &str, seed: u64) -> Result<Model, CheckpointError> {
        let card = Card::by_name(card)?;
        let config = card.architecture;
        Ok(Model {
            name: format!("{} (untrained)", card.name),
            config,
            weights: vit::seeded_weights(&config, seed),
            preprocess: card.preprocess,
            sha256: file::hex(&Sha256::digest(seed_text(&card.name, seed))),
            naming: Naming::Seeded,
            dtypes: Dtypes { f32: true, ..Dtypes::default() },
            tensors: 0,
            file_bytes: 0,
            source: PathBuf::new(),
            card: Some(card),
            described: false,
            assumed: Vec::new(),
            notes: Vec::new(),
            #[cfg(feature = "onnx")]
            graph: None,
            word: None,
        })
    }
}

/// The text that is hashed in place of a file for seeded weights.
///
/// ```
/// assert_eq!(microraptor::checkpoint::seed_text("dinov3-vits16", 7), "seeded dinov3-vits16 seed 7");
/// ```
pub fn seed_text(card: &str, seed: u64) -> String {
    format!("seeded {card} seed {seed}")
}

/// The weights file that `path` refers to, or the index if the weights are sharded.
fn weights_file(path: &Path) -> Result<PathBuf, CheckpointError> {
    let not = |problem: String| Err(CheckpointError::NotACheckpoint { path: path.to_owned(), problem });
    let io = |source| CheckpointError::Io { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(io)?.is_dir() {
        return match path.extension().and_then(|e| e.to_str()) {
            Some("pth" | "pt" | "bin" | "ckpt") => {
                not("PyTorch pickles are not read; save the state dict with \
                 safetensors.torch.save_file and give that file"
                    .into())
            }
            _ => Ok(path.to_owned()),
        };
    }
    let usual = ["model.safetensors", "open_clip_model.safetensors"].map(|name| path.join(name));
    if let Some(file) = usual.into_iter().find(|file| file.is_file()) {
        return Ok(file);
    }
    let index = path.join(shards::INDEX);
    if index.is_file() {
        return Ok(index);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        found.push(entry.map_err(io)?.path());
    }
    found.retain(|file| file.extension().is_some_and(|e| e == "safetensors"));
    match found.len() {
        0 => not("there is no model.safetensors in this folder".into()),
        1 => Ok(found.remove(0)),
        n => not(format!("there are {n} safetensors files in this folder; give one of them")),
    }
}

/// Names `dir/model.safetensors` and an index after their folder, any other file after its stem.
fn display_name(source: &Path) -> String {
    let stem = source.file_stem().unwrap_or_default();
    let folder = source.parent().and_then(Path::file_name);
    folder
        .filter(|_| stem == "model" || source.ends_with(shards::INDEX))
        .unwrap_or(stem)
        .to_string_lossy()
        .into_owned()
}

/// Preprocessing if none is specified: ImageNet's statistics; bilinear resize for DINOv3, bicubic for timm's ViTs.
fn usual_preprocess(config: &Config) -> Preprocess {
    match config.positions {
        Positions::Rope => Preprocess::IMAGENET,
        Positions::Learned { .. } => {
            Preprocess { interpolation: Interpolation::Bicubic, ..Preprocess::IMAGENET }
        }
    }
}
