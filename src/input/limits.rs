//! Sizes past which no picture is read, whatever its format.

/// Images with a shorter side are refused: half a 16 px patch, in which no model of the family can see anything, so
/// that such a file is a mistake (a tracking pixel, a mask, a broken export) and not data.
pub const MIN_SIDE: usize = 8;

/// Images with more pixels are refused: 8192 x 8192, or 64 megapixels.
pub const MAX_PIXELS: u64 = 1 << 26;

/// Up to this many decoded bytes are taken on the header's word.
pub(super) const TRUSTED_BYTES: u64 = 64 << 20;

/// Past [`TRUSTED_BYTES`] a file must be at least this fraction of its decoded size. Deflate, the densest of the
/// byte coders here, cannot exceed 1032 : 1 (RFC 1951: 258 bytes from two bits).
pub(super) const MAX_RATIO: u64 = 1032;
