//! Everything that depends on the input size and the number of threads.

use super::{Encoder, EncoderError, STEP_ROWS};
use crate::kernels::tile::{GemmTypes, U8S8};
use crate::vit::{Positions, RopeTable, Size, learned_positions};

/// Minimum number of rows in a unit, where there is a choice: every unit reads all the weights.
const LEAST_ROWS: usize = 96;

/// Bytes of cache available to each thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Second level.
    pub l2: usize,
    /// The last level.
    pub last: usize,
}

impl Cache {
    /// Used if nothing is known: the cache of one Raspberry Pi 5 core, with one thread.
    pub const UNKNOWN: Cache = Cache { l2: 512 << 10, last: 2 << 20 };
}

/// The plan for an input size and a number of threads.
pub struct Plan {
    pub(super) size: Size,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) tokens: usize,
    pub(super) threads: usize,
    pub(super) cache: Cache,
    pub(super) rope: Option<RopeTable>,
    /// `[tokens, dim]`: CLS, registers, and zeros for patches, with learned positions added.
    pub(super) base: Vec<f32>,
    /// First row of each unit, and the end of the last one.
    pub(super) bounds: Vec<usize>,
    /// The same for heads, one head per unit.
    pub(super) heads: Vec<usize>,
    /// Indices of the blocks whose output is also kept, ascending.
    pub(super) taps: Vec<usize>,
    /// Indices of the blocks after which the residual stream itself is kept, ascending.
    pub(super) streams: Vec<usize>,
}

impl Plan {
    /// Plans `encoder` for `size` on `threads` threads.
    ///
    /// # Errors
    /// [`EncoderError::Size`] when `size` is not a whole number of patches.
    pub fn new(encoder: &Encoder, size: Size, threads: usize) -> Result<Plan, EncoderError> {
        let config = encoder.config();
        let (rows, cols) = size.grid(config.patch)?;
        let tokens = config.tokens(size)?;
        let mut base = encoder.cls.clone();
        base.extend_from_slice(&encoder.registers);
        base.resize(tokens * config.dim, 0.0);
        let rope = match config.positions {
            Positions::Rope => Some(RopeTable::new(&encoder.rope_periods, rows, cols)),
            Positions::Learned { .. } => {
                let positions = learned_positions(config, &encoder.positions, size)?;
                let (cls, patches) = positions.split_at(config.dim);
                let (base_cls, rest) = base.split_at_mut(config.dim);
                let base_patches = &mut rest[config.registers * config.dim..];
                for (b, p) in base_cls.iter_mut().zip(cls).chain(base_patches.iter_mut().zip(patches)) {
                    *b += p;
                }
                None
            }
        };
        let heads = (0..=config.heads).collect();
        let bounds = Vec::new();
        let (cache, taps, streams) = (Cache::UNKNOWN, Vec::new(), Vec::new());
        let plan =
            Plan { size, rows, cols, tokens, threads, cache, rope, base, bounds, heads, taps, streams };
        Ok(plan.within(encoder, cache))
    }

    /// Adapts the plan to threads that have `cache`.
    ///
    /// While a unit goes through a layer, its rows (of the stream, of the layers' inputs and outputs, and of the hidden
    /// codes) and the weights being read should fit in the last-level cache; the rows get three quarters of it. Within
    /// a layer, blocks of rows are sized for the second level ([`crate::kernels::linear`]).
    pub fn within(mut self, encoder: &Encoder, cache: Cache) -> Plan {
        let row_bytes = 3 * 4 * encoder.config.dim + encoder.config.hidden;
        let most = cache.last / 4 * 3 / row_bytes;
        self.cache = cache;
        self.bounds = units(self.tokens, self.threads, most, U8S8::kernel(encoder.isa).rows);
        self
    }

