//! Maps the tensors of a file to the parts of the model, and checks them using only the header, before any weight is
//! read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::description::Description;
use super::file::Entry;
use super::naming::{Naming, Part};
use super::{Card, CheckpointError};
use crate::vit::{Config, Mlp, Positions};

/// The parts that a file holds.
pub(super) struct Layout {
    pub(super) path: PathBuf,
    pub naming: Naming,
    /// Name and shape (without leading ones) of each part in each block (0 outside the blocks).
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
            if let Some(reason) = stranger(naming, &entry.name) {
                return Err(architecture(format!("tensor {}: {reason}", entry.name)));
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

    /// Number of blocks: the largest block index plus one.
    pub(super) fn depth(&self) -> usize {
        self.parts.keys().map(|(_, block)| *block).max().unwrap_or(0).saturating_add(1)
    }

    /// Whether any block's tensor has a name that timm uses only in its Eva and Beit classes.
    pub(super) fn names_of_eva(&self) -> bool {
        let eva = |name: &String| name.ends_with("gamma_1") || name.ends_with("attn.q_bias");
        matches!(self.naming, Naming::Timm | Naming::OpenClip)
            && self.parts.values().any(|(name, _)| eva(name))
    }

    /// Number of registers, from their tensor of shape [n, dim].
    pub(super) fn registers(&self, dim: usize) -> Result<usize, CheckpointError> {
        match self.parts.get(&(Part::Registers, 0)) {
            None => Ok(0),
            // Leading ones were removed, including the 1 of a single register.
            Some((_, shape)) if *shape == [dim] => Ok(1),
            Some(_) => self.side(Part::Registers, 0),
        }
    }

    /// Number of learned positions; 0 if there are none.
    pub(super) fn count_of_positions(&self) -> Result<usize, CheckpointError> {
        if self.has(Part::LearnedPositions) { self.side(Part::LearnedPositions, 0) } else { Ok(0) }
    }

    fn extra(&self, tensor: &str) -> CheckpointError {
        let model = format!("a backbone in {} naming", self.naming);
        CheckpointError::Extra { path: self.path.clone(), tensor: tensor.to_owned(), model }
    }

    pub(super) fn architecture(&self, problem: String) -> CheckpointError {
        CheckpointError::Architecture { path: self.path.clone(), problem }
    }

    pub(super) fn missing(&self, part: Part, block: usize, swiglu: bool) -> CheckpointError {
        CheckpointError::Missing { path: self.path.clone(), tensor: self.naming.name(part, block, swiglu) }
    }

    /// The name of `part` in `block`, if the file has it.
    pub fn name(&self, part: Part, block: usize) -> Option<&str> {
        self.parts.get(&(part, block)).map(|(name, _)| name.as_str())
    }

    pub(super) fn has(&self, part: Part) -> bool {
        self.parts.contains_key(&(part, 0))
    }

    /// Length of axis `axis` of `part`, which every checkpoint has.
    pub(super) fn side(&self, part: Part, axis: usize) -> Result<usize, CheckpointError> {
        let (name, shape) = self.parts.get(&(part, 0)).ok_or_else(|| self.missing(part, 0, self.swiglu()))?;
        shape
            .get(axis)
            .copied()
            .ok_or_else(|| self.architecture(format!("tensor {name} has shape {shape:?}, too few sides")))
    }

    pub(super) fn swiglu(&self) -> bool {
        self.has(Part::GateWeight)
    }

    /// Number of learned positions that precede those of `rows` x `cols` patches: 0 (timm's `no_embed_class`), 1 for
    /// CLS, or CLS and the registers. `None` if the file's number of positions does not match.
    pub fn positions_before(&self, (rows, cols): (usize, usize), registers: usize) -> Option<usize> {
        let (_, shape) = self.parts.get(&(Part::LearnedPositions, 0))?;
        let count = if shape.len() == 1 { 1 } else { *shape.first()? };
        let before = count.checked_sub(rows.checked_mul(cols)?)?;
        [0, 1, 1 + registers].contains(&before).then_some(before)
    }

    /// [`Layout::positions_before`] for `config`; 1, for CLS, if the numbers do not match.
    pub fn prefix_positions(&self, config: &Config) -> usize {
        let Positions::Learned { rows, cols, .. } = config.positions else { return 0 };
        self.positions_before((rows, cols), config.registers).unwrap_or(1)
    }

    /// Whether the first matrix of the MLP holds both gate and value: it has twice as many rows as the second has
    /// columns.
    pub fn packed(&self) -> bool {
        let side = |part, axis: usize| self.parts.get(&(part, 0)).and_then(|(_, shape)| shape.get(axis));
        match (side(Part::UpWeight, 0), side(Part::DownWeight, 1)) {
            (Some(up), Some(down)) => *down > 0 && down.checked_mul(2) == Some(*up),
            _ => false,
        }
    }

    /// Checks that the file holds every part of `config`, in the right shape, and no others.
    pub fn check(&self, config: &Config, known: &Description) -> Result<(), CheckpointError> {
        let swiglu = config.mlp == Mlp::SwiGlu;
        if self.packed() && !swiglu {
            return Err(self.architecture(
                "the feed-forward half is gated, and nothing says by which activation; put the config.json beside it that \
                 names the architecture"
                    .into(),
            ));
        }
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

    /// The parts that must exist, in every block if they belong to blocks.
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
        require(config.mlp == Mlp::SwiGlu && !self.packed(), &[GateWeight, GateBias]);
        require(config.layer_scale, &[Scale1, Scale2]);
        let split = self.naming.splits_qkv();
        require(split, &[QWeight, KWeight, VWeight]);
        require(!split, &[QkvWeight]);
        // Some models of the family have no such bias (timm's DINOv3, DINOv3-7B). If one block has it, all must have
        // it.
        for (i, part) in [QBias, KBias, VBias].into_iter().enumerate() {
            let somewhere = self.parts.keys().any(|(p, _)| *p == part);
            let wanted = split && known.qkv_biases.is_some_and(|biases| biases[i]);
            require(somewhere || wanted, &[part]);
        }
        let fused_bias = self.parts.keys().any(|(p, _)| matches!(p, QkvBias | QkvBiasMask));
        require(fused_bias, &[QkvBias]);
        // Without the mask it is unknown whether K's part of the bias counts.
        require(self.naming == Naming::Meta, &[Periods]);
        require(self.naming == Naming::Meta && fused_bias, &[QkvBiasMask]);
        parts
    }

    /// The parts that may exist: the required ones, without the Q and V biases that the config excludes, and empty
    /// registers.
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

    /// The expected shape of `part`; leading ones do not matter.
    fn shape(&self, part: Part, config: &Config) -> Vec<usize> {
        use Part::*;
        let Config { dim, hidden, patch, registers, .. } = *config;
        let up = if self.packed() { 2 * hidden } else { hidden };
        match part {
            Registers => vec![registers, dim],
            LearnedPositions => match config.positions {
                Positions::Learned { rows, cols, .. } => {
                    vec![self.prefix_positions(config) + rows * cols, dim]
                }
                Positions::Rope => vec![0, dim],
            },
            Periods => vec![config.head_dim() / 4],
            PatchWeight => vec![dim, 3, patch, patch],
            QkvWeight => vec![3 * dim, dim],
            QkvBias | QkvBiasMask => vec![3 * dim],
            QWeight | KWeight | VWeight | ProjWeight => vec![dim, dim],
            GateWeight => vec![hidden, dim],
            GateBias => vec![hidden],
            UpWeight => vec![up, dim],
            UpBias => vec![up],
            DownWeight => vec![dim, hidden],
            _ => vec![dim],
        }
    }
}

/// Reason why a tensor of this name belongs to an unsupported model; `None` if it does not.
fn stranger(naming: Naming, name: &str) -> Option<&'static str> {
    if name.ends_with("dist_token") {
        return Some(
            "a distilled DeiT has a second class token, which is not supported; use the undistilled model",
        );
    }
    if !matches!(naming, Naming::Timm | Naming::OpenClip) || name.starts_with("text.") {
        return None;
    }
    let has = |part: &str| name.contains(part);
    match () {
        () if has(".q_norm.") || has(".k_norm.") => {
            Some("queries and keys are normed, which is not supported")
        }
        () if has("norm_pre.") => Some("there is a norm before the blocks (CLIP), which is not supported"),
        () if has("fc_norm.") => {
            Some("the norm comes after pooling, so that tokens have none; not supported")
        }
        () if has("attn_pool.") => Some("features are pooled by attention, which is not supported"),
        () if has("relative_position_bias") || has("rel_pos") => {
            Some("positions are relative; not supported")
        }
        () if has("rope") || has(".freqs") => Some("rotary positions other than DINOv3's are not supported"),
        () if has("attn.norm.") || has("mlp.norm.") => Some("there is a norm within a half; not supported"),
        () => None,
    }
}

/// `shape` without leading ones: some files store tokens as `[1, 1, dim]`, others as `[dim]`.
fn squeezed(shape: &[usize]) -> Vec<usize> {
    let ones = shape.iter().take_while(|&&side| side == 1).count();
    shape[ones.min(shape.len().saturating_sub(1))..].to_vec()
}

/// Whether this part belongs to a block rather than to the whole model.
fn in_block(part: Part) -> bool {
    use Part::*;
    !matches!(
        part,
        Cls | Registers | LearnedPositions | Periods | PatchWeight | PatchBias | NormWeight | NormBias
    )
}

/// Checks a file in its publisher's naming against the tensor list of its card: every listed tensor must exist in its
/// shape.
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
