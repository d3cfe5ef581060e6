//! Reads the JSON files beside the weights: transformers' `config.json` and `preprocessor_config.json`, timm's
//! `config.json` and open_clip's `open_clip_config.json`.

use std::path::Path;

use serde::Deserialize;

use super::description::{Description, Sides, checked, from_value, json, parse};
use super::processor::Processor;
use super::timm::Architecture;
use super::{CheckpointError, transformers};
use crate::vit::{Interpolation, Preprocess};

/// The parts of a `config.json` that reveal which library wrote it.
#[derive(Deserialize)]
struct Kind {
    model_type: Option<String>,
    architecture: Option<String>,
    model_args: Option<serde_json::Map<String, serde_json::Value>>,
    pretrained_cfg: Option<Pixels>,
    preprocess_cfg: Option<Pixels>,
    model_cfg: Option<OpenClip>,
}

/// open_clip's `model_cfg`.
#[derive(Deserialize)]
struct OpenClip {
    vision_cfg: Option<Tower>,
}

#[derive(Deserialize)]
struct Tower {
    timm_model_name: Option<String>,
    image_size: Option<Sides>,
}

/// The `model_args` that change nothing, or whose effect is visible in the tensors.
const HARMLESS: [&str; 27] = [
    "num_heads",
    "embed_dim",
    "depth",
    "patch_size",
    "img_size",
    "mlp_ratio",
    "init_values",
    "reg_tokens",
    "no_embed_class",
    "num_classes",
    "in_chans",
    "qkv_bias",
    "global_pool",
    "dynamic_img_size",
    "dynamic_img_pad",
    "strict_img_size",
    "drop_rate",
    "pos_drop_rate",
    "patch_drop_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "drop_path_rate",
    "weight_init",
    "fix_init",
    "qkv_fused",
    "class_token",
    "features_only",
];

/// timm's `pretrained_cfg` and open_clip's `preprocess_cfg`.
#[derive(Deserialize)]
struct Pixels {
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    interpolation: Option<String>,
    tag: Option<String>,
    input_size: Option<[usize; 3]>,
    crop_pct: Option<f64>,
}

impl Description {
    /// Reads the files that exist in `folder`; a missing file is not an error.
    pub fn read(folder: &Path) -> Result<Description, CheckpointError> {
        let mut description = Description::default();
        for name in ["open_clip_config.json", "config.json"] {
            let path = folder.join(name);
            if let Some(value) = parse::<serde_json::Value>(&path)? {
                description.merge(&path, value)?;
            }
        }
        if let Some(preprocess) = Description::preprocess_in(folder)? {
            description.preprocess = Some(preprocess);
            description.notes.clear();
            description.read = true;
        }
        Ok(description)
    }

    /// Preprocessing from the `preprocessor_config.json` in `folder`, if there is one.
    pub fn preprocess_in(folder: &Path) -> Result<Option<Preprocess>, CheckpointError> {
        let path = folder.join("preprocessor_config.json");
        parse::<Processor>(&path)?.map(|processor| processor.preprocess(&path)).transpose()
    }

    fn merge(&mut self, path: &Path, value: serde_json::Value) -> Result<(), CheckpointError> {
        let kind: Kind = from_value(path, value.clone())?;
        (self.any, self.read) = (true, true);
        let tower = kind.model_cfg.and_then(|cfg| cfg.vision_cfg);
        let name = kind.architecture.as_deref().or(tower.as_ref().and_then(|t| t.timm_model_name.as_deref()));
        if let Some(name) = name {
            let name = name.trim_start_matches("timm/");
            self.named(path, name, kind.model_args.unwrap_or_default())?;
            let tag = name.split_once('.').map(|(_, tag)| tag);
            self.pixels(path, kind.pretrained_cfg.as_ref().or(kind.preprocess_cfg.as_ref()), tag)?;
        } else if let Some(pixels) = kind.pretrained_cfg.or(kind.preprocess_cfg) {
            self.pixels(path, Some(&pixels), None)?;
        }
        if let Some(sides) = tower.and_then(|tower| tower.image_size) {
            self.pictures.insert(0, sides.both());
        }
        // open_clip's file names the architecture of a tower, timm's the architecture of the model.
        self.architecture =
            kind.architecture.map(|name| name.split('.').next().unwrap_or_default().to_owned());
        match kind.model_type.as_deref() {
            Some(kind) => transformers::describe(self, path, kind, value),
            None => Ok(()),
        }
    }

