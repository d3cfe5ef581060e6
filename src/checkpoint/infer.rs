//! Infers the architecture of a checkpoint from its tensor shapes, timm's name of it and the user's hints.

use std::path::Path;

use super::CheckpointError;
use super::description::Description;
use super::hints::{Assumption, Hints};
use super::layout::Layout;
use super::naming::{Naming, Part};
use super::timm::Architecture;
use crate::vit::{Config, Mlp, PositionResize, Positions};

/// Name, in error messages, of the config.json that a hint may not contradict.
pub(super) fn beside(weights: &Path) -> String {
    format!("{}: the config.json beside it", weights.display())
}

impl Layout {
    /// The architecture. Most of it follows from the tensor shapes. The rest is the number of heads, which comes from
    /// the rotary periods if the file has them, else from `known`; the grid of learned positions; and the activation
    /// and epsilon, which timm's table lists by name. What is not specified is set as in most models and returned as an
    /// assumption.
    pub fn infer(
        &self,
        known: &Description,
        hints: &Hints,
    ) -> Result<(Config, Vec<Assumption>), CheckpointError> {
        let mut assumed = Vec::new();
        if !self.has(Part::Cls) && matches!(self.naming, Naming::Timm | Naming::OpenClip) {
            return Err(self.architecture(
                "there is no class token (cls_token): models that only pool their patches are not supported"
                    .into(),
            ));
        }
        let dim = self.side(Part::Cls, 0)?;
        self.check_named(dim, known)?;
        let registers = self.registers(dim)?;
        let positions = self.positions(registers, known, hints, &mut assumed)?;
        let rope = positions == Positions::Rope;
        let packed = known.timm.is_some_and(|row| row.packed_swiglu) || self.naming == Naming::Encoder;
        let gated = self.swiglu() || (self.packed() && packed);
        let mut config = Config {
            dim,
            depth: self.depth(),
            heads: 1,
            patch: self.side(Part::PatchWeight, 3)?,
            mlp: if gated { Mlp::SwiGlu } else { Mlp::Gelu },
            hidden: if self.packed() {
                self.side(Part::DownWeight, 1)?
            } else {
                self.side(Part::UpWeight, 0)?
            },
            registers,
            positions,
            layer_scale: self.has(Part::Scale1),
            norm_eps: known.timm.map_or(if rope { 1e-5 } else { 1e-6 }, |row| row.norm_eps),
        };
        config.heads = self.heads(&config, known, hints, &mut assumed)?;
        // Rotary positions identify DINOv3, which has one activation and one epsilon.
        if known.timm.is_none() && !rope {
            assumed.push(Assumption::Details(config.norm_eps));
        }
        Ok((config, assumed))
    }

    /// Heads and grid that `hints` led to, as text; `None` if they equal what is assumed without hints.
    pub fn word(&self, config: &Config, known: &Description, hints: &Hints) -> Option<String> {
        if hints.heads.is_none() && hints.grid.is_none() {
            return None;
        }
        let geometry = |config: &Config| (config.heads, super::grid(config));
        let usual = self.infer(known, &Hints::default()).ok();
        if usual.is_some_and(|(usual, _)| geometry(&usual) == geometry(config)) {
            return None;
        }
        let grid =
            super::grid(config).map_or(String::new(), |(rows, cols)| format!(", a grid of {rows}x{cols}"));
        Some(format!("{} heads{grid}", config.heads))
    }

    /// Refuses tensors that contradict the named architecture.
    fn check_named(&self, dim: usize, known: &Description) -> Result<(), CheckpointError> {
        let Some(row) = known.timm else { return Ok(()) };
        let patch = self.side(Part::PatchWeight, 3)?;
        for (what, found, named, asked) in [
            ("width", dim, row.dim, known.args.embed_dim),
            ("patch", patch, row.patch, known.args.patch_size),
        ] {
            if asked.is_none() && found != named {
                return Err(self.architecture(format!(
                    "the tensors are of {what} {found}, and timm's {} has {named}: config.json names another model",
                    row.name
                )));
            }
        }
        Ok(())
    }