    /// Makes the plan also keep the outputs of the blocks `layers` (from 0) after the final LayerNorm, in ascending
    /// order. Dense heads read several layers (arXiv 2304.07193, section 7.4).
    ///
    /// # Errors
    /// [`EncoderError::Layer`] when there is no such block.
    pub fn with_taps(mut self, encoder: &Encoder, layers: &[usize]) -> Result<Plan, EncoderError> {
        self.taps = selected(encoder, layers)?;
        Ok(self)
    }

    /// Makes the plan also keep the residual stream after the blocks `layers` (from 0), without a norm, in ascending
    /// order.
    ///
    /// # Errors
    /// [`EncoderError::Layer`] when there is no such block.
    pub fn with_streams(mut self, encoder: &Encoder, layers: &[usize]) -> Result<Plan, EncoderError> {
        self.streams = selected(encoder, layers)?;
        Ok(self)
    }

    /// Replaces what is added to the patches' embedding, `[tokens, dim]`: CLS, registers, and for patches their learned
    /// positions. For positions that were resampled elsewhere.
    ///
    /// # Panics
    /// If `base` has another length.
    pub fn with_base(mut self, base: &[f32]) -> Plan {
        self.base.copy_from_slice(base);
        self
    }

    /// Indices of the blocks whose output is kept.
    pub fn taps(&self) -> &[usize] {
        &self.taps
    }

    /// Indices of the blocks after which the stream is kept.
    pub fn streams(&self) -> &[usize] {
        &self.streams
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The input size.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Number of rows and columns of patches.
    pub fn grid(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Approximate working memory of an image, in bytes: the stream, queries, keys and values both plain and packed,
    /// the tapped layers, and each thread's buffers for one unit.
    pub fn image_bytes(&self, encoder: &Encoder) -> usize {
        let config = encoder.config();
        let values = self.tokens * config.dim * (8 + self.taps.len() + self.streams.len());
        let unit = self.unit_rows() * (3 * config.dim + config.hidden);
        let step = self.unit_rows().min(STEP_ROWS) * 3 * config.hidden;
        4 * (values + self.threads * (unit + step))
    }

    /// Number of rows of the largest unit.
    pub(super) fn unit_rows(&self) -> usize {
        self.bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0)
    }
}

/// `layers` in ascending order, without duplicates.
fn selected(encoder: &Encoder, layers: &[usize]) -> Result<Vec<usize>, EncoderError> {
    let blocks = encoder.blocks.len();
    if let Some(&layer) = layers.iter().find(|&&layer| layer >= blocks) {
        return Err(EncoderError::Layer { layer, blocks });
    }
    let mut layers = layers.to_vec();
    layers.sort_unstable();
    layers.dedup();
    Ok(layers)
}

/// Bounds of units of about `most` rows at most. The number of units is a multiple of the number of threads if there
/// are enough tiles. Their sizes are nearly equal, and each unit but the last is a whole number of tiles of `tile`
/// rows. With several threads there are at least two units per thread, unless these would be too small, so that a
/// thread that is slower or preempted takes fewer.
fn units(tokens: usize, threads: usize, most: usize, tile: usize) -> Vec<usize> {
    let tiles = tokens.div_ceil(tile);
    let fair = if threads > 1 { tokens.div_ceil(2 * threads) } else { tokens };
    let most = most.min(fair).max(LEAST_ROWS);
    let units = tokens.div_ceil(most).next_multiple_of(threads.max(1)).min(tiles);
    (0..=units).map(|i| (tiles * i / units * tile).min(tokens)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_cover_the_tokens_evenly() {
        for tokens in (1..400).chain([1029, 4101]) {
            for threads in [1, 2, 3, 8] {
                for tile in [4, 6, 12] {
                    let bounds = units(tokens, threads, 256, tile);
                    assert_eq!((bounds[0], *bounds.last().unwrap()), (0, tokens));
                    let sizes: Vec<usize> = bounds.windows(2).map(|w| w[1] - w[0]).collect();
                    let (low, high) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
                    assert!(*low > 0 && high - low < 2 * tile && *high <= 256 + tile, "{sizes:?}");
                }
            }
        }
    }
}
