//! What recognition finds.

use tract_core::internal::OutletId;

use crate::vit::{Config, Size, Weights};

/// An encoder inside a graph.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its architecture.
    pub config: Config,
    /// Its parameters. Learned positions are those of [`Found::size`].
    pub weights: Weights,
    /// What it reads: `[batch, 3, height, width]`.
    pub pixels: OutletId,
    /// Number of images that the graph takes at once.
    pub batch: usize,
    /// Height and width of the pixels.
    pub size: Size,
    /// What the patch convolution makes.
    pub patches: OutletId,
    /// The stream that the first block reads.
    pub embedded: OutletId,
    /// The stream after each block: `[batch, tokens, dim]`.
    pub streams: Vec<OutletId>,
    /// All tokens after the final norm: `[batch, tokens, dim]`. Without it `weights.norm` is all ones and zeros.
    pub tokens: Option<OutletId>,
}
