//! Draws the inner and outer contours of a mask.

use image::ExtendedColorType;

use super::OutputError;
use super::picture::{PALETTE, overlaid, overlay, write_png};
use crate::files::Target;
use crate::input::{INNER, Image, LabelMap, OUTSIDE};

/// Sky blue, the colour of the palette that stands out most from grey and from the orange of class 1.
const OUTER_LINE: [u8; 3] = PALETTE[1];

/// Yellow, for the line within the mask.
const INNER_LINE: [u8; 3] = PALETTE[3];

/// A line widens by one pixel for each this many pixels of the shorter side: half as wide as the outline of a mask.
const PIXELS_PER_LINE: usize = 600;

/// As [`write_overlay`](super::write_overlay), with the contours of `zones` as thin lines over it: the outer one just
/// outside of its region (sky blue), the inner one along the inside of its own (yellow).
///
/// # Errors
/// As [`write_overlay`](super::write_overlay), for both maps.
pub fn write_contours<'a>(
    target: impl Into<Target<'a>>,
    image: &Image,
    map: &LabelMap,
    zones: &LabelMap,
    z: usize,
) -> Result<(), OutputError> {
    let target = target.into();
    let labels = overlaid(target.path, image, map, z)?;
    let zones = overlaid(target.path, image, zones, z)?;
    let mut pixels = overlay(image, labels);
    draw(&mut pixels, zones, map.width, map.height);
    write_png(target, &pixels, map.width, map.height, ExtendedColorType::Rgb8)
}

/// Draws the lines of `zones`, `[height, width]`, into `pixels`, `[height, width, 3]`.
fn draw(pixels: &mut [u8], zones: &[u8], width: usize, height: usize) {
    let reach = 1 + width.min(height) / PIXELS_PER_LINE;
    for (index, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let near = |test: &dyn Fn(u8) -> bool| {
            let (row, column) = (index / width, index % width);
            (row.saturating_sub(reach)..(row + reach + 1).min(height)).any(|y| {
                let half = reach - row.abs_diff(y);
                let columns = column.saturating_sub(half)..(column + half + 1).min(width);
                zones[y * width..][columns].iter().any(|&zone| test(zone))
            })
        };
        match zones[index] {
            OUTSIDE if near(&|zone| zone != OUTSIDE) => pixel.copy_from_slice(&OUTER_LINE),
            INNER if near(&|zone| zone != INNER) => pixel.copy_from_slice(&INNER_LINE),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lie_outside_of_the_outer_region_and_inside_of_the_inner_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overlay.png");
        // Squares of 20, 12 and 6 px around the middle of 30: outer region, mask, inner region.
        let within = |i: usize, half: usize| (i / 30).abs_diff(15) <= half && (i % 30).abs_diff(15) <= half;
        let zone = |i| u8::from(within(i, 10)) + u8::from(within(i, 3));
        let zones = LabelMap::new(1, 30, 30, (0..900).map(zone).collect()).unwrap();
        let mask = LabelMap::new(1, 30, 30, (0..900).map(|i| u8::from(within(i, 6))).collect()).unwrap();
        let image = Image::from_grey8(30, 30, vec![100; 900]).unwrap();
        write_contours(&path, &image, &mask, &zones, 0).unwrap();
        let drawn = image::open(&path).unwrap().into_rgb8();
        let row: Vec<[u8; 3]> = [3, 4, 5, 8, 9, 11, 12, 15].map(|x| drawn.get_pixel(x, 15).0).into();
        let (grey, tinted) = ([100; 3], [133, 115, 75]);
        assert_eq!(row, [grey, OUTER_LINE, grey, grey, PALETTE[0], tinted, INNER_LINE, tinted]);
        let other = LabelMap::new(1, 30, 31, vec![0; 930]).unwrap();
        assert!(write_contours(&path, &image, &mask, &other, 0).is_err());
    }
}
