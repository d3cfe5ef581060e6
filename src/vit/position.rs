//! Positions: DINOv3's axial rotary embedding, and ViT's learned grid resampled to any size.

use super::{Config, PositionResize, Positions, Size, SizeError};
use crate::kernels::resample;

/// The base of DINOv3's rotary periods.
const ROPE_BASE: f64 = 100.0;

/// DINOv3's periods for a head of `head_dim`: `base^(4 i / head_dim)`, `i < head_dim / 4`, base 100.
///
/// Meta's published checkpoints hold these rounded to bf16; transformers and timm compute them in f32.
pub fn default_periods(head_dim: usize) -> Vec<f32> {
    rope_periods(ROPE_BASE, head_dim)
}

/// The periods for a head of `head_dim` and another base (`rope_theta` in a Hugging Face `config.json`).
pub fn rope_periods(base: f64, head_dim: usize) -> Vec<f32> {
    let quarter = head_dim / 4;
    (0..quarter).map(|i| libm::pow(base, i as f64 / quarter as f64) as f32).collect()
}

/// Sines and cosines of the rotary embedding for every patch of one input size.
///
/// A patch's centre is normalised to [-1, 1] on each axis; its angle is `2 pi coordinate / period`. The angles of a
/// head's channels are `[y angles, x angles]`, twice, and channel `j` is rotated with channel `j + head_dim / 2`.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeTable {
    /// `[rows * cols, head_dim / 2]`
    pub cos: Vec<f32>,
    /// `[rows * cols, head_dim / 2]`
    pub sin: Vec<f32>,
    /// `head_dim / 2`
    pub half: usize,
}

impl RopeTable {
    /// The table of a grid of `rows` x `cols` patches for `periods` (`[head_dim / 4]`).
    pub fn new(periods: &[f32], rows: usize, cols: usize) -> RopeTable {
        let half = 2 * periods.len();
        let centre = |i: usize, n: usize| 2.0 * ((i as f32 + 0.5) / n as f32) - 1.0;
        let mut cos = Vec::with_capacity(rows * cols * half);
        let mut sin = Vec::with_capacity(rows * cols * half);
        for y in 0..rows {
            for x in 0..cols {
                for coordinate in [centre(y, rows), centre(x, cols)] {
                    for period in periods {
                        let angle = std::f32::consts::TAU * coordinate / period;
                        // Not the platform's functions: their last bit differs between C libraries.
                        cos.push(libm::cos(f64::from(angle)) as f32);
                        sin.push(libm::sin(f64::from(angle)) as f32);
                    }
                }
            }
        }
        RopeTable { cos, sin, half }
    }

    /// Rotates one head's channels (`[head_dim]`) of the patch with index `patch`, in place.
    pub fn rotate(&self, patch: usize, head: &mut [f32]) {
        let at = patch * self.half;
        let (low, high) = head.split_at_mut(self.half);
        for j in 0..self.half {
            let (cos, sin) = (self.cos[at + j], self.sin[at + j]);
            let (a, b) = (low[j], high[j]);
            low[j] = a * cos - b * sin;
            high[j] = b * cos + a * sin;
        }
    }
}

/// Learned positions at `size`: `[1 + rows * cols, dim]`, CLS first.
///
/// On the grid used in training they are those of the checkpoint. On another grid the patches' positions are resampled
/// as [`PositionResize`] specifies.
///
/// # Errors
/// [`SizeError`] if `size` is not a whole number of patches.
///
/// # Panics
/// If `positions` (see [`Weights::positions`]) do not belong to `config`, or `config` has no learned positions.
///
/// [`Weights::positions`]: super::Weights::positions
pub fn learned_positions(config: &Config, positions: &[f32], size: Size) -> Result<Vec<f32>, SizeError> {
    let Positions::Learned { rows, cols, resize } = config.positions else {
        panic!("a model with rotary positions has no learned ones");
    };
    let (new_rows, new_cols) = size.grid(config.patch)?;
    let (cls, grid) = positions.split_at(config.dim);
    let mut out = cls.to_vec();
    if (rows, cols) == (new_rows, new_cols) {
        out.extend_from_slice(grid);
    } else {
        let filter = |from, to| match resize {
            PositionResize::Antialiased => resample::Filter::new(from, to, resample::CUBIC),
            PositionResize::Plain => resample::Filter::plain_cubic(from, to),
        };
        let (vertical, horizontal) = (filter(rows, new_rows), filter(cols, new_cols));
        out.extend(resample::resample(grid, cols, config.dim, &vertical, &horizontal));
    }
    Ok(out)
}
