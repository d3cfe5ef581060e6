//! Cutting an image into patches.

/// Writes the patches of `pixels` (`[3, rows * patch, cols * patch]`) to `out` (`[rows * cols, 3 * patch * patch]`),
/// a row in the order channel, y, x: the order of a convolution's weight.
///
/// # Panics
/// When the lengths do not agree.
pub fn cut(pixels: &[f32], rows: usize, cols: usize, patch: usize, out: &mut [f32]) {
    let (area, width, length) = (rows * cols * patch * patch, cols * patch, 3 * patch * patch);
    assert_eq!(pixels.len(), 3 * area);
    assert_eq!(out.len(), rows * cols * length);
    for (p, row) in out.chunks_exact_mut(length).enumerate() {
        let corner = p / cols * patch * width + p % cols * patch;
        for (i, line) in row.chunks_exact_mut(patch).enumerate() {
            let at = i / patch * area + corner + i % patch * width;
            line.copy_from_slice(&pixels[at..at + patch]);
        }
    }
}
