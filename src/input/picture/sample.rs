//! Samples as stored in a file, and as 16 bits.

use image::{ImageBuffer, Luma};

/// Stored numbers, one per pixel, neither scaled nor looked up in a palette.
pub(in crate::input) struct Stored {
    pub(in crate::input) values: ImageBuffer<Luma<u16>, Vec<u16>>,
    /// The number that is white, if it is known.
    pub(in crate::input) white: Option<u16>,
    /// Whether the compression is lossy.
    pub(in crate::input) lossy: bool,
}

/// Scales a sample of 0 to `largest` to 16 bits, rounded to nearest.
pub(super) fn deepen(sample: u16, largest: u32) -> u16 {
    ((u32::from(sample) * 65535 + largest / 2) / largest).min(65535) as u16
}
