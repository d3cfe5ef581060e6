//! transformers' `config.json`: DINOv3, DINOv2 with and without registers, ViT and ViT-MSN.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::CheckpointError;
use super::description::{Description, Sides, from_value, json};
use crate::vit::{Config, Mlp, PositionResize, Positions};

/// Keys of all these model types. A missing key has the default of the class of `model_type` (transformers 5.24).
#[derive(Deserialize)]
struct Transformer {
    patch_size: Option<Sides>,
    image_size: Option<Sides>,
    hidden_size: usize,
    intermediate_size: Option<usize>,
    mlp_ratio: Option<f64>,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_register_tokens: Option<usize>,
    num_channels: Option<usize>,
    hidden_act: Option<String>,
    layer_norm_eps: Option<f32>,
    rope_theta: Option<f64>,
    rope_parameters: Option<Rope>,
    query_bias: Option<bool>,
    key_bias: Option<bool>,
    value_bias: Option<bool>,
    qkv_bias: Option<bool>,
    proj_bias: Option<bool>,
    mlp_bias: Option<bool>,
    use_gated_mlp: Option<bool>,
    use_swiglu_ffn: Option<bool>,
}

/// Holds `rope_theta` in some releases.
#[derive(Deserialize)]
struct Rope {
    rope_theta: Option<f64>,
}

/// Reads the `config.json` of model type `kind` into `known`.
pub(super) fn describe(
    known: &mut Description,
    path: &Path,
    kind: &str,
    value: Value,
) -> Result<(), CheckpointError> {
    let model = |value| from_value::<Transformer>(path, value);
    match kind {
        "dinov3_vit" => {
            let dino = model(value)?;
            known.config = Some(dino.dinov3(path)?);
            known.qkv_biases = Some([
                dino.query_bias.unwrap_or(true),
                dino.key_bias.unwrap_or(false),
                dino.value_bias.unwrap_or(true),
            ]);
            known.rope_base = dino.rope_theta.or(dino.rope_parameters.and_then(|rope| rope.rope_theta));
            if known.rope_base.is_some_and(|base| !(base.is_finite() && base > 0.0)) {
                return Err(json(path, "rope_theta must be finite and positive".into()));
            }
        }
        "dinov2" | "dinov2_with_registers" | "vit" | "vit_msn" => {
            let vit = model(value)?;
            known.config = Some(vit.plain(path, kind)?);
            known.qkv_biases = Some([vit.qkv_bias.unwrap_or(true); 3]);
        }
        other => {
            return Err(json(
                path,
                format!(
                    "model_type is '{other}'; of transformers' models dinov3_vit, dinov2, dinov2_with_registers, vit and \
                     vit_msn are read"
                ),
            ));
        }
    }
    Ok(())
}

impl Transformer {
    fn dinov3(&self, path: &Path) -> Result<Config, CheckpointError> {
        let gated = self.use_gated_mlp.unwrap_or(false);
        let (mlp, expected) = if gated { (Mlp::SwiGlu, "silu") } else { (Mlp::Gelu, "gelu") };
        let act = self.hidden_act.as_deref().unwrap_or("gelu");
        if act != expected {
            return Err(json(
                path,
                format!("hidden_act is '{act}'; with use_gated_mlp {gated} only {expected} is known"),
            ));
        }
        for (name, bias) in [("proj_bias", self.proj_bias), ("mlp_bias", self.mlp_bias)] {
            if bias == Some(false) {
                return Err(json(path, format!("{name} is false; no published DINOv3 lacks these biases")));
            }
        }
        let hidden =
            self.intermediate_size.ok_or_else(|| json(path, "intermediate_size is missing".into()))?;
        self.config(path, (mlp, hidden), Positions::Rope, true, 1e-5)
    }

    /// DINOv2 and ViT, which have learned positions.
    fn plain(&self, path: &Path, kind: &str) -> Result<Config, CheckpointError> {
        let dino = kind.starts_with("dinov2");
        let act = self.hidden_act.as_deref().unwrap_or("gelu");
        if act != "gelu" {
            return Err(json(path, format!("hidden_act is '{act}'; only gelu is known")));
        }
        let patch = self.patch(path, if dino { 14 } else { 16 })?;
        let image = self.image_size.map_or((224, 224), Sides::both);
        let (rows, cols) = (image.0 / patch.max(1), image.1 / patch.max(1));
        // "dinov2_with_registers" resizes positions with antialiasing, the others without.
        let resize =
            if kind == "dinov2_with_registers" { PositionResize::Antialiased } else { PositionResize::Plain };
        let wide = self.hidden_size.saturating_mul(4);
        let mlp = match (dino, self.use_swiglu_ffn.unwrap_or(false)) {
            (false, _) => (Mlp::Gelu, self.intermediate_size.unwrap_or(3072)),
            (true, swiglu) => {
                let hidden = self.mlp_ratio.map_or(wide, |ratio| (self.hidden_size as f64 * ratio) as usize);
                // Dinov2SwiGLUFFN: two thirds, rounded up to a multiple of eight.
                let two_thirds = (hidden as f64 * 2.0 / 3.0) as usize;
                if swiglu { (Mlp::SwiGlu, two_thirds.saturating_add(7) / 8 * 8) } else { (Mlp::Gelu, hidden) }
            }
        };
        let eps = if kind == "vit" { 1e-12 } else { 1e-6 };
        let positions = Positions::Learned { rows, cols, resize };
        let registers =
            if kind == "dinov2_with_registers" { self.num_register_tokens.or(Some(4)) } else { None };
        let config = self.config(path, mlp, positions, dino, eps)?;
        Ok(Config { patch, registers: registers.unwrap_or(0), ..config })
    }

    fn patch(&self, path: &Path, usual: usize) -> Result<usize, CheckpointError> {
        match self.patch_size.map_or((usual, usual), Sides::both) {
            (a, b) if a == b => Ok(a),
            (a, b) => Err(json(path, format!("patch_size is {a} x {b}; patches must be square"))),
        }
    }

    fn config(
        &self,
        path: &Path,
        (mlp, hidden): (Mlp, usize),
        positions: Positions,
        layer_scale: bool,
        eps: f32,
    ) -> Result<Config, CheckpointError> {
        if let Some(channels) = self.num_channels.filter(|channels| *channels != 3) {
            return Err(json(path, format!("num_channels is {channels}; the model must take RGB, 3")));
        }
        Ok(Config {
            dim: self.hidden_size,
            depth: self.num_hidden_layers,
            heads: self.num_attention_heads,
            patch: self.patch(path, 16)?,
            mlp,
            hidden,
            registers: self.num_register_tokens.unwrap_or(0),
            positions,
            layer_scale,
            norm_eps: self.layer_norm_eps.unwrap_or(eps),
        })
    }
}
