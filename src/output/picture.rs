//! Writes masks as pictures: class numbers for programs, and overlays for viewing.

use std::io;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};

use super::{ContentError, OutputError};
use crate::files::{Target, write_atomically};
use crate::input::{Image, LabelMap};

/// Colours of the classes from 1 on, from Okabe and Ito's palette for all types of colour vision (Color Universal
/// Design, 2008). Black is omitted, and the order begins with the colours that stand out most from a grey image.
pub const PALETTE: [[u8; 3]; 7] = [
    [230, 159, 0],   // orange
    [86, 180, 233],  // sky blue
    [0, 158, 115],   // bluish green
    [240, 228, 66],  // yellow
    [204, 121, 167], // reddish purple
    [213, 94, 0],    // vermilion
    [0, 114, 178],   // blue
];

/// Opacity of the class colour inside its outline, in percent: speckle stays visible through it.
const TINT: u32 = 25;

/// The outline widens by one pixel for each this many pixels of the shorter side, so that it stays visible when the
/// picture is scaled to fit a screen.
const PIXELS_PER_OUTLINE: usize = 300;

/// The colour of a class; the palette repeats after seven. The background (0) has none.
pub fn colour(class: u8) -> Option<[u8; 3]> {
    let index = usize::from(class).checked_sub(1)?;
    Some(PALETTE[index % PALETTE.len()])
}

/// Writes slice `z` of a label map as an 8-bit grey PNG.
///
/// With two classes (background and one other) it is black and white, 0 and 255, so that it can be viewed; with more,
/// the grey value is the class number. When reading such a file, a picture of only 0 and 255 is treated as two classes,
/// otherwise grey values are class numbers; so a label of 255 is refused here.
///
/// # Errors
/// [`OutputError`] names the path: slice `z` does not exist, a label is not below `classes` or is 255, or the system
/// reported an error.
pub fn write_mask<'a>(
    target: impl Into<Target<'a>>,
    map: &LabelMap,
    z: usize,
    classes: usize,
) -> Result<(), OutputError> {
    let target = target.into();
    let path = target.path;
    let labels = slice(path, map, z)?;
    if let Some(&class) = labels.iter().find(|&&label| usize::from(label) >= classes || label == u8::MAX) {
        let problem = ContentError::Class { class, classes };
        return Err(OutputError::Content { path: path.to_owned(), problem });
    }
    let white = if classes <= 2 { u8::MAX } else { 1 };
    let grey: Vec<u8> = labels.iter().map(|&label| label * white).collect();
    write_png(target, &grey, map.width, map.height, ExtendedColorType::L8)
}

/// Writes the picture alone as PNG, with its values unchanged.
///
/// # Errors
/// [`OutputError`] names the path and gives the system's error.
pub fn write_picture(path: &Path, image: &Image) -> Result<(), OutputError> {
    let pixels = image.pixels();
    write_png(path.into(), pixels.as_bytes(), image.width(), image.height(), pixels.color().into())
}

/// Writes the picture with the predicted mask tinted and outlined in the [`colour`] of class 1, and the true mask
/// outlined over it in that of class 2, in the style of [`write_overlay`]. Classes are not distinguished.
///
/// # Errors
/// As [`write_overlay`].
pub fn write_comparison(
    path: &Path,
    image: &Image,
    predicted: &LabelMap,
    truth: &LabelMap,
) -> Result<(), OutputError> {
    let [predicted, truth] = [overlaid(path, image, predicted, 0)?, overlaid(path, image, truth, 0)?];
    let in_class = |labels: &[u8], class: u8| labels.iter().map(|&l| l.min(1) * class).collect::<Vec<u8>>();
    let mut picture = image.pixels().to_rgb8();
    draw(&mut picture, &in_class(predicted, 1), TINT);
    draw(&mut picture, &in_class(truth, 2), 0);
    write_png(path.into(), picture.as_raw(), image.width(), image.height(), ExtendedColorType::Rgb8)
}

/// Writes the picture with each class of slice `z` tinted and outlined in its [`colour`], as an RGB PNG at the
/// picture's size. Nothing else is drawn: no text, no name, no date.
///
/// # Errors
/// [`OutputError`] names the path: slice `z` does not exist, the map's size differs from the picture's, or the system
/// reported an error.
pub fn write_overlay<'a>(
    target: impl Into<Target<'a>>,
    image: &Image,
    map: &LabelMap,
    z: usize,
) -> Result<(), OutputError> {
    let target = target.into();
    let labels = overlaid(target.path, image, map, z)?;
    write_png(target, &overlay(image, labels), map.width, map.height, ExtendedColorType::Rgb8)
}

