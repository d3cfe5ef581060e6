//! Which tensor of a file is which part of the model, checked from the header alone, before any weight is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::Entry;
use super::json::Description;
use super::naming::{Naming, Part};
use super::{Card, CheckpointError};
use crate::vit::{Config, Mlp, Positions};

/// The parts that a file holds.
pub(super) struct Layout {
    path: PathBuf,
    pub naming: Naming,
    /// Name and shape, without leading ones, of each part in each block (0 outside the blocks).
    parts: BTreeMap<(Part, usize), (String, Vec<usize>)>,
}

impl Layout {
    /// Sorts `entries` into parts.
    pub fn new(path: &Path, entries: &[Entry]) -> Result<Layout, CheckpointError> {
        let names = entries.iter().map(|e| e.name.as_str());
        let architecture = |problem: String| CheckpointError::Architecture { path: path.to_owned(), problem };
        let Some(naming) = Naming::detect(names.clone()) else {
            let first = names.take(3).collect::<Vec<_>>().join(", ");
            return Err(architecture(format!(
                "no vision transformer is recognised by its tensor names (they begin {first}); \
                 Hugging Face DINOv3, timm, open_clip and Meta names are"
            )));
        };
        let mut layout = Layout { path: path.to_owned(), naming, parts: BTreeMap::new() };
        for entry in entries {
            if entry.name.ends_with("dist_token") {
                return Err(architecture(
                    "tensor dist_token: a distilled DeiT has a second class token, which is not supported; \
                     use the undistilled model"
                        .into(),
                ));
            }
            let extra = || layout.extra(&entry.name);
            let (part, block) = naming.part(&entry.name).ok_or_else(extra)?;
            if part == Part::Unused {
                continue;
            }
            if layout.parts.contains_key(&(part, block)) {
                return Err(extra());
            }
            layout.parts.insert((part, block), (entry.name.clone(), squeezed(&entry.shape)));
        }
        Ok(layout)
    }

    fn extra(&self, tensor: &str) -> CheckpointError {
        let model = format!("a backbone in {} naming", self.naming);
        CheckpointError::Extra { path: self.path.clone(), tensor: tensor.to_owned(), model }
    }

    fn architecture(&self, problem: String) -> CheckpointError {
        CheckpointError::Architecture { path: self.path.clone(), problem }
    }

    fn missing(&self, part: Part, block: usize, swiglu: bool) -> CheckpointError {
        CheckpointError::Missing { path: self.path.clone(), tensor: self.naming.name(part, block, swiglu) }
    }

    /// The name of `part` in `block`, where the file has it.
    pub fn name(&self, part: Part, block: usize) -> Option<&str> {
        self.parts.get(&(part, block)).map(|(name, _)| name.as_str())
    }

    fn has(&self, part: Part) -> bool {
        self.parts.contains_key(&(part, 0))
    }

    /// Side number `axis` of a part that every checkpoint has.
    fn side(&self, part: Part, axis: usize) -> Result<usize, CheckpointError> {
        let (name, shape) = self.parts.get(&(part, 0)).ok_or_else(|| self.missing(part, 0, self.swiglu()))?;
        shape
            .get(axis)
            .copied()
            .ok_or_else(|| self.architecture(format!("tensor {name} has shape {shape:?}, too few sides")))
    }

    fn swiglu(&self) -> bool {
        self.has(Part::GateWeight)
    }

