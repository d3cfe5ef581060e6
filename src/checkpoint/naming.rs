//! Tensor names used by the publishers of checkpoints.
//!
//! Sources: transformers' `modeling_dinov3_vit.py` and `conversion_mapping.py` (5.23), timm's `eva.py` and
//! `vision_transformer.py` (1.0.31), and the table of Meta's names in transformers' `convert_dinov3_vit_to_hf.py`.

use serde::{Deserialize, Serialize};

/// Naming scheme of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Naming {
    /// transformers' `DINOv3ViTModel`.
    HuggingFace,
    /// transformers' `Dinov2Model`, `Dinov2WithRegistersModel`, `ViTModel` and `ViTMSNModel`.
    Encoder,
    /// timm's `Eva` (DINOv3) and `VisionTransformer` (plain ViTs).
    Timm,
    /// open_clip: timm's names with the prefix `visual.trunk.`, beside a text tower.
    OpenClip,
    /// Meta's own names, used in DINOv3's training.
    Meta,
    /// An ONNX export, whose initialisers keep few names.
    Onnx,
    /// No file: weights drawn from a seed.
    Seeded,
}

impl std::fmt::Display for Naming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Naming::HuggingFace | Naming::Encoder => "Hugging Face",
            Naming::Timm => "timm",
            Naming::OpenClip => "open_clip",
            Naming::Meta => "Meta",
            Naming::Onnx => "ONNX",
            Naming::Seeded => "seeded",
        })
    }
}

/// The role of a tensor, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Cls,
    Registers,
    LearnedPositions,
    Periods,
    PatchWeight,
    PatchBias,
    NormWeight,
    NormBias,
    Norm1Weight,
    Norm1Bias,
    QWeight,
    QBias,
    KWeight,
    KBias,
    VWeight,
    VBias,
    QkvWeight,
    QkvBias,
    QkvBiasMask,
    ProjWeight,
    ProjBias,
    Scale1,
    Norm2Weight,
    Norm2Bias,
    GateWeight,
    GateBias,
    UpWeight,
    UpBias,
    DownWeight,
    DownBias,
    Scale2,
    /// Known, but not used in the backbone's forward pass.
    Unused,
}

/// A name pattern, with `{i}` for the block index, and the part it names. If two patterns name one part, the first is
/// the usual one.
type Table = &'static [(&'static str, Part)];

const HUGGING_FACE: Table = &[
    ("embeddings.cls_token", Part::Cls),
    ("embeddings.register_tokens", Part::Registers),
    ("embeddings.mask_token", Part::Unused),
    ("embeddings.patch_embeddings.weight", Part::PatchWeight),
    ("embeddings.patch_embeddings.bias", Part::PatchBias),
    ("layer.{i}.norm1.weight", Part::Norm1Weight),
    ("layer.{i}.norm1.bias", Part::Norm1Bias),
    ("layer.{i}.attention.q_proj.weight", Part::QWeight),
    ("layer.{i}.attention.q_proj.bias", Part::QBias),
    ("layer.{i}.attention.k_proj.weight", Part::KWeight),
    ("layer.{i}.attention.k_proj.bias", Part::KBias),
    ("layer.{i}.attention.v_proj.weight", Part::VWeight),
    ("layer.{i}.attention.v_proj.bias", Part::VBias),
    ("layer.{i}.attention.o_proj.weight", Part::ProjWeight),
    ("layer.{i}.attention.o_proj.bias", Part::ProjBias),
    ("layer.{i}.layer_scale1.lambda1", Part::Scale1),
    ("layer.{i}.norm2.weight", Part::Norm2Weight),
    ("layer.{i}.norm2.bias", Part::Norm2Bias),
    ("layer.{i}.mlp.gate_proj.weight", Part::GateWeight),
    ("layer.{i}.mlp.gate_proj.bias", Part::GateBias),
    ("layer.{i}.mlp.up_proj.weight", Part::UpWeight),
    ("layer.{i}.mlp.up_proj.bias", Part::UpBias),
    ("layer.{i}.mlp.down_proj.weight", Part::DownWeight),
    ("layer.{i}.mlp.down_proj.bias", Part::DownBias),
    ("layer.{i}.layer_scale2.lambda1", Part::Scale2),
    ("norm.weight", Part::NormWeight),
    ("norm.bias", Part::NormBias),
];

