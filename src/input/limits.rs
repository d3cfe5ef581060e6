//! Size limits for pictures of any format.

/// Images with a shorter side are refused: it is half a 16 px patch, in which no model of the family can see anything,
/// so such a file is a mistake (a tracking pixel, a mask, a broken export) and not data.
pub const MIN_SIDE: usize = 8;

/// Images with more pixels are refused: 8192 x 8192, or 64 megapixels.
pub const MAX_PIXELS: u64 = 1 << 26;

/// Decoded sizes up to this many bytes are accepted on the header's word.
pub(super) const TRUSTED_BYTES: u64 = 64 << 20;

/// Above [`TRUSTED_BYTES`], a decoded picture may be at most this many times the file's size. Deflate, the densest of
/// the byte codecs here, cannot exceed 1032 : 1 (RFC 1951: 258 bytes from two bits).
pub(super) const MAX_RATIO: u64 = 1032;