/// The picture with the classes of `labels` (`[height, width]`, as the picture) as in [`write_overlay`]: `[height, width,
/// 3]`.
///
/// # Panics
/// If the labels are not as many as the pixels.
pub fn overlay(image: &Image, labels: &[u8]) -> Vec<u8> {
    assert_eq!(labels.len(), image.width() * image.height(), "a label for each pixel");
    let mut picture = image.pixels().to_rgb8();
    draw(&mut picture, labels, TINT);
    picture.into_raw()
}

/// The labels of slice `z` of a map that is drawn over a picture.
pub(super) fn overlaid<'a>(
    path: &Path,
    image: &Image,
    map: &'a LabelMap,
    z: usize,
) -> Result<&'a [u8], OutputError> {
    let labels = slice(path, map, z)?;
    let (mask, picture) = ([map.width, map.height], [image.width(), image.height()]);
    if mask != picture {
        let problem = ContentError::PictureSize { mask, picture };
        return Err(OutputError::Content { path: path.to_owned(), problem });
    }
    Ok(labels)
}

/// Tints by `tint` percent and outlines the classes of `labels` (`[height, width]`) on a picture of that size.
fn draw(picture: &mut RgbImage, labels: &[u8], tint: u32) {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let reach = 1 + width.min(height) / PIXELS_PER_OUTLINE;
    for (index, (pixel, &label)) in picture.pixels_mut().zip(labels).enumerate() {
        let Some(colour) = colour(label) else { continue };
        if is_outline(labels, width, height, index, reach) {
            pixel.0 = colour;
        } else {
            for (value, colour) in pixel.0.iter_mut().zip(colour) {
                let mixed = u32::from(*value) * (100 - tint) + u32::from(colour) * tint;
                *value = ((mixed + 50) / 100) as u8;
            }
        }
    }
}

/// The classes of `labels` (`[height, width]`) as a picture to lay over another one, RGBA, `[height, width, 4]`: tinted
/// and outlined as [`write_overlay`] does it, with the colours after the first `skipped` ones.
pub fn mask_layer(labels: &[u8], width: usize, skipped: usize) -> Vec<u8> {
    let height = labels.len().checked_div(width).unwrap_or(0);
    let reach = 1 + width.min(height) / PIXELS_PER_OUTLINE;
    let tinted = (u32::from(u8::MAX) * TINT).div_ceil(100) as u8;
    let mut layer = vec![0; 4 * labels.len()];
    for (index, (pixel, &label)) in layer.chunks_exact_mut(4).zip(labels).enumerate() {
        let Some(class) = usize::from(label).checked_sub(1) else { continue };
        let alpha = if is_outline(labels, width, height, index, reach) { u8::MAX } else { tinted };
        let [r, g, b] = PALETTE[(class + skipped) % PALETTE.len()];
        pixel.copy_from_slice(&[r, g, b, alpha]);
    }
    layer
}

/// Whether a pixel is within `reach` steps (in the 4-neighbourhood) of a different label or of the picture's edge.
fn is_outline(labels: &[u8], width: usize, height: usize, index: usize, reach: usize) -> bool {
    let (row, column) = (index / width, index % width);
    if row < reach || column < reach || row + reach >= height || column + reach >= width {
        return true;
    }
    (0..=2 * reach).any(|i| {
        let half = reach - i.abs_diff(reach);
        let start = (row + i - reach) * width + column - half;
        labels[start..=start + 2 * half].iter().any(|&other| other != labels[index])
    })
}

/// The labels of slice `z`.
fn slice<'a>(path: &Path, map: &'a LabelMap, z: usize) -> Result<&'a [u8], OutputError> {
    let LabelMap { depth, height, width, .. } = *map;
    if z >= depth || height == 0 || width == 0 {
        let problem = ContentError::Slice { slice: z + 1, depth, width, height };
        return Err(OutputError::Content { path: path.to_owned(), problem });
    }
    Ok(map.slice(z))
}