    /// Looks `name` up in timm's table.
    fn named(
        &mut self,
        path: &Path,
        name: &str,
        args: serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), CheckpointError> {
        use serde_json::Value;
        self.timm = Architecture::named(name);
        if let Some(Architecture { name, why, .. }) = self.timm.filter(|row| !row.why.is_empty()) {
            return Err(json(path, format!("timm's {name} has {why}, which is not supported")));
        }
        for (key, value) in &args {
            let harmless = HARMLESS.contains(&key.as_str())
                || matches!(value, Value::Null | Value::Bool(false))
                || (key == "act_layer" && value == "gelu");
            if !harmless || (key == "class_token" && *value == Value::Bool(false)) {
                return Err(json(path, format!("model_args has {key} = {value}, which is not supported")));
            }
        }
        self.args = from_value(path, Value::Object(args))?;
        self.pictures.extend(self.args.img_size.map(Sides::both));
        Ok(())
    }

    /// Takes the preprocessing from `pixels`, and what `pixels` lacks from the pretrained tag.
    fn pixels(
        &mut self,
        path: &Path,
        pixels: Option<&Pixels>,
        tag: Option<&str>,
    ) -> Result<(), CheckpointError> {
        let tag = tag.or(pixels.and_then(|p| p.tag.as_deref())).filter(|tag| !tag.is_empty());
        let tagged = self.timm.and_then(|row| row.tag(tag));
        let mut known = tagged.map(|tag| Preprocess {
            mean: tag.mean,
            std: tag.std,
            interpolation: tag.interpolation,
            size: Some((tag.side, tag.side)),
            ..Preprocess::IMAGENET
        });
        let mut crop = tagged.map(|tag| tag.crop);
        if let Some(pixels) = pixels {
            if let (Some(mean), Some(std)) =
                (pixels.mean.or(known.map(|k| k.mean)), pixels.std.or(known.map(|k| k.std)))
            {
                let interpolation = pixels.interpolation(path)?;
                known = Some(Preprocess { mean, std, interpolation, size: None, ..Preprocess::IMAGENET });
            }
            crop = pixels.crop_pct;
            if let Some([_, height, width]) = pixels.input_size {
                self.pictures.push((height, width));
                if let Some(known) = &mut known {
                    known.size = Some((height, width));
                }
            }
        }
        if let Some(share) = crop.filter(|share| *share < 1.0) {
            self.notes.push(format!(
                "timm's evaluation keeps the middle {share:.3} of each side of a picture; here the whole picture is taken"
            ));
        }
        self.preprocess = known.map(|known| checked(path, known)).transpose()?.or(self.preprocess);
        Ok(())
    }
}

impl Pixels {
    fn interpolation(&self, path: &Path) -> Result<Interpolation, CheckpointError> {
        match self.interpolation.as_deref() {
            Some("bilinear") => Ok(Interpolation::Bilinear),
            Some("bicubic") | None => Ok(Interpolation::Bicubic),
            Some("nearest") => Ok(Interpolation::Nearest),
            Some("lanczos") => Ok(Interpolation::Lanczos),
            Some("box") => Ok(Interpolation::Box),
            Some("hamming") => Ok(Interpolation::Hamming),
            Some(other) => Err(json(path, format!("interpolation is '{other}', which is not known"))),
        }
    }
}
