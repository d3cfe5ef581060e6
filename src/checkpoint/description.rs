//! What is known of a checkpoint apart from its tensors, and how its JSON files are read.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::CheckpointError;
use super::timm::Architecture;
use crate::files;
use crate::names::one_line;
use crate::vit::{Config, MAX_SIDE, Preprocess};

/// What is known of a checkpoint apart from its tensors.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub config: Option<Config>,
    /// Whether query, key and value have biases.
    pub qkv_biases: Option<[bool; 3]>,
    /// Base of the rotary periods, if the config specifies it.
    pub rope_base: Option<f64>,
    /// timm's name of the architecture, without a tag.
    pub architecture: Option<String>,
    /// timm's table entry for this architecture.
    pub timm: Option<Architecture>,
    /// The `model_args` given to timm besides the name.
    pub args: ModelArgs,
    /// Candidates for the image size (height, width) that the learned positions belong to, most trusted first.
    pub pictures: Vec<(usize, usize)>,
    pub preprocess: Option<Preprocess>,
    /// Notes for the user on how the files were interpreted.
    pub notes: Vec<String>,
    /// Whether a `config.json` or `open_clip_config.json` exists.
    pub any: bool,
    /// Whether any JSON file was read.
    pub read: bool,
}

/// timm's `model_args` that affect the architecture.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ModelArgs {
    pub num_heads: Option<usize>,
    pub embed_dim: Option<usize>,
    pub patch_size: Option<usize>,
    pub img_size: Option<Sides>,
}

/// One number for a square, or height and width.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Sides {
    One(usize),
    Two([usize; 2]),
}

impl Sides {
    pub fn both(self) -> (usize, usize) {
        match self {
            Sides::One(side) => (side, side),
            Sides::Two([height, width]) => (height, width),
        }
    }
}

pub(super) fn checked(path: &Path, preprocess: Preprocess) -> Result<Preprocess, CheckpointError> {
    let Preprocess { mean, std, size, .. } = preprocess;
    if let Some((h, w)) = size.filter(|s| s.0 == 0 || s.1 == 0 || s.0 > MAX_SIDE || s.1 > MAX_SIDE) {
        return Err(json(path, format!("an input of {h} x {w} px; a side is from 1 to {MAX_SIDE} px")));
    }
    if !mean.iter().all(|v| v.is_finite()) || !std.iter().all(|v| v.is_finite() && *v > 0.0) {
        return Err(json(path, format!("mean {mean:?} and std {std:?} must be finite, and std positive")));
    }
    Ok(preprocess)
}

pub(super) fn json(path: &Path, problem: String) -> CheckpointError {
    CheckpointError::Json { path: path.to_owned(), problem: one_line(&problem) }
}

pub(super) fn from_value<T: DeserializeOwned>(
    path: &Path,
    value: serde_json::Value,
) -> Result<T, CheckpointError> {
    serde_json::from_value(value).map_err(|e| json(path, format!("cannot be used: {e}")))
}

/// Parses the JSON file at `path`; `None` if there is no such file.
pub(super) fn parse<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CheckpointError> {
    let io = |source| CheckpointError::Io { path: PathBuf::from(path), source };
    match files::read(path, files::MAX_TEXT) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|e| json(path, format!("cannot be used: {e}")))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(error)),
    }
}
