//! A head's input and output for one frame.

use super::nn::Working;
use super::{ContourRule, HeadError};
use crate::features::Tokens;
use crate::input::LabelMap;
use crate::vit::Output;

/// The features of one frame.
pub(crate) struct Frame<'a> {
    /// Index of the frame in its scan.
    pub(crate) number: usize,
    /// CLS ++ mean(patch tokens), `[2 * dim]`.
    pub(crate) row: &'a [f32],
    /// Its patch tokens, a grid of depth 1, for heads that read patch tokens.
    pub(crate) tokens: Option<&'a Tokens>,
    /// Outputs of the backbone's graph, under their own names.
    pub(crate) outputs: &'a [Output],
    /// Rows and columns that the backbone sees.
    pub(crate) seen: (usize, usize),
}

impl Frame<'_> {
    /// Its patch tokens, or an error if there are none.
    pub(crate) fn tokens(&self) -> Result<&Tokens, HeadError> {
        self.tokens.ok_or(HeadError::Shape { what: "patch tokens", found: 0, expected: 1 })
    }
}

/// Memory that a head uses for one frame after the other.
#[derive(Default)]
pub(crate) struct Memory {
    /// Of an answer that is not needed any more.
    pub(crate) probabilities: Vec<f64>,
    /// Of an answer that is not needed any more.
    pub(crate) classes: Vec<usize>,
    /// Of a mask that is not needed any more.
    pub(crate) labels: Vec<u8>,
    pub(crate) working: Working,
    /// A row of logits.
    pub(crate) line: Vec<f32>,
    /// The contours that a mask is to have, and the zones of the pixels of the last one.
    pub(crate) contours: Option<(ContourRule, Vec<u8>)>,
}

/// A head's output for a frame.
pub(crate) enum Said {
    /// Class probabilities.
    Probabilities(Vec<f64>),
    /// The class of each pixel that the backbone sees, one slice.
    Mask(LabelMap),
    /// No output per frame: the head sees all frames together.
    Nothing,
}