    /// The architecture as the shapes tell it. They do not tell the number of heads, nor epsilon: heads come from the
    /// rotary periods where the file has them, else from timm's `config.json`, else from the card that matches in all
    /// else, else each is 64 wide, as in the published ViTs of the family; epsilon is DINOv3's 1e-5 with rotary
    /// positions and ViT's 1e-6 without.
    pub fn infer(&self, known: &Description) -> Result<Config, CheckpointError> {
        let dim = self.side(Part::Cls, 0)?;
        let registers = if self.has(Part::Registers) { self.registers(dim)? } else { 0 };
        let positions = self.positions(registers)?;
        let rope = positions == Positions::Rope;
        // Other rotary ViTs (timm's RoPE-ViT with registers) differ in their angles, which no tensor shows.
        if let Some(name) = known.architecture.as_ref().filter(|name| rope && !name.contains("dinov3")) {
            return Err(self.architecture(format!("{name} has rotary positions and is not DINOv3")));
        }
        let mut config = Config {
            dim,
            depth: self.parts.keys().map(|(_, block)| *block).max().unwrap_or(0).saturating_add(1),
            heads: (dim / 64).max(1),
            patch: self.side(Part::PatchWeight, 3)?,
            mlp: if self.swiglu() { Mlp::SwiGlu } else { Mlp::Gelu },
            hidden: self.side(Part::UpWeight, 0)?,
            registers,
            positions,
            layer_scale: self.has(Part::Scale1),
            norm_eps: if rope { 1e-5 } else { 1e-6 },
        };
        if self.has(Part::Periods) {
            config.heads = dim / self.side(Part::Periods, 0)?.saturating_mul(4).max(1);
        } else if let Some(heads) = known.heads {
            config.heads = heads;
        } else if let Some(card) = super::cards().iter().find(|card| {
            let Config { heads, norm_eps, .. } = card.architecture;
            card.architecture == Config { heads, norm_eps, ..config }
        }) {
            config.heads = card.architecture.heads;
        }
        Ok(config)
    }

    fn registers(&self, dim: usize) -> Result<usize, CheckpointError> {
        let (_, shape) = &self.parts[&(Part::Registers, 0)];
        // The leading ones are gone, and with them the 1 of a single register.
        Ok(if *shape == [dim] { 1 } else { self.side(Part::Registers, 0)? })
    }

    fn positions(&self, registers: usize) -> Result<Positions, CheckpointError> {
        if !self.has(Part::LearnedPositions) {
            if self.naming != Naming::HuggingFace && !(registers > 0 && self.has(Part::Scale1)) {
                return Err(self.architecture(
                    "no learned positions, and not DINOv3 either, which has registers and LayerScale".into(),
                ));
            }
            return Ok(Positions::Rope);
        }
        let count = self.side(Part::LearnedPositions, 0)?;
        // With or without a position for CLS; n and n + 1 are not both square for n > 0.
        for patches in [count.saturating_sub(1), count] {
            let side = patches.isqrt();
            if side > 0 && side * side == patches {
                return Ok(Positions::Learned { rows: side, cols: side });
            }
        }
        Err(self.architecture(format!("{count} learned positions are not those of CLS and a square grid")))
    }

    /// Whether the learned positions are of the patches alone (timm's `no_embed_class`), CLS having none.
    pub fn cls_without_position(&self, config: &Config) -> bool {
        match (config.positions, self.parts.get(&(Part::LearnedPositions, 0))) {
            (Positions::Learned { rows, cols }, Some((_, shape))) => shape.first() == Some(&(rows * cols)),
            _ => false,
        }
    }

    /// Checks that the file holds every part of `config`, in its shape, and no other.
    pub fn check(&self, config: &Config, known: &Description) -> Result<(), CheckpointError> {
        let swiglu = config.mlp == Mlp::SwiGlu;
        for part in self.required(config, known) {
            for block in 0..if in_block(part) { config.depth } else { 1 } {
                if !self.parts.contains_key(&(part, block)) {
                    return Err(self.missing(part, block, swiglu));
                }
            }
        }
        let allowed = self.allowed(config, known);
        for ((part, block), (name, shape)) in &self.parts {
            if !allowed.contains(part) || (in_block(*part) && *block >= config.depth) {
                return Err(self.extra(name));
            }
            let expected = squeezed(&self.shape(*part, config));
            if *shape != expected {
                let (path, tensor) = (self.path.clone(), name.clone());
                return Err(CheckpointError::Shape { path, tensor, found: shape.clone(), expected });
            }
        }
        Ok(())
    }