/// DINOv2 and ViT; their classifiers prefix these names with the model's name.
const ENCODER: Table = &[
    ("embeddings.cls_token", Part::Cls),
    ("embeddings.register_tokens", Part::Registers),
    ("embeddings.mask_token", Part::Unused),
    ("embeddings.position_embeddings", Part::LearnedPositions),
    ("embeddings.patch_embeddings.projection.weight", Part::PatchWeight),
    ("embeddings.patch_embeddings.projection.bias", Part::PatchBias),
    ("encoder.layer.{i}.norm1.weight", Part::Norm1Weight),
    ("encoder.layer.{i}.norm1.bias", Part::Norm1Bias),
    ("encoder.layer.{i}.layernorm_before.weight", Part::Norm1Weight),
    ("encoder.layer.{i}.layernorm_before.bias", Part::Norm1Bias),
    ("encoder.layer.{i}.attention.attention.query.weight", Part::QWeight),
    ("encoder.layer.{i}.attention.attention.query.bias", Part::QBias),
    ("encoder.layer.{i}.attention.attention.key.weight", Part::KWeight),
    ("encoder.layer.{i}.attention.attention.key.bias", Part::KBias),
    ("encoder.layer.{i}.attention.attention.value.weight", Part::VWeight),
    ("encoder.layer.{i}.attention.attention.value.bias", Part::VBias),
    ("encoder.layer.{i}.attention.output.dense.weight", Part::ProjWeight),
    ("encoder.layer.{i}.attention.output.dense.bias", Part::ProjBias),
    ("encoder.layer.{i}.layer_scale1.lambda1", Part::Scale1),
    ("encoder.layer.{i}.norm2.weight", Part::Norm2Weight),
    ("encoder.layer.{i}.norm2.bias", Part::Norm2Bias),
    ("encoder.layer.{i}.layernorm_after.weight", Part::Norm2Weight),
    ("encoder.layer.{i}.layernorm_after.bias", Part::Norm2Bias),
    ("encoder.layer.{i}.mlp.fc1.weight", Part::UpWeight),
    ("encoder.layer.{i}.mlp.fc1.bias", Part::UpBias),
    // SwiGLU: gate and value rows in one matrix.
    ("encoder.layer.{i}.mlp.weights_in.weight", Part::UpWeight),
    ("encoder.layer.{i}.mlp.weights_in.bias", Part::UpBias),
    ("encoder.layer.{i}.intermediate.dense.weight", Part::UpWeight),
    ("encoder.layer.{i}.intermediate.dense.bias", Part::UpBias),
    ("encoder.layer.{i}.mlp.fc2.weight", Part::DownWeight),
    ("encoder.layer.{i}.mlp.fc2.bias", Part::DownBias),
    ("encoder.layer.{i}.mlp.weights_out.weight", Part::DownWeight),
    ("encoder.layer.{i}.mlp.weights_out.bias", Part::DownBias),
    ("encoder.layer.{i}.output.dense.weight", Part::DownWeight),
    ("encoder.layer.{i}.output.dense.bias", Part::DownBias),
    ("encoder.layer.{i}.layer_scale2.lambda1", Part::Scale2),
    ("layernorm.weight", Part::NormWeight),
    ("layernorm.bias", Part::NormBias),
    ("pooler.dense.weight", Part::Unused),
    ("pooler.dense.bias", Part::Unused),
    ("classifier.weight", Part::Unused),
    ("classifier.bias", Part::Unused),
];

