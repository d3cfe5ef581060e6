//! Limits on the size of a picture.

use std::path::Path;

use crate::input::limits::{MAX_PIXELS, MAX_RATIO, TRUSTED_BYTES};
use crate::input::{Image, InputError};

/// Decoded size of the largest image, in bytes: [`MAX_PIXELS`] of RGBA with 16 bits each.
pub(super) const MAX_BYTES: u64 = 8 * MAX_PIXELS;

/// Refuses sizes before anything is allocated for them; `file` is the file's length.
pub(super) fn check_size(
    path: &Path,
    [width, height]: [u32; 2],
    decoded: u64,
    file: u64,
) -> Result<(), InputError> {
    if u64::from(width) * u64::from(height) > MAX_PIXELS
        || decoded > MAX_BYTES
        || (decoded > TRUSTED_BYTES && decoded / MAX_RATIO > file)
    {
        return Err(InputError::TooLarge { path: path.into(), width, height, bytes: file });
    }
    Image::check_sides(&path.display().to_string(), width as usize, height as usize)
}