    fn heads(
        &self,
        config: &Config,
        known: &Description,
        hints: &Hints,
        assumed: &mut Vec<Assumption>,
    ) -> Result<usize, CheckpointError> {
        let Config { dim, .. } = *config;
        if self.has(Part::Periods) {
            let heads = dim / self.side(Part::Periods, 0)?.saturating_mul(4).max(1);
            hints.agree(
                &format!("{}: its tensor of rotary periods", self.path.display()),
                Some(heads),
                None,
                None,
            )?;
            return Ok(heads);
        }
        if let Some(heads) = known.args.num_heads.or(known.timm.map(|row| row.heads)) {
            hints.agree(&beside(&self.path), Some(heads), None, None)?;
            return Ok(heads);
        }
        if let Some(heads) = hints.heads {
            return Ok(heads);
        }
        let card = super::cards().iter().find(|card| {
            let Config { heads, norm_eps, .. } = card.architecture;
            card.architecture == Config { heads, norm_eps, ..*config }
        });
        let heads = card
            .map(|card| card.architecture.heads)
            .or_else(|| Architecture::usual_heads(dim, config.mlp == Mlp::SwiGlu))
            .unwrap_or((dim / 64).max(1));
        assumed.push(Assumption::Heads(heads));
        Ok(heads)
    }

    fn positions(
        &self,
        registers: usize,
        known: &Description,
        hints: &Hints,
        assumed: &mut Vec<Assumption>,
    ) -> Result<Positions, CheckpointError> {
        let count = self.count_of_positions()?;
        if count == 0 {
            return self.rotary(registers, known);
        }
        if self.has(Part::Periods) {
            return Err(self.architecture("learned and rotary positions together are not supported".into()));
        }
        if self.names_of_eva() && known.timm.is_none() {
            return Err(self.architecture(
                "its tensors are named as timm's Eva names them, which may have rotary positions beside the learned ones; put \
                 the config.json beside it that names the architecture"
                    .into(),
            ));
        }
        let resize = match self.naming {
            // transformers' DINOv2 with registers resizes with antialiasing, its other models without.
            Naming::Encoder if registers == 0 => PositionResize::Plain,
            _ => PositionResize::Antialiased,
        };
        let (rows, cols) = self.grid(count, registers, known, hints, assumed)?;
        Ok(Positions::Learned { rows, cols, resize })
    }

    fn rotary(&self, registers: usize, known: &Description) -> Result<Positions, CheckpointError> {
        if self.naming == Naming::Encoder {
            return Err(self.missing(Part::LearnedPositions, 0, false));
        }
        if self.naming != Naming::HuggingFace && !(registers > 0 && self.has(Part::Scale1)) {
            return Err(self.architecture(
                "no learned positions, and not DINOv3 either, which has registers and LayerScale".into(),
            ));
        }
        // Other rotary ViTs (timm's RoPE-ViT with registers) differ in their angles, which do not show in any tensor.
        if let Some(name) = known.architecture.as_ref().filter(|name| !name.contains("dinov3")) {
            return Err(self.architecture(format!("{name} has rotary positions and is not DINOv3")));
        }
        Ok(Positions::Rope)
    }

    /// Rows and columns of the grid that `count` learned positions belong to.
    fn grid(
        &self,
        count: usize,
        registers: usize,
        known: &Description,
        hints: &Hints,
        assumed: &mut Vec<Assumption>,
    ) -> Result<(usize, usize), CheckpointError> {
        let fits = |grid: &(usize, usize)| {
            grid.0 > 0 && grid.1 > 0 && self.positions_before(*grid, registers).is_some()
        };
        let patch = self.side(Part::PatchWeight, 3)?.max(1);
        let named = known.timm.filter(|row| row.patch == patch).map(|row| row.grid);
        let said = known.pictures.iter().map(|(height, width)| (height / patch, width / patch)).chain(named);
        if let Some(grid) = said.into_iter().find(fits) {
            hints.agree(&beside(&self.path), None, Some(grid), None)?;
            return Ok(grid);
        }
        if let Some((rows, cols)) = hints.grid {
            return if fits(&(rows, cols)) {
                Ok((rows, cols))
            } else {
                Err(CheckpointError::Hint {
                    problem: format!(
                        "{}: {count} learned positions are not those of CLS and {rows}x{cols} patches",
                        self.path.display()
                    ),
                })
            };
        }
        // CLS, or CLS and the registers, may or may not have positions.
        let square = |before: usize| {
            let side = count.checked_sub(before)?.isqrt();
            (side > 0 && side * side == count - before).then_some((side, side))
        };
        let Some(grid) = [1, 0, 1 + registers].into_iter().find_map(square) else {
            return Err(self.architecture(format!(
                "{count} learned positions are not those of CLS and a square grid; say how many rows and columns of patches \
                 they have"
            )));
        };
        assumed.push(Assumption::Grid(grid.0, grid.1));
        Ok(grid)
    }
}