const TIMM: Table = &[
    ("cls_token", Part::Cls),
    ("reg_token", Part::Registers),
    ("mask_token", Part::Unused),
    ("pos_embed", Part::LearnedPositions),
    ("patch_embed.proj.weight", Part::PatchWeight),
    ("patch_embed.proj.bias", Part::PatchBias),
    ("blocks.{i}.norm1.weight", Part::Norm1Weight),
    ("blocks.{i}.norm1.bias", Part::Norm1Bias),
    ("blocks.{i}.attn.qkv.weight", Part::QkvWeight),
    ("blocks.{i}.attn.qkv.bias", Part::QkvBias),
    // Eva with qkv_bias, the `_qkvb` variants: K has no bias.
    ("blocks.{i}.attn.q_bias", Part::QBias),
    ("blocks.{i}.attn.v_bias", Part::VBias),
    ("blocks.{i}.attn.proj.weight", Part::ProjWeight),
    ("blocks.{i}.attn.proj.bias", Part::ProjBias),
    ("blocks.{i}.gamma_1", Part::Scale1),
    ("blocks.{i}.ls1.gamma", Part::Scale1),
    ("blocks.{i}.norm2.weight", Part::Norm2Weight),
    ("blocks.{i}.norm2.bias", Part::Norm2Bias),
    ("blocks.{i}.mlp.fc1_g.weight", Part::GateWeight),
    ("blocks.{i}.mlp.fc1_g.bias", Part::GateBias),
    ("blocks.{i}.mlp.fc1.weight", Part::UpWeight),
    ("blocks.{i}.mlp.fc1.bias", Part::UpBias),
    ("blocks.{i}.mlp.fc1_x.weight", Part::UpWeight),
    ("blocks.{i}.mlp.fc1_x.bias", Part::UpBias),
    ("blocks.{i}.mlp.fc2.weight", Part::DownWeight),
    ("blocks.{i}.mlp.fc2.bias", Part::DownBias),
    ("blocks.{i}.gamma_2", Part::Scale2),
    ("blocks.{i}.ls2.gamma", Part::Scale2),
    ("norm.weight", Part::NormWeight),
    ("norm.bias", Part::NormBias),
    ("head.weight", Part::Unused),
    ("head.bias", Part::Unused),
];

const META: Table = &[
    ("cls_token", Part::Cls),
    ("storage_tokens", Part::Registers),
    ("mask_token", Part::Unused),
    ("rope_embed.periods", Part::Periods),
    ("patch_embed.proj.weight", Part::PatchWeight),
    ("patch_embed.proj.bias", Part::PatchBias),
    ("blocks.{i}.norm1.weight", Part::Norm1Weight),
    ("blocks.{i}.norm1.bias", Part::Norm1Bias),
    ("blocks.{i}.attn.qkv.weight", Part::QkvWeight),
    ("blocks.{i}.attn.qkv.bias", Part::QkvBias),
    ("blocks.{i}.attn.qkv.bias_mask", Part::QkvBiasMask),
    ("blocks.{i}.attn.proj.weight", Part::ProjWeight),
    ("blocks.{i}.attn.proj.bias", Part::ProjBias),
    ("blocks.{i}.ls1.gamma", Part::Scale1),
    ("blocks.{i}.norm2.weight", Part::Norm2Weight),
    ("blocks.{i}.norm2.bias", Part::Norm2Bias),
    // SwiGLU: w1 is the gate (SiLU), w2 the up projection, w3 the down projection.
    ("blocks.{i}.mlp.w1.weight", Part::GateWeight),
    ("blocks.{i}.mlp.w1.bias", Part::GateBias),
    ("blocks.{i}.mlp.fc1.weight", Part::UpWeight),
    ("blocks.{i}.mlp.fc1.bias", Part::UpBias),
    ("blocks.{i}.mlp.w2.weight", Part::UpWeight),
    ("blocks.{i}.mlp.w2.bias", Part::UpBias),
    ("blocks.{i}.mlp.fc2.weight", Part::DownWeight),
    ("blocks.{i}.mlp.fc2.bias", Part::DownBias),
    ("blocks.{i}.mlp.w3.weight", Part::DownWeight),
    ("blocks.{i}.mlp.w3.bias", Part::DownBias),
    ("blocks.{i}.ls2.gamma", Part::Scale2),
    ("norm.weight", Part::NormWeight),
    ("norm.bias", Part::NormBias),
    ("head.weight", Part::Unused),
    ("head.bias", Part::Unused),
    // Norm of CLS in local crops, used only in training.
    ("local_cls_norm.weight", Part::Unused),
    ("local_cls_norm.bias", Part::Unused),
];

