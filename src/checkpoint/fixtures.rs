//! Small files for the tests: one model in every naming and data type.

use std::collections::BTreeMap;
use std::path::PathBuf;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use tempfile::TempDir;

use super::*;
use crate::vit::{Mlp, Weights};

/// Name, shape and values of each tensor of a file.
pub(super) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

pub(super) fn tiny(mlp: Mlp) -> Config {
    Config {
        dim: 16,
        depth: 2,
        heads: 2,
        patch: 4,
        mlp,
        hidden: 24,
        registers: 3,
        positions: Positions::Rope,
        layer_scale: true,
        norm_eps: 1e-5,
    }
}

/// Seeded weights whose block norms, scales and biases, and final norm bias, have distinct values, so that a mix-up
/// shows. K's bias is zero, because DINOv3 has none; the patch bias and the final norm's weight keep their constant
/// values.
pub(super) fn distinct_weights(config: &Config) -> Weights {
    let mut weights = vit::seeded_weights(config, 1);
    let mut next = 0.0;
    let mut fill = |values: &mut Vec<f32>| {
        for value in values {
            next += 1.0 / 1024.0;
            *value = next;
        }
    };
    fill(&mut weights.norm.bias);
    for block in &mut weights.blocks {
        let dim = config.dim;
        let (norms, scales) = ([&mut block.norm1, &mut block.norm2], [&mut block.scale1, &mut block.scale2]);
        for norm in norms {
            fill(&mut norm.weight);
            fill(&mut norm.bias);
        }
        scales.into_iter().for_each(&mut fill);
        fill(&mut block.qkv.bias);
        block.qkv.bias[dim..2 * dim].fill(0.0);
        fill(&mut block.proj.bias);
        block.mlp.layers_mut().for_each(|linear| fill(&mut linear.bias));
    }
    weights
}

/// The tensors of a model in `naming`; K's bias is omitted if the naming allows it.
pub(super) fn tensors(config: &Config, weights: &Weights, naming: Naming) -> Tensors {
    let Config { dim, hidden, patch, registers, .. } = *config;
    let swiglu = config.mlp == Mlp::SwiGlu;
    let mut out = Tensors::new();
    let mut put = |part: Part, block: usize, shape: &[usize], values: &[f32]| {
        out.insert(naming.name(part, block, swiglu), (shape.to_vec(), values.to_vec()));
    };
    put(Part::Cls, 0, &[1, 1, dim], &weights.cls);
    if registers > 0 {
        put(Part::Registers, 0, &[1, registers, dim], &weights.registers);
    }
    if !weights.positions.is_empty() {
        put(Part::LearnedPositions, 0, &[1, weights.positions.len() / dim, dim], &weights.positions);
    }
    put(Part::PatchWeight, 0, &[dim, 3, patch, patch], &weights.patch.weight);
    put(Part::PatchBias, 0, &[dim], &weights.patch.bias);
    put(Part::NormWeight, 0, &[dim], &weights.norm.weight);
    put(Part::NormBias, 0, &[dim], &weights.norm.bias);
    if naming == Naming::Meta {
        put(Part::Periods, 0, &[config.head_dim() / 4], &weights.rope_periods);
    }
    for (i, block) in weights.blocks.iter().enumerate() {
        put(Part::Norm1Weight, i, &[dim], &block.norm1.weight);
        put(Part::Norm1Bias, i, &[dim], &block.norm1.bias);
        put(Part::Norm2Weight, i, &[dim], &block.norm2.weight);
        put(Part::Norm2Bias, i, &[dim], &block.norm2.bias);
        put(Part::ProjWeight, i, &[dim, dim], &block.proj.weight);
        put(Part::ProjBias, i, &[dim], &block.proj.bias);
        if config.layer_scale {
            put(Part::Scale1, i, &[dim], &block.scale1);
            put(Part::Scale2, i, &[dim], &block.scale2);
        }
        let (q, k, v) = (0..dim, dim..2 * dim, 2 * dim..3 * dim);
        match naming {
            Naming::HuggingFace => {
                for (part, rows) in [(Part::QWeight, &q), (Part::KWeight, &k), (Part::VWeight, &v)] {
                    put(part, i, &[dim, dim], &block.qkv.weight[rows.start * dim..rows.end * dim]);
                }
                put(Part::QBias, i, &[dim], &block.qkv.bias[q]);
                put(Part::VBias, i, &[dim], &block.qkv.bias[v]);
            }
            Naming::Timm if config.positions == Positions::Rope => {
                put(Part::QkvWeight, i, &[3 * dim, dim], &block.qkv.weight);
                put(Part::QBias, i, &[dim], &block.qkv.bias[q]);
                put(Part::VBias, i, &[dim], &block.qkv.bias[v]);
            }
            _ => {
                put(Part::QkvWeight, i, &[3 * dim, dim], &block.qkv.weight);
                let mut bias = block.qkv.bias.clone();
                if naming == Naming::Meta {
                    // The values under the mask must not matter.
                    bias[k.clone()].fill(0.5);
                    let mut mask = vec![1.0; 3 * dim];
                    mask[k].fill(0.0);
                    put(Part::QkvBiasMask, i, &[3 * dim], &mask);
                }
                put(Part::QkvBias, i, &[3 * dim], &bias);
            }
        }
        let (up, down) = (block.mlp.up(), block.mlp.down());
        if let Some(gate) = block.mlp.gate() {
            put(Part::GateWeight, i, &[hidden, dim], &gate.weight);
            put(Part::GateBias, i, &[hidden], &gate.bias);
        }
        put(Part::UpWeight, i, &[hidden, dim], &up.weight);
        put(Part::UpBias, i, &[hidden], &up.bias);
        put(Part::DownWeight, i, &[dim, hidden], &down.weight);
        put(Part::DownBias, i, &[dim], &down.bias);
    }
    out
}

/// The bytes of a safetensors file of `tensors` in `dtype`.
pub(super) fn serialized(tensors: &Tensors, dtype: Dtype) -> Vec<u8> {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = match dtype {
                Dtype::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
                Dtype::BF16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
                Dtype::F64 => values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect(),
                _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            };
            (name, shape, bytes)
        })
        .collect();
    let views =
        bytes.iter().map(|(name, shape, b)| (*name, TensorView::new(dtype, (*shape).clone(), b).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// A temporary folder with the file in it, as `model.safetensors`, and the path of the file.
pub(super) fn folder(bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

pub(super) fn load_bytes(bytes: &[u8]) -> Result<Model, CheckpointError> {
    let (_dir, path) = folder(bytes);
    load(&path)
}

pub(super) fn load_tensors(tensors: &Tensors) -> Result<Model, CheckpointError> {
    load_bytes(&serialized(tensors, Dtype::F32))
}

/// transformers' config.json for `config`.
pub(super) fn config_json(config: &Config) -> serde_json::Value {
    let gated = config.mlp == Mlp::SwiGlu;
    serde_json::json!({
        "model_type": "dinov3_vit", "patch_size": config.patch, "hidden_size": config.dim,
        "intermediate_size": config.hidden, "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads, "num_register_tokens": config.registers, "num_channels": 3,
        "hidden_act": if gated { "silu" } else { "gelu" }, "use_gated_mlp": gated,
        "layer_norm_eps": 1e-5, "rope_theta": 100.0, "query_bias": true, "key_bias": false, "value_bias": true,
        "proj_bias": true, "mlp_bias": true,
    })
}
