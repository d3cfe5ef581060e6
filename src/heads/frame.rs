//! What a head reads of a frame, and says of it.

use super::HeadError;
use crate::features::Tokens;
use crate::input::LabelMap;

/// The features of one frame.
pub(crate) struct Frame<'a> {
    /// Its number in its scan, from 0.
    pub(crate) number: usize,
    /// CLS ++ mean(patch tokens), `[2 * dim]`.
    pub(crate) row: &'a [f32],
    /// Its patch tokens, a grid of depth 1, for heads that read them.
    pub(crate) tokens: Option<&'a Tokens>,
    /// Rows and columns that the backbone saw.
    pub(crate) seen: (usize, usize),
}

impl Frame<'_> {
    /// Its patch tokens.
    pub(crate) fn tokens(&self) -> Result<&Tokens, HeadError> {
        self.tokens.ok_or(HeadError::Shape { what: "patch tokens", found: 0, expected: 1 })
    }
}

/// What a head says of a frame.
pub(crate) enum Said {
    /// Probabilities of its classes.
    Probabilities(Vec<f64>),
    /// A class for each pixel that the backbone saw, one slice.
    Mask(LabelMap),
    /// Nothing: it says something of all frames together.
    Nothing,
}
