//! Draws numbers of patches over the picture that they belong to.

use image::{ExtendedColorType, Rgb, RgbImage};

use super::heat_bar::{self, Bar};
use super::picture::write_png;
use super::{ContentError, OutputError};
use crate::files::Target;
use crate::input::Image;
use crate::vit::{Preprocess, Size};

/// Colours of positive and negative numbers: vermilion and blue of Okabe and Ito's palette (Color Universal Design,
/// 2008), which all types of colour vision tell apart.
pub const HEAT: [[u8; 3]; 2] = [[213, 94, 0], [0, 114, 178]];

/// Opacity of the largest magnitude, of 255: the picture stays visible through it.
const MOST: f64 = 191.0;

/// Which patch covers each pixel of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchMap {
    /// Row of patches of each row of pixels; `None` where the model does not look.
    rows: Vec<Option<usize>>,
    columns: Vec<Option<usize>>,
    /// Columns of patches.
    width: usize,
}

impl PatchMap {
    /// For pictures of `seen` rows and columns, which `preprocess` brings to an input of `size` that is divided into a
    /// `grid` of rows and columns of patches.
    pub fn new(grid: (usize, usize), size: Size, preprocess: &Preprocess, seen: (usize, usize)) -> PatchMap {
        let (resized, (top, left)) = preprocess.placed(seen.0, seen.1, size);
        let axis = |pixels: usize, resized: usize, begin: isize, input: usize, patches: usize| {
            let patch = |pixel: usize| {
                let at = (pixel as f64 + 0.5) * resized as f64 / pixels as f64 - begin as f64;
                let patch = at * patches as f64 / input as f64;
                (patch >= 0.0 && patch < patches as f64).then_some(patch as usize)
            };
            (0..pixels).map(patch).collect::<Vec<Option<usize>>>()
        };
        PatchMap {
            rows: axis(seen.0, resized.height, top, size.height, grid.0),
            columns: axis(seen.1, resized.width, left, size.width, grid.1),
            width: grid.1,
        }
    }

    /// Rows and columns of the picture.
    pub fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.columns.len())
    }

    /// Index of the patch that covers the pixel at `row`, `column`; `None` where the model does not look.
    pub fn patch(&self, row: usize, column: usize) -> Option<usize> {
        Some(self.rows[row]? * self.width + self.columns[column]?)
    }
}

/// The colour of `value` and its opacity, where magnitudes of `scale` have the full colour: RGBA. 0 is transparent.
pub fn heat(value: f64, scale: f64) -> [u8; 4] {
    let share = if scale > 0.0 { (value.abs() / scale).min(1.0) } else { 0.0 };
    let [r, g, b] = HEAT[usize::from(value < 0.0)];
    [r, g, b, (MOST * share).round() as u8]
}

/// `values`, one a patch, as a picture to lay over another one: RGBA, `[height, width, 4]`.
///
/// # Panics
/// If there are fewer values than patches.
pub fn heat_layer(map: &PatchMap, values: &[f64], scale: f64) -> Vec<u8> {
    let (height, width) = map.size();
    let colours: Vec<[u8; 4]> = values.iter().map(|&value| heat(value, scale)).collect();
    let pixel = |at: usize| map.patch(at / width, at % width).map_or([0; 4], |patch| colours[patch]);
    (0..height * width).flat_map(pixel).collect()
}

/// Writes the picture with `values`, one a patch, drawn over it as an RGB PNG. Each patch is a rectangle, not smoothed: the
/// map has no finer detail. A strip below the picture shows which colour stands for which number; no other text is drawn.
///
/// # Errors
/// [`OutputError`] names the path: the map belongs to pictures of another size, or the system reported an error.
pub fn write_heat_map<'a>(
    target: impl Into<Target<'a>>,
    image: &Image,
    map: &PatchMap,
    values: &[f64],
    scale: f64,
) -> Result<(), OutputError> {
    let target = target.into();
    let (height, width) = map.size();
    let (mask, picture) = ([width, height], [image.width(), image.height()]);
    if mask != picture {
        let problem = ContentError::PictureSize { mask, picture };
        return Err(OutputError::Content { path: target.path.to_owned(), problem });
    }
    let bar = Bar::new(width, scale);
    let mut drawn = RgbImage::new(bar.width() as u32, (height + bar.height()) as u32);
    let pixels = image.pixels().to_rgb8();
    let layer = heat_layer(map, values, scale);
    for ((x, y, pixel), over) in pixels.enumerate_pixels().zip(layer.chunks_exact(4)) {
        drawn.put_pixel(x, y, Rgb(mixed(pixel.0, [over[0], over[1], over[2], over[3]])));
    }
    heat_bar::draw(&bar, &mut drawn, height, |value| mixed(heat_bar::UNDER, heat(value, scale)));
    let (width, height) = (drawn.width() as usize, drawn.height() as usize);
    write_png(target, drawn.as_raw(), width, height, ExtendedColorType::Rgb8)
}

