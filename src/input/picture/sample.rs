//! Samples as a file stores them, and as 16 bits.

use image::{ImageBuffer, Luma};

/// Numbers as a file stores them, one a pixel, neither scaled nor looked up in a palette.
pub(in crate::input) struct Stored {
    pub(in crate::input) values: ImageBuffer<Luma<u16>, Vec<u16>>,
    /// The number that is white, if one is beyond doubt.
    pub(in crate::input) white: Option<u16>,
    /// Whether the coder changes numbers.
    pub(in crate::input) lossy: bool,
}

/// A sample of 0 to `largest` as one of 16 bits, to the nearest.
pub(super) fn deepen(sample: u16, largest: u32) -> u16 {
    ((u32::from(sample) * 65535 + largest / 2) / largest).min(65535) as u16
}
