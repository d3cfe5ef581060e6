//! Cuts an image into patches.

/// Writes patches of `pixels` (`[3, rows * patch, cols * patch]`) to `out` (`[count, 3 * patch * patch]`), starting at
/// patch index `first` and going row by row. The values of a patch are in the order channel, y, x, like the weights of
/// a convolution.
///
/// # Panics
/// If the lengths do not agree.
pub fn cut(pixels: &[f32], rows: usize, cols: usize, patch: usize, first: usize, out: &mut [f32]) {
    let (area, width, length) = (rows * cols * patch * patch, cols * patch, 3 * patch * patch);
    assert_eq!(pixels.len(), 3 * area);
    assert!(out.len() <= (rows * cols - first) * length);
    for (p, row) in (first..).zip(out.chunks_exact_mut(length)) {
        let corner = p / cols * patch * width + p % cols * patch;
        for (i, line) in row.chunks_exact_mut(patch).enumerate() {
            let at = i / patch * area + corner + i % patch * width;
            line.copy_from_slice(&pixels[at..at + patch]);
        }
    }
}
