//! Builds [`Weights`] from named tensors.

use std::collections::BTreeMap;
use std::path::Path;

use super::CheckpointError;
use super::description::Description;
use super::layout::Layout;
use super::naming::Part;
use crate::vit::{self, Block, Config, FeedForward, Linear, Mlp, Norm, Positions, Weights, default_periods};

/// Takes the parts of a checked layout from the values that were read.
struct Parts<'a> {
    layout: &'a Layout,
    values: BTreeMap<String, Vec<f32>>,
}

impl Parts<'_> {
    /// The values of `part`; empty if the file does not have it.
    fn take(&mut self, part: Part, block: usize) -> Vec<f32> {
        self.layout.name(part, block).and_then(|name| self.values.remove(name)).unwrap_or_default()
    }

    /// The values of `part`; `n` zeros if the file does not have it.
    fn take_or_zeros(&mut self, part: Part, block: usize, n: usize) -> Vec<f32> {
        let values = self.take(part, block);
        if values.is_empty() { vec![0.0; n] } else { values }
    }

    fn linear(&mut self, weight: Part, bias: Part, block: usize) -> Linear {
        Linear { weight: self.take(weight, block), bias: self.take(bias, block) }
    }

    fn norm(&mut self, weight: Part, bias: Part, block: usize) -> Norm {
        Norm { weight: self.take(weight, block), bias: self.take(bias, block) }
    }

    /// Query, key and value, stacked.
    fn qkv(&mut self, dim: usize, block: usize) -> Linear {
        let mut weight = self.take(Part::QkvWeight, block);
        for part in [Part::QWeight, Part::KWeight, Part::VWeight] {
            weight.extend(self.take(part, block));
        }
        let mut bias = self.take(Part::QkvBias, block);
        if bias.is_empty() {
            for part in [Part::QBias, Part::KBias, Part::VBias] {
                bias.extend(self.take_or_zeros(part, block, dim));
            }
        }
        for (b, m) in bias.iter_mut().zip(self.take(Part::QkvBiasMask, block)) {
            *b = if m == 0.0 { 0.0 } else { *b };
        }
        Linear { weight, bias }
    }
}

/// Builds the weights of `config` from `values`, which hold every part of `layout`.
pub(super) fn assemble(
    path: &Path,
    layout: &Layout,
    config: &Config,
    known: &Description,
    values: BTreeMap<String, Vec<f32>>,
) -> Result<Weights, CheckpointError> {
    let mut parts = Parts { layout, values };
    check_values(path, &parts, config.depth)?;
    let mut blocks = Vec::with_capacity(config.depth);
    for i in 0..config.depth {
        let mut up = parts.linear(Part::UpWeight, Part::UpBias, i);
        let packed_gate = layout.packed().then(|| {
            // The gate's rows come first (timm's GluMlp with gate_last false, transformers' Dinov2SwiGLUFFN).
            let value = Linear {
                weight: up.weight.split_off(config.hidden * config.dim),
                bias: up.bias.split_off(config.hidden),
            };
            std::mem::replace(&mut up, value)
        });
        let down = parts.linear(Part::DownWeight, Part::DownBias, i);
        blocks.push(Block {
            norm1: parts.norm(Part::Norm1Weight, Part::Norm1Bias, i),
            qkv: parts.qkv(config.dim, i),
            proj: parts.linear(Part::ProjWeight, Part::ProjBias, i),
            scale1: parts.take(Part::Scale1, i),
            norm2: parts.norm(Part::Norm2Weight, Part::Norm2Bias, i),
            mlp: match config.mlp {
                Mlp::Gelu => FeedForward::Gelu { up, down },
                Mlp::SwiGlu => {
                    let gate =
                        packed_gate.unwrap_or_else(|| parts.linear(Part::GateWeight, Part::GateBias, i));
                    FeedForward::SwiGlu { gate, up, down }
                }
            },
            scale2: parts.take(Part::Scale2, i),
        });
    }
    let mut positions = parts.take(Part::LearnedPositions, 0);
    let mut registers = parts.take(Part::Registers, 0);
    match layout.prefix_positions(config) {
        // CLS has no position.
        0 if !positions.is_empty() => drop(positions.splice(0..0, vec![0.0; config.dim])),
        // Registers have positions too, which are constant and are added to them here.
        before if before > 1 => {
            let of_registers = positions.drain(config.dim..before * config.dim);
            registers.iter_mut().zip(of_registers).for_each(|(token, position)| *token += position);
        }
        _ => {}
    }
    let weights = Weights {
        patch: parts.linear(Part::PatchWeight, Part::PatchBias, 0),
        cls: parts.take(Part::Cls, 0),
        registers,
        positions,
        rope_periods: match config.positions {
            Positions::Rope => rope_periods(parts.take(Part::Periods, 0), config, known),
            Positions::Learned { .. } => Vec::new(),
        },
        blocks,
        norm: parts.norm(Part::NormWeight, Part::NormBias, 0),
    };
    let wrong = |source| CheckpointError::Weights { path: path.to_owned(), source };
    weights.validate(config).map_err(wrong)?;
    Ok(weights)
}

/// The file's periods if it has them, else those of the base in its config, else DINOv3's.
fn rope_periods(stored: Vec<f32>, config: &Config, known: &Description) -> Vec<f32> {
    let head_dim = config.head_dim();
    match known.rope_base {
        _ if !stored.is_empty() => stored,
        Some(base) if base != 100.0 => vit::rope_periods(base, head_dim),
        _ => default_periods(head_dim),
    }
}

/// Refuses finite but meaningless values: a mask that is neither 0 nor 1, a period that is not positive.
fn check_values(path: &Path, parts: &Parts, depth: usize) -> Result<(), CheckpointError> {
    let check = |part, block, expected, good: &dyn Fn(f32) -> bool| {
        let Some(name) = parts.layout.name(part, block) else { return Ok(()) };
        let bad = parts.values.get(name).and_then(|values| {
            let index = values.iter().position(|v| !good(*v))?;
            Some((index, values[index]))
        });
        match bad {
            None => Ok(()),
            Some((index, value)) => {
                let (path, tensor) = (path.to_owned(), name.to_owned());
                Err(CheckpointError::Value { path, tensor, index, value, expected })
            }
        }
    };
    for block in 0..depth {
        check(Part::QkvBiasMask, block, "0 or 1", &|m| m == 0.0 || m == 1.0)?;
    }
    check(Part::Periods, 0, "a positive period", &|p| p > 0.0)
}