/// Prefix of the image tower's trunk in open_clip's names.
const TRUNK: &str = "visual.trunk.";

impl Naming {
    /// The naming scheme of these names; `None` if unknown.
    pub(super) fn detect<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<Naming> {
        let any = |test: &dyn Fn(&str) -> bool| names.clone().any(test);
        if any(&|n| n.starts_with(TRUNK)) {
            Some(Naming::OpenClip)
        } else if any(&|n| n.ends_with("embeddings.patch_embeddings.projection.weight")) {
            Some(Naming::Encoder)
        } else if any(&|n| n == "embeddings.patch_embeddings.weight" || n == "embeddings.register_tokens") {
            Some(Naming::HuggingFace)
        } else if any(&|n| {
            matches!(n, "storage_tokens" | "rope_embed.periods") || n.ends_with(".qkv.bias_mask")
        }) {
            Some(Naming::Meta)
        } else if any(&|n| n == "patch_embed.proj.weight" || n == "cls_token") {
            Some(Naming::Timm)
        } else {
            None
        }
    }

    fn table(self) -> Table {
        match self {
            Naming::HuggingFace => HUGGING_FACE,
            Naming::Encoder => ENCODER,
            Naming::Timm | Naming::OpenClip => TIMM,
            Naming::Meta => META,
            Naming::Onnx | Naming::Seeded => &[],
        }
    }

    /// The part that `name` stands for and its block (0 outside the blocks); `None` for an unknown name.
    pub(super) fn part(self, name: &str) -> Option<(Part, usize)> {
        let name = match self {
            Naming::OpenClip => match name.strip_prefix(TRUNK) {
                Some(name) => name,
                None if name.starts_with("text.") || name.starts_with("visual.head.") => {
                    return Some((Part::Unused, 0));
                }
                None if matches!(name, "logit_scale" | "logit_bias") => return Some((Part::Unused, 0)),
                None => return None,
            },
            Naming::HuggingFace => canonical(name),
            Naming::Encoder => ["dinov2.", "dinov2_with_registers.", "vit."]
                .into_iter()
                .find_map(|prefix| name.strip_prefix(prefix))
                .unwrap_or(name),
            _ => name,
        };
        let (pattern, block) = pattern(name);
        let found = self.table().iter().find(|(known, _)| *known == pattern)?;
        Some((found.1, block))
    }

    /// The name of `part` in `block`: the inverse of [`Naming::part`], for error messages. `swiglu` chooses between the
    /// names of the two kinds of MLP.
    pub(super) fn name(self, part: Part, block: usize, swiglu: bool) -> String {
        let mut names = self.table().iter().filter(|(_, p)| *p == part).map(|(pattern, _)| *pattern);
        let first = names.next().unwrap_or("?");
        let gated = matches!(part, Part::UpWeight | Part::UpBias | Part::DownWeight | Part::DownBias);
        let pattern = if swiglu && gated { names.next().unwrap_or(first) } else { first };
        let prefix = if self == Naming::OpenClip { TRUNK } else { "" };
        format!("{prefix}{}", pattern.replace("{i}", &block.to_string()))
    }

    /// Whether query, key and value are separate tensors.
    pub(super) fn splits_qkv(self) -> bool {
        matches!(self, Naming::HuggingFace | Naming::Encoder)
    }
}

/// transformers 5 names the layers `model.layer.N` in memory, but files have `layer.N`: 5.23 still renames on saving. A
/// file written without the renaming means the same.
pub(super) fn canonical(name: &str) -> &str {
    match name.strip_prefix("model.") {
        Some(rest) if rest.starts_with("layer.") => rest,
        _ => name,
    }
}