/// Writes `pixels` as PNG.
pub(super) fn write_png(
    target: Target<'_>,
    pixels: &[u8],
    width: usize,
    height: usize,
    colour: ExtendedColorType,
) -> Result<(), OutputError> {
    Ok(write_atomically(target, |writer| {
        let too_wide = |_| io::Error::other("a side has more pixels than PNG holds");
        let (width, height) = (width.try_into().map_err(too_wide)?, height.try_into().map_err(too_wide)?);
        PngEncoder::new(writer).write_image(pixels, width, height, colour).map_err(io::Error::other)
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disc of class 1 and a bar of class 2 on 40 x 30 pixels of grey 100.
    fn scene() -> (Image, LabelMap) {
        let labels = (0..30 * 40)
            .map(|i| {
                let (y, x) = (i / 40, i % 40);
                match (y, x) {
                    (20..=26, 5..=35) => 2,
                    _ if (y - 10) * (y - 10) + (x - 15) * (x - 15) <= 49 => 1,
                    _ => 0,
                }
            })
            .collect();
        let image = Image::from_grey8(40, 30, vec![100; 30 * 40]).unwrap();
        (image, LabelMap::new(1, 30, 40, labels).unwrap())
    }

    #[test]
    fn a_mask_holds_class_numbers_or_black_and_white() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        let (_, map) = scene();
        write_mask(&path, &map, 0, 3).unwrap();
        assert_eq!(image::open(&path).unwrap().as_luma8().unwrap().as_raw(), &map.labels);
        let binary = LabelMap { labels: map.labels.iter().map(|&l| l.min(1)).collect(), ..map.clone() };
        write_mask(&path, &binary, 0, 2).unwrap();
        let white: Vec<u8> = binary.labels.iter().map(|&l| 255 * l).collect();
        assert_eq!(image::open(&path).unwrap().as_luma8().unwrap().as_raw(), &white);
        let error = write_mask(&path, &map, 0, 2).unwrap_err().to_string();
        assert!(error.contains("class number 2, and there are 2 classes"), "{error}");
        assert!(write_mask(&path, &map, 1, 3).is_err());
    }

    #[test]
    fn an_overlay_tints_inside_and_outlines_the_edge() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overlay.png");
        let (image, map) = scene();
        write_overlay(&path, &image, &map, 0).unwrap();
        let overlay = image::open(&path).unwrap().into_rgb8();
        let pixel = |x, y| overlay.get_pixel(x, y).0;
        assert_eq!(pixel(0, 0), [100; 3], "background is the picture's");
        // 0.75 * 100 + 0.25 * (230, 159, 0), rounded half up.
        assert_eq!(pixel(15, 10), [133, 115, 75]);
        assert_eq!(pixel(15, 3), PALETTE[0], "top of the disc");
        assert_eq!(pixel(5, 23), PALETTE[1], "left end of the bar");
        let wide = LabelMap::new(1, 30, 41, vec![0; 30 * 41]).unwrap();
        let error = write_overlay(&path, &image, &wide, 0).unwrap_err().to_string();
        assert!(error.contains("the mask has 41x30 px and the picture 40x30"), "{error}");
    }

    #[test]
    fn a_comparison_outlines_the_truth_over_what_was_predicted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("comparison.png");
        let (image, map) = scene();
        let part = |class| {
            let labels = map.labels.iter().map(|&label| u8::from(label == class)).collect();
            LabelMap::new(1, 30, 40, labels).unwrap()
        };
        write_comparison(&path, &image, &part(1), &part(2)).unwrap();
        let comparison = image::open(&path).unwrap().into_rgb8();
        let pixel = |x, y| comparison.get_pixel(x, y).0;
        assert_eq!(
            [pixel(15, 10), pixel(15, 3)],
            [[133, 115, 75], PALETTE[0]],
            "predicted: tinted, outlined"
        );
        assert_eq!([pixel(20, 23), pixel(5, 23)], [[100; 3], PALETTE[1]], "true: outlined alone");
        write_picture(&path, &image).unwrap();
        assert!(image::open(&path).unwrap().into_luma8().pixels().all(|p| p.0 == [100]));
        let wide = LabelMap::new(1, 30, 41, vec![0; 30 * 41]).unwrap();
        assert!(write_comparison(&path, &image, &part(1), &wide).is_err());
    }

    #[test]
    fn labels_up_to_the_border_are_outlined_there() {
        let mut picture = RgbImage::new(8, 8);
        draw(&mut picture, &[1; 64], TINT);
        assert_eq!(picture.get_pixel(7, 4).0, PALETTE[0]);
        assert_ne!(picture.get_pixel(4, 4).0, PALETTE[0]);
    }
}
