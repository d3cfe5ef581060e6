use std::path::PathBuf;

use image::{ImageFormat, Rgb, Rgb32FImage, RgbImage};

use super::*;
use crate::vit::{Preprocess, Size};

/// A 40 x 24 px picture without symmetry.
fn picture() -> RgbImage {
    RgbImage::from_fn(40, 24, |x, y| Rgb([(x * 6) as u8, (y * 10) as u8, ((x * 7 + y * 13) % 256) as u8]))
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn with(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The error message for a file of these bytes; one line that names the file.
    fn error(&self, bytes: &[u8]) -> String {
        let path = self.with("file", bytes);
        let message = Image::open(&path).unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()) && !message.contains('\n'), "{message}");
        message
    }
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::Tiff,
    ImageFormat::Bmp,
    ImageFormat::WebP,
    ImageFormat::Pnm,
];

const PLAIN: Preprocess = Preprocess { mean: [0.0; 3], std: [1.0; 3], ..Preprocess::IMAGENET };

#[test]
fn reads_every_format_whatever_the_name() {
    let files = Files::new();
    let picture = DynamicImage::ImageRgb8(picture());
    for format in FORMATS {
        let image = Image::open(files.with("picture.txt", &encode(&picture, format))).unwrap();
        assert_eq!((image.width(), image.height()), (40, 24), "{format:?}");
        if format != ImageFormat::Jpeg {
            assert_eq!(image.pixels(), &picture, "{format:?}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let files = Files::new();
    for format in FORMATS {
        let whole = encode(&DynamicImage::ImageRgb8(picture()), format);
        for keep in [whole.len() / 8, whole.len() / 2, whole.len() * 9 / 10] {
            let message = files.error(&whole[..keep]);
            assert!(message.contains("cannot be decoded"), "{format:?} cut at {keep}: {message}");
        }
    }
    assert!(files.error(b"").contains("not an image of a known format"));
    assert!(files.error(b"image,label\n").contains("not an image of a known format"));
}

#[test]
fn depth_and_alpha_do_not_change_the_values() {
    let size = Size { height: 16, width: 48 };
    let rgb = DynamicImage::ImageRgb8(picture());
    let tensor = |pixels: DynamicImage| Image { pixels }.tensor(size, &PLAIN);
    let expected = tensor(rgb.clone());
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 2.0 * f32::EPSILON);
    // x / 255 and 257 x / 65535 are the same number and round alike.
    for same in [DynamicImage::ImageRgba8(rgb.to_rgba8()), DynamicImage::ImageRgb16(rgb.to_rgb16())] {
        assert_eq!(tensor(same), expected);
    }
    assert_eq!(tensor(DynamicImage::ImageRgba16(rgb.to_rgba16())), expected);
    // The image crate divides differently: the results differ by at most one rounding.
    assert!(close(&tensor(DynamicImage::ImageRgb32F(rgb.to_rgb32f())), &expected));
    assert!(close(&tensor(DynamicImage::ImageRgba32F(rgb.to_rgba32f())), &expected));

    let grey = rgb.to_luma8();
    let three = RgbImage::from_fn(40, 24, |x, y| Rgb([grey.get_pixel(x, y).0[0]; 3]));
    let expected = tensor(DynamicImage::ImageRgb8(three));
    let grey = DynamicImage::ImageLuma8(grey);
    assert_eq!(tensor(DynamicImage::ImageLumaA8(grey.to_luma_alpha8())), expected);
    assert_eq!(tensor(DynamicImage::ImageLuma16(grey.to_luma16())), expected);
    assert_eq!(tensor(DynamicImage::ImageLumaA16(grey.to_luma_alpha16())), expected);
    assert_eq!(tensor(grey), expected);
}

#[test]
fn applies_the_exif_orientation() {
    // A TIFF block with one entry: Orientation (0x0112) = 6, "turn clockwise to see it upright".
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    image::ImageEncoder::set_exif_metadata(&mut encoder, exif).unwrap();
    picture().write_with_encoder(encoder).unwrap();
    let image = Image::open(Files::new().with("turned.png", &bytes)).unwrap();
    assert_eq!(image.pixels(), &DynamicImage::ImageRgb8(image::imageops::rotate90(&picture())));
}

#[test]
fn refuses_what_shows_nothing_and_what_is_too_large() {
    let files = Files::new();
    for (width, height, is_error) in [(1, 1, true), (7, 300, true), (300, 7, true), (8, 8, false)] {
        let bytes = encode(&DynamicImage::new_rgb8(width, height), ImageFormat::Png);
        let result = Image::open(files.with("file", &bytes));
        assert_eq!(result.is_err(), is_error, "{width}x{height}");
        if let Err(error) = result {
            assert!(error.to_string().contains(&format!("file: {width}x{height} px leave nothing to see")));
        }
    }
    // Headers only: one above 64 megapixels, one within but with more pixels than these bytes can hold.
    for header in ["P5 8193 8192 255\n", "P5 8192 8192 65535\n"] {
        let message = files.error(header.as_bytes());
        assert!(message.contains("are refused: give at most 64 megapixels"), "{message}");
    }
    assert!(files.error(b"P6 4294967295 4294967295 255\n").contains("too large"));
}

#[test]
fn refuses_floats_that_are_not_brightnesses() {
    let files = Files::new();
    for (value, is_error) in [(0.0, false), (1.0, false), (1.5, true), (-0.1, true), (f32::NAN, true)] {
        let mut picture = Rgb32FImage::new(9, 9);
        picture.put_pixel(4, 8, Rgb([0.0, value, 0.0]));
        let bytes = encode(&DynamicImage::ImageRgb32F(picture), ImageFormat::Tiff);
        let result = Image::open(files.with("file.tiff", &bytes));
        assert_eq!(result.is_err(), is_error, "{value}: {result:?}");
        if let Err(error) = result {
            assert!(error.to_string().contains(&format!("file.tiff: holds the value {value}:")), "{error}");
        }
    }
}

#[test]
fn grey_buffers_are_checked() {
    assert_eq!(Image::from_grey8(9, 8, vec![3; 72]).unwrap().width(), 9);
    let wrong = Image::from_grey8(9, 8, vec![3; 71]).unwrap_err().to_string();
    assert_eq!(wrong, "71 values given for a 9x8 image: give one for each pixel and channel");
    assert!(Image::from_grey8(usize::MAX, usize::MAX, vec![3; 1]).is_err());
    assert!(matches!(Image::from_grey8(9, 7, vec![3; 63]), Err(InputError::TooSmall { .. })));
}

#[test]
fn the_tensor_of_every_machine_has_these_bits() {
    use sha2::{Digest, Sha256};
    let image = Image { pixels: DynamicImage::ImageRgb8(picture()) };
    let mut hash = Sha256::new();
    for size in [Size::square(16), Size { height: 64, width: 32 }] {
        let tensor = image.tensor(size, &Preprocess::IMAGENET);
        tensor.iter().for_each(|v| hash.update(v.to_le_bytes()));
    }
    let hex: String = hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "d3787753a0749d51");
}

#[test]
fn only_a_region_stays() {
    let image = Image::from_grey8(9, 8, (1..73).collect()).unwrap();
    let part = image.only(crate::input::Region { top: 2, left: 7, height: 1, width: 5 });
    assert_eq!((part.width(), part.height()), (9, 8));
    let kept: Vec<(usize, u8)> =
        part.pixels().to_luma8().iter().copied().enumerate().filter(|(_, v)| *v > 0).collect();
    assert_eq!(kept, [(25, 26), (26, 27)]);
}
