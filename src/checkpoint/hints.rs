//! What the tensors of a checkpoint do not reveal: given by the user, or assumed and reported.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CheckpointError;
use crate::vit::{Config, Positions, Preprocess};

/// What the user specifies about a checkpoint that does not specify it itself. Hints may not contradict the checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hints {
    /// Number of attention heads.
    pub heads: Option<usize>,
    /// Mean of each channel.
    pub mean: Option<[f32; 3]>,
    /// Standard deviation of each channel.
    pub std: Option<[f32; 3]>,
    /// Rows and columns of the grid of learned positions.
    pub grid: Option<(usize, usize)>,
}

/// What was assumed because neither the checkpoint nor the user specified it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assumption {
    /// Number of attention heads.
    Heads(usize),
    /// Mean and standard deviation.
    Statistics([f32; 3], [f32; 3]),
    /// Rows and columns of the grid of learned positions.
    Grid(usize, usize),
    /// The activation is GELU, and this is the epsilon of the norms.
    Details(f32),
}

impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Assumption::Heads(heads) => write!(f, "{heads} attention heads"),
            Assumption::Statistics(mean, std) => write!(f, "mean {mean:?} and std {std:?}"),
            Assumption::Grid(rows, cols) => write!(f, "positions of {rows} x {cols} patches"),
            Assumption::Details(eps) => write!(f, "GELU, and {eps:e} as epsilon of the norms"),
        }
    }
}

impl Hints {
    /// Whether no hint is given.
    pub fn is_empty(&self) -> bool {
        *self == Hints::default()
    }

    /// Refuses heads and a grid that differ from `heads` and `grid`, and statistics that differ from those of
    /// `preprocess`; `whose` names the source of these values.
    pub(crate) fn agree(
        &self,
        whose: &str,
        heads: Option<usize>,
        grid: Option<(usize, usize)>,
        preprocess: Option<&Preprocess>,
    ) -> Result<(), CheckpointError> {
        if let Some(given) = self.heads.filter(|given| heads.is_some_and(|heads| heads != *given)) {
            return Err(contradiction(whose, format!("{} heads", heads.unwrap_or(0)), format!("{given}")));
        }
        if let Some((rows, cols)) = self.grid.filter(|given| grid.is_some_and(|grid| grid != *given)) {
            let (r, c) = grid.unwrap_or((0, 0));
            return Err(contradiction(whose, format!("a grid of {r}x{c}"), format!("{rows}x{cols}")));
        }
        let Some(said) = preprocess else { return Ok(()) };
        for (name, given, said) in [("mean", self.mean, said.mean), ("std", self.std, said.std)] {
            if let Some(given) = given.filter(|given| !near(given, &said)) {
                return Err(contradiction(whose, format!("{name} {said:?}"), format!("{given:?}")));
            }
        }
        Ok(())
    }

    /// `preprocess` with the given statistics.
    pub(crate) fn applied(&self, mut preprocess: Preprocess) -> Preprocess {
        preprocess.mean = self.mean.unwrap_or(preprocess.mean);
        preprocess.std = self.std.unwrap_or(preprocess.std);
        preprocess
    }

    /// Whether both mean and standard deviation are given.
    pub(crate) fn has_statistics(&self) -> bool {
        self.mean.is_some() && self.std.is_some()
    }

    /// Refuses hints that contradict `config` and `preprocess`, which come from `whose`.
    ///
    /// # Errors
    /// [`CheckpointError::Hint`] describes the contradiction.
    pub fn agree_with(
        &self,
        whose: &str,
        config: &Config,
        preprocess: &Preprocess,
    ) -> Result<(), CheckpointError> {
        self.agree_on(whose, config)?;
        self.agree(whose, None, None, Some(preprocess))
    }

    /// Refuses heads and a grid that contradict `config`, which comes from `whose`.
    pub(crate) fn agree_on(&self, whose: &str, config: &Config) -> Result<(), CheckpointError> {
        if let (Some((rows, cols)), Positions::Rope) = (self.grid, config.positions) {
            return Err(contradiction(whose, "rotary positions".into(), format!("a grid of {rows}x{cols}")));
        }
        self.agree(whose, Some(config.heads), super::grid(config), None)
    }

    /// Preprocessing for a graph that tract runs unchanged: from the file beside it, else from the caller, else
    /// assumed.
    #[cfg(feature = "onnx")]
    pub(crate) fn of_graph(
        &self,
        name: &str,
        beside: Option<Preprocess>,
    ) -> Result<(Preprocess, Vec<Assumption>), CheckpointError> {
        self.check()?;
        if self.heads.is_some() || self.grid.is_some() {
            return Err(CheckpointError::Hint {
                problem: format!("{name} is run as its graph says: heads and grid cannot be given"),
            });
        }
        if let Some(beside) = beside {
            self.agree("what lies beside the graph", None, None, Some(&beside))?;
            return Ok((beside, Vec::new()));
        }
        let usual = self.applied(Preprocess::IMAGENET);
        let assumed = Assumption::Statistics(usual.mean, usual.std);
        Ok((usual, if self.has_statistics() { Vec::new() } else { vec![assumed] }))
    }

    /// Refuses values that no model can have.
    pub(crate) fn check(&self) -> Result<(), CheckpointError> {
        let wrong = |problem: String| Err(CheckpointError::Hint { problem });
        if self.heads == Some(0) {
            return wrong("a model has at least one attention head, not 0".into());
        }
        if let Some((rows, cols)) = self.grid.filter(|g| g.0 == 0 || g.1 == 0 || g.0 > 4096 || g.1 > 4096) {
            return wrong(format!("a grid of {rows}x{cols} patches; each side is from 1 to 4096"));
        }
        if let Some(mean) = self.mean.filter(|mean| !mean.iter().all(|v| v.is_finite())) {
            return wrong(format!("a mean of {mean:?}; it must be finite"));
        }
        if let Some(std) = self.std.filter(|std| !std.iter().all(|v| v.is_finite() && *v > 0.0)) {
            return wrong(format!("a standard deviation of {std:?}; it must be finite and positive"));
        }
        Ok(())
    }
}

/// Whether `a` and `b` are equal up to the rounding of hand-written values.
fn near(a: &[f32; 3], b: &[f32; 3]) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-4)
}

fn contradiction(whose: &str, said: String, given: String) -> CheckpointError {
    CheckpointError::Hint { problem: format!("{whose} says {said}, which {given} contradicts") }
}
