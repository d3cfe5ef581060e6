//! A frame as a browser shows it.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ExtendedColorType, ImageEncoder};
use microraptor::input::{Image, LabelMap};
use microraptor::output::mask_layer;
use serde_json::{Value, json};

use super::heat::Heat;

/// The longer side of a picture is at most so long: enough for a phone, and some ten KB.
const MAX_SIDE: usize = 640;

/// Quality of JPEG, of 100.
const QUALITY: u8 = 85;

/// A frame, and what is drawn over it.
pub struct Drawing {
    pub image: Image,
    /// One for each head that draws, of the size of `image`, with the number of classes of those before it: their colours
    /// are taken.
    pub masks: Vec<(LabelMap, usize)>,
    /// What each patch adds to an answer, if a viewer wants to see it.
    pub heat: Option<Heat>,
    /// What is said of the frame.
    pub said: Value,
}

impl Drawing {
    /// What the page gets: what is said, the picture as JPEG, and the masks as one PNG to lay over it.
    pub fn encode(&self) -> anyhow::Result<String> {
        let (width, height) = (self.image.width(), self.image.height());
        let size = shrunk(width, height);
        let mask = if self.masks.is_empty() { None } else { Some(png(&self.layer(size), size)?) };
        let heat = self.heat.as_ref().map(|heat| png(&heat.layer(size), size)).transpose()?;
        let picture = json!({
            "said": self.said,
            "width": width,
            "height": height,
            "jpeg": STANDARD.encode(jpeg(self.image.pixels(), size)?),
            "mask": mask.map(|png| STANDARD.encode(png)),
            "heat": heat.map(|png| STANDARD.encode(png)),
        });
        Ok(picture.to_string())
    }

    fn layer(&self, (width, height): (usize, usize)) -> Vec<u8> {
        let mut whole = vec![0; 4 * width * height];
        for (map, first) in &self.masks {
            let labels = nearest(map, width, height);
            for (under, over) in
                whole.chunks_exact_mut(4).zip(mask_layer(&labels, width, *first).chunks_exact(4))
            {
                if over[3] > 0 {
                    under.copy_from_slice(over);
                }
            }
        }
        whole
    }
}

fn png(pixels: &[u8], (width, height): (usize, usize)) -> anyhow::Result<Vec<u8>> {
    let mut png = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::NoFilter);
    encoder.write_image(pixels, width as u32, height as u32, ExtendedColorType::Rgba8)?;
    Ok(png)
}

/// Width and height of a picture as it is sent: that of the frame, or less.
fn shrunk(width: usize, height: usize) -> (usize, usize) {
    let longer = width.max(height);
    let fit = |side: usize| if longer > MAX_SIDE { (side * MAX_SIDE / longer).max(1) } else { side };
    (fit(width), fit(height))
}

fn jpeg(pixels: &DynamicImage, (width, height): (usize, usize)) -> anyhow::Result<Vec<u8>> {
    let small = if (pixels.width() as usize, pixels.height() as usize) == (width, height) {
        Cow::Borrowed(pixels)
    } else {
        Cow::Owned(pixels.thumbnail_exact(width as u32, height as u32))
    };
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    match small.color().has_color() {
        true => encoder.encode_image(&small.to_rgb8())?,
        false => encoder.encode_image(&small.to_luma8())?,
    }
    Ok(bytes)
}

/// The labels of `map` on `height` rows and `width` columns.
fn nearest(map: &LabelMap, width: usize, height: usize) -> Vec<u8> {
    let from = |at: usize, length: usize, whole: usize| (2 * at + 1) * whole / (2 * length);
    let row = |y: usize| {
        (0..width).map(move |x| from(y, height, map.height) * map.width + from(x, width, map.width))
    };
    (0..height).flat_map(row).map(|at| map.labels[at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_bounded_and_masks_lie_over_it() {
        let image = Image::from_grey8(1300, 650, vec![90; 1300 * 650]).unwrap();
        let half = |columns: std::ops::Range<usize>| {
            let labels = (0..1300 * 650).map(|at| u8::from(columns.contains(&(at % 1300)))).collect();
            LabelMap::new(1, 650, 1300, labels).unwrap()
        };
        let masks = vec![(half(0..650), 0), (half(1000..1300), 1)];
        let drawing = Drawing { image, masks, heat: None, said: json!({"frame": 7}) };
        let value: Value = serde_json::from_str(&drawing.encode().unwrap()).unwrap();
        assert_eq!((&value["said"]["frame"], &value["width"]), (&7.into(), &1300.into()));
        let decoded = |name: &str| {
            image::load_from_memory(&STANDARD.decode(value[name].as_str().unwrap()).unwrap()).unwrap()
        };
        let picture = decoded("jpeg").into_luma8();
        assert_eq!(picture.dimensions(), (640, 320));
        assert!(picture.pixels().all(|pixel| pixel.0[0].abs_diff(90) <= 1));
        let mask = decoded("mask").into_rgba8();
        assert_eq!(mask.dimensions(), (640, 320));
        let [orange, blue] = [1, 2].map(|class| microraptor::output::colour(class).unwrap());
        for (x, alpha, colour) in
            [(100, 64, orange), (319, 255, orange), (400, 0, [0; 3]), (550, 64, blue), (639, 255, blue)]
        {
            let [r, g, b, a] = mask.get_pixel(x, 160).0;
            assert_eq!(([r, g, b], a), (colour, alpha), "{x}");
        }
    }

    #[test]
    fn small_pictures_keep_their_size() {
        for (from, to) in
            [((640, 8), (640, 8)), ((8, 641), (7, 640)), ((4000, 8), (640, 1)), ((96, 96), (96, 96))]
        {
            assert_eq!(shrunk(from.0, from.1), to);
        }
    }
}
