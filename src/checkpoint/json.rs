//! What the JSON files beside the weights say: transformers' `config.json` and `preprocessor_config.json`, timm's
//! `config.json` and open_clip's `open_clip_config.json`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::CheckpointError;
use crate::bounded;
use crate::vit::{Config, Interpolation, Mlp, Positions, Preprocess};

/// What is known of a checkpoint apart from its tensors.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub config: Option<Config>,
    /// Whether query, key and value have biases.
    pub qkv_biases: Option<[bool; 3]>,
    /// Base of the rotary periods, where it is written.
    pub rope_base: Option<f64>,
    /// Attention heads, where timm was given a number of its own.
    pub heads: Option<usize>,
    /// timm's name of the architecture.
    pub architecture: Option<String>,
    pub preprocess: Option<Preprocess>,
}

/// `config.json` of `DINOv3ViTModel`; the defaults are those of transformers' `DINOv3ViTConfig`.
#[derive(Deserialize)]
struct DinoV3 {
    patch_size: Side,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    #[serde(default)]
    num_register_tokens: usize,
    #[serde(default = "three")]
    num_channels: usize,
    hidden_act: Option<String>,
    layer_norm_eps: Option<f32>,
    rope_theta: Option<f64>,
    query_bias: Option<bool>,
    key_bias: Option<bool>,
    value_bias: Option<bool>,
    proj_bias: Option<bool>,
    mlp_bias: Option<bool>,
    #[serde(default)]
    use_gated_mlp: bool,
}

fn three() -> usize {
    3
}

/// transformers writes a square as one number or as two.
#[derive(Deserialize)]
#[serde(untagged)]
enum Side {
    One(usize),
    Two([usize; 2]),
}

/// The parts of a `config.json` that tell whose it is.
#[derive(Deserialize)]
struct Kind {
    model_type: Option<String>,
    architecture: Option<String>,
    model_args: Option<ModelArgs>,
    pretrained_cfg: Option<Pixels>,
    preprocess_cfg: Option<Pixels>,
}

/// timm's `model_args`: what was asked of the architecture beside its name.
#[derive(Deserialize)]
struct ModelArgs {
    num_heads: Option<usize>,
}

/// timm's `pretrained_cfg` and open_clip's `preprocess_cfg`.
#[derive(Deserialize)]
struct Pixels {
    mean: [f32; 3],
    std: [f32; 3],
    interpolation: Option<String>,
}

/// `preprocessor_config.json`
#[derive(Deserialize)]
struct Processor {
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
    resample: Option<u8>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
}

impl Description {
    /// Reads what there is in `folder`; a file that is not there is no error.
    pub fn read(folder: &Path) -> Result<Description, CheckpointError> {
        let mut description = Description::default();
        for name in ["open_clip_config.json", "config.json"] {
            let path = folder.join(name);
            if let Some(value) = parse::<serde_json::Value>(&path)? {
                description.merge(&path, value)?;
            }
        }
        description.preprocess = Description::preprocess_in(folder)?.or(description.preprocess);
        Ok(description)
    }

    /// What a `preprocessor_config.json` in `folder` says of pixels, if there is one.
    pub fn preprocess_in(folder: &Path) -> Result<Option<Preprocess>, CheckpointError> {
        let path = folder.join("preprocessor_config.json");
        parse::<Processor>(&path)?.map(|processor| processor.preprocess(&path)).transpose()
    }

    fn merge(&mut self, path: &Path, value: serde_json::Value) -> Result<(), CheckpointError> {
        let kind: Kind = from_value(path, value.clone())?;
        if let Some(pixels) = kind.pretrained_cfg.or(kind.preprocess_cfg) {
            self.preprocess = Some(pixels.preprocess(path)?);
        }
        self.architecture = kind.architecture;
        self.heads = kind.model_args.and_then(|args| args.num_heads);
        match kind.model_type.as_deref() {
            Some("dinov3_vit") => {
                let dino: DinoV3 = from_value(path, value)?;
                self.config = Some(dino.config(path)?);
                self.qkv_biases = Some([
                    dino.query_bias.unwrap_or(true),
                    dino.key_bias.unwrap_or(false),
                    dino.value_bias.unwrap_or(true),
                ]);
                self.rope_base = dino.rope_theta;
            }
            Some(other) => {
                return Err(json(
                    path,
                    format!("model_type is '{other}'; of transformers' models dinov3_vit is read"),
                ));
            }
            None => {}
        }
        Ok(())
    }
}