    /// The parts that must be there, in every block where they belong to blocks.
    fn required(&self, config: &Config, known: &Description) -> Vec<Part> {
        use Part::*;
        let mut parts = vec![Cls, PatchWeight, PatchBias];
        parts.extend([Norm1Weight, Norm1Bias, ProjWeight, ProjBias, Norm2Weight, Norm2Bias]);
        parts.extend([UpWeight, UpBias, DownWeight, DownBias, NormWeight, NormBias]);
        let mut require = |condition: bool, more: &[Part]| {
            if condition {
                parts.extend_from_slice(more);
            }
        };
        require(config.registers > 0, &[Registers]);
        require(config.positions != Positions::Rope, &[LearnedPositions]);
        require(config.mlp == Mlp::SwiGlu, &[GateWeight, GateBias]);
        require(config.layer_scale, &[Scale1, Scale2]);
        let split = self.naming.splits_qkv();
        require(split, &[QWeight, KWeight, VWeight]);
        require(!split, &[QkvWeight]);
        // Some models of the family have no bias there (timm's DINOv3, DINOv3-7B): if one block has, all have.
        for (i, part) in [QBias, KBias, VBias].into_iter().enumerate() {
            let somewhere = self.parts.keys().any(|(p, _)| *p == part);
            let wanted = split && known.qkv_biases.is_some_and(|biases| biases[i]);
            require(somewhere || wanted, &[part]);
        }
        let fused_bias = self.parts.keys().any(|(p, _)| matches!(p, QkvBias | QkvBiasMask));
        require(fused_bias, &[QkvBias]);
        // Without the mask it cannot be told whether K's part of the bias counts.
        require(self.naming == Naming::Meta, &[Periods]);
        require(self.naming == Naming::Meta && fused_bias, &[QkvBiasMask]);
        parts
    }

    /// The parts that may be there: the required ones, and empty registers.
    fn allowed(&self, config: &Config, known: &Description) -> Vec<Part> {
        let mut parts = self.required(config, known);
        parts.push(Part::Registers);
        if let (true, Some(biases)) = (self.naming.splits_qkv(), known.qkv_biases) {
            for (part, has) in [Part::QBias, Part::VBias].into_iter().zip([biases[0], biases[2]]) {
                parts.retain(|p| has || *p != part);
            }
        }
        parts
    }

    /// The shape of `part` but for leading ones.
    fn shape(&self, part: Part, config: &Config) -> Vec<usize> {
        use Part::*;
        let Config { dim, hidden, patch, registers, .. } = *config;
        match part {
            Registers => vec![registers, dim],
            LearnedPositions => match config.positions {
                Positions::Learned { rows, cols } => {
                    vec![usize::from(!self.cls_without_position(config)) + rows * cols, dim]
                }
                Positions::Rope => vec![0, dim],
            },
            Periods => vec![config.head_dim() / 4],
            PatchWeight => vec![dim, 3, patch, patch],
            QkvWeight => vec![3 * dim, dim],
            QkvBias | QkvBiasMask => vec![3 * dim],
            QWeight | KWeight | VWeight | ProjWeight => vec![dim, dim],
            GateWeight | UpWeight => vec![hidden, dim],
            GateBias | UpBias => vec![hidden],
            DownWeight => vec![dim, hidden],
            _ => vec![dim],
        }
    }
}

/// `shape` without leading ones: tokens are stored as `[1, 1, dim]` by some and as `[dim]` by others.
fn squeezed(shape: &[usize]) -> Vec<usize> {
    let ones = shape.iter().take_while(|&&side| side == 1).count();
    shape[ones.min(shape.len().saturating_sub(1))..].to_vec()
}

/// Whether a block has this part, rather than the model.
fn in_block(part: Part) -> bool {
    use Part::*;
    !matches!(
        part,
        Cls | Registers | LearnedPositions | Periods | PatchWeight | PatchBias | NormWeight | NormBias
    )
}

/// Checks a file in its publisher's naming against the tensor list of its card: every listed tensor, in its shape.
pub(super) fn check_card(path: &Path, card: &Card, entries: &[Entry]) -> Result<(), CheckpointError> {
    let found: BTreeMap<&str, &[usize]> =
        entries.iter().map(|e| (super::naming::canonical(&e.name), e.shape.as_slice())).collect();
    for (tensor, expected) in card.expanded_tensors() {
        let path = path.to_owned();
        match found.get(tensor.as_str()) {
            None => return Err(CheckpointError::Missing { path, tensor }),
            Some(shape) if *shape != expected => {
                return Err(CheckpointError::Shape { path, tensor, found: shape.to_vec(), expected });
            }
            Some(_) => {}
        }
    }
    Ok(())
}