/// Replaces the first number between dots by `{i}`: `layer.3.norm1.bias` gives `layer.{i}.norm1.bias` and 3.
fn pattern(name: &str) -> (String, usize) {
    let mut block = None;
    let segments: Vec<&str> = name
        .split('.')
        .map(|segment| match segment.parse::<usize>() {
            // Accept only the usual spelling: `03` would be a second name for block 3.
            Ok(n) if block.is_none() && n.to_string() == segment => {
                block = Some(n);
                "{i}"
            }
            _ => segment,
        })
        .collect();
    (segments.join("."), block.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_parts_are_inverse() {
        for naming in [Naming::HuggingFace, Naming::Encoder, Naming::Timm, Naming::OpenClip, Naming::Meta] {
            for (_, part) in naming.table().iter().filter(|(_, p)| *p != Part::Unused) {
                for swiglu in [false, true] {
                    let name = naming.name(*part, 0, swiglu);
                    assert_eq!(naming.part(&name), Some((*part, 0)), "{naming}: {name}");
                }
            }
        }
    }

    #[test]
    fn reads_the_number_of_a_block() {
        let hf = Naming::HuggingFace;
        assert_eq!(hf.part("layer.11.norm1.bias"), Some((Part::Norm1Bias, 11)));
        assert_eq!(hf.part("model.layer.7.norm1.bias"), Some((Part::Norm1Bias, 7)));
        assert_eq!(hf.part("layer.07.norm1.bias"), None);
        assert_eq!(hf.part("layer.99999999999999999999999.norm1.bias"), None);
        assert_eq!(hf.part("layer.1.2.norm1.bias"), None);
        assert_eq!(Naming::OpenClip.part("text.transformer.x"), Some((Part::Unused, 0)));
        assert_eq!(Naming::OpenClip.part("visual.conv1.weight"), None);
    }

    /// Copied from `state_dict()` of timm 1.0.31 and transformers 5.23, and from the table of Meta's names in
    /// transformers' conversion script, because the fixtures of the other tests take their names from the tables under
    /// test.
    #[test]
    fn names_that_are_easily_confused() {
        let (hf, timm, meta) = (Naming::HuggingFace, Naming::Timm, Naming::Meta);
        for (naming, name, part) in [
            (hf, "layer.0.mlp.gate_proj.weight", Part::GateWeight),
            (hf, "layer.0.mlp.up_proj.weight", Part::UpWeight),
            (hf, "layer.0.mlp.down_proj.weight", Part::DownWeight),
            (hf, "layer.0.layer_scale1.lambda1", Part::Scale1),
            (hf, "layer.0.attention.o_proj.weight", Part::ProjWeight),
            (timm, "blocks.0.mlp.fc1_g.weight", Part::GateWeight),
            (timm, "blocks.0.mlp.fc1_x.weight", Part::UpWeight),
            (timm, "blocks.0.mlp.fc1.weight", Part::UpWeight),
            (timm, "blocks.0.mlp.fc2.weight", Part::DownWeight),
            (timm, "blocks.0.gamma_1", Part::Scale1),
            (timm, "blocks.0.gamma_2", Part::Scale2),
            (timm, "reg_token", Part::Registers),
            (meta, "blocks.0.mlp.w1.weight", Part::GateWeight),
            (meta, "blocks.0.mlp.w2.weight", Part::UpWeight),
            (meta, "blocks.0.mlp.w3.weight", Part::DownWeight),
            (meta, "blocks.0.attn.qkv.bias_mask", Part::QkvBiasMask),
            (meta, "blocks.0.ls1.gamma", Part::Scale1),
            (meta, "blocks.0.ls2.gamma", Part::Scale2),
            (meta, "storage_tokens", Part::Registers),
            (meta, "rope_embed.periods", Part::Periods),
        ] {
            assert_eq!(naming.part(name), Some((part, 0)), "{naming}: {name}");
        }
    }

    #[test]
    fn swiglu_has_its_own_names() {
        assert_eq!(Naming::Timm.name(Part::UpWeight, 2, true), "blocks.2.mlp.fc1_x.weight");
        assert_eq!(Naming::Timm.name(Part::DownWeight, 2, true), "blocks.2.mlp.fc2.weight");
        assert_eq!(Naming::Meta.name(Part::DownBias, 2, true), "blocks.2.mlp.w3.bias");
        assert_eq!(Naming::Meta.name(Part::DownBias, 2, false), "blocks.2.mlp.fc2.bias");
    }
}