impl DinoV3 {
    fn config(&self, path: &Path) -> Result<Config, CheckpointError> {
        let patch = match self.patch_size {
            Side::One(side) => side,
            Side::Two([a, b]) if a == b => a,
            Side::Two([a, b]) => {
                return Err(json(path, format!("patch_size is {a} x {b}; patches must be square")));
            }
        };
        let (mlp, expected) = if self.use_gated_mlp { (Mlp::SwiGlu, "silu") } else { (Mlp::Gelu, "gelu") };
        let act = self.hidden_act.as_deref().unwrap_or("gelu");
        if act != expected {
            let gated = self.use_gated_mlp;
            return Err(json(
                path,
                format!("hidden_act is '{act}'; with use_gated_mlp {gated} only {expected} is known"),
            ));
        }
        if self.num_channels != 3 {
            return Err(json(
                path,
                format!("num_channels is {}; the model must take RGB, 3", self.num_channels),
            ));
        }
        for (name, bias) in [("proj_bias", self.proj_bias), ("mlp_bias", self.mlp_bias)] {
            if bias == Some(false) {
                return Err(json(path, format!("{name} is false; no published DINOv3 lacks these biases")));
            }
        }
        Ok(Config {
            dim: self.hidden_size,
            depth: self.num_hidden_layers,
            heads: self.num_attention_heads,
            patch,
            mlp,
            hidden: self.intermediate_size,
            registers: self.num_register_tokens,
            positions: Positions::Rope,
            layer_scale: true,
            norm_eps: self.layer_norm_eps.unwrap_or(1e-5),
        })
    }
}

impl Pixels {
    fn preprocess(&self, path: &Path) -> Result<Preprocess, CheckpointError> {
        let interpolation = match self.interpolation.as_deref() {
            Some("bilinear") => Interpolation::Bilinear,
            Some("bicubic") | None => Interpolation::Bicubic,
            Some(other) => {
                return Err(json(
                    path,
                    format!("interpolation is '{other}'; bilinear and bicubic are known"),
                ));
            }
        };
        checked(path, Preprocess { mean: self.mean, std: self.std, interpolation })
    }
}

impl Processor {
    fn preprocess(&self, path: &Path) -> Result<Preprocess, CheckpointError> {
        // The numbers are those of Pillow's `Resampling`.
        let interpolation = match self.resample {
            Some(2) | None => Interpolation::Bilinear,
            Some(3) => Interpolation::Bicubic,
            Some(other) => {
                return Err(json(
                    path,
                    format!("resample is {other}; 2 (bilinear) and 3 (bicubic) are known"),
                ));
            }
        };
        if let Some(factor) = self.rescale_factor
            && (factor * 255.0 - 1.0).abs() > 1e-6
        {
            return Err(json(path, format!("rescale_factor is {factor}; pixels are scaled by 1/255")));
        }
        let mut preprocess = Preprocess { interpolation, ..Preprocess::IMAGENET };
        if self.do_normalize == Some(false) {
            (preprocess.mean, preprocess.std) = ([0.0; 3], [1.0; 3]);
        } else {
            preprocess.mean = self.image_mean.unwrap_or(preprocess.mean);
            preprocess.std = self.image_std.unwrap_or(preprocess.std);
        }
        checked(path, preprocess)
    }
}

fn checked(path: &Path, preprocess: Preprocess) -> Result<Preprocess, CheckpointError> {
    let Preprocess { mean, std, .. } = preprocess;
    if !mean.iter().all(|v| v.is_finite()) || !std.iter().all(|v| v.is_finite() && *v > 0.0) {
        return Err(json(path, format!("mean {mean:?} and std {std:?} must be finite, and std positive")));
    }
    Ok(preprocess)
}

fn json(path: &Path, problem: String) -> CheckpointError {
    CheckpointError::Json { path: path.to_owned(), problem }
}

fn from_value<T: DeserializeOwned>(path: &Path, value: serde_json::Value) -> Result<T, CheckpointError> {
    serde_json::from_value(value).map_err(|e| json(path, format!("cannot be used: {e}")))
}

/// Parses the JSON file at `path`; `None` when there is no such file.
fn parse<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CheckpointError> {
    let io = |source| CheckpointError::Io { path: PathBuf::from(path), source };
    match bounded::read(path, bounded::MAX_TEXT) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|e| json(path, format!("cannot be used: {e}")))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(error)),
    }
}