/// `over` laid on `under`.
fn mixed(under: [u8; 3], [r, g, b, alpha]: [u8; 4]) -> [u8; 3] {
    let alpha = u32::from(alpha);
    let mix = |under: u8, over: u8| {
        ((u32::from(under) * (255 - alpha) + u32::from(over) * alpha + 127) / 255) as u8
    };
    [mix(under[0], r), mix(under[1], g), mix(under[2], b)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vit::{Crop, Resize};

    #[test]
    fn patches_lie_where_the_preprocessing_takes_them_from() {
        let size = Size { height: 32, width: 48 };
        let map = PatchMap::new((2, 3), size, &Preprocess::IMAGENET, (10, 9));
        let patches: Vec<Option<usize>> = (0..9).map(|x| map.patch(4, x)).collect();
        assert_eq!(patches, [0, 0, 0, 1, 1, 1, 2, 2, 2].map(Some));
        assert_eq!((map.patch(5, 0), map.patch(9, 8)), (Some(3), Some(5)));
        // The middle 16 x 16 of a picture whose shorter side is resized to 32: half of it in each direction.
        let crop = Crop { resize: Resize::ShortestEdge(32), height: 16, width: 16 };
        let cropped = Preprocess { crop: Some(crop), ..Preprocess::IMAGENET };
        let map = PatchMap::new((2, 2), Size::square(16), &cropped, (64, 128));
        let row: Vec<Option<usize>> = (0..128).map(|x| map.patch(32, x)).collect();
        for (x, patch) in row.iter().enumerate() {
            let expected = match x {
                48..=63 => Some(2),
                64..=79 => Some(3),
                _ => None,
            };
            assert_eq!(*patch, expected, "{x}");
        }
        assert!(map.patch(15, 60).is_none() && map.patch(16, 60).is_some());
    }

    #[test]
    fn nothing_is_transparent_and_signs_have_colours() {
        assert_eq!(heat(0.0, 2.0)[3], 0);
        assert_eq!(heat(0.0, 0.0)[3], 0);
        assert_eq!(heat(2.0, 2.0), [213, 94, 0, 191]);
        assert_eq!(heat(-1.0, 2.0), [0, 114, 178, 96]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heat.png");
        let image = Image::from_grey8(200, 100, vec![100; 20_000]).unwrap();
        let map = PatchMap::new((1, 2), Size { height: 16, width: 32 }, &Preprocess::IMAGENET, (100, 200));
        write_heat_map(&path, &image, &map, &[0.0, -0.25], 0.25).unwrap();
        let written = image::open(&path).unwrap().into_rgb8();
        assert!(written.height() > 100 && written.width() == 200);
        assert_eq!(written.get_pixel(50, 50).0, [100; 3]);
        assert_eq!(written.get_pixel(100, 50).0, [25, 110, 158]);
        // The strip has both colours, blue on the left.
        let strip: Vec<[u8; 3]> =
            (0..200).map(|x| written.get_pixel(x, 100 + (written.height() - 100) / 2).0).collect();
        let most = |channel: usize| {
            (0..200).max_by_key(|&x| strip[x][channel].saturating_sub(strip[x][2 - channel])).unwrap()
        };
        assert!(most(2) < most(0), "{strip:?}");
        let other = Image::from_grey8(200, 99, vec![0; 19_800]).unwrap();
        assert!(write_heat_map(&path, &other, &map, &[0.0; 2], 1.0).is_err());
    }
}
