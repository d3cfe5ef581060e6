//! Pictures, masks and streams.

use std::io::Cursor;

use image::{
    DynamicImage, ExtendedColorType, GrayImage, ImageBuffer, ImageEncoder, ImageFormat, Luma, RgbImage,
};

use super::{Seed, golden};

pub(super) fn add(seeds: &mut Vec<Seed>) {
    let rgb = RgbImage::from_fn(24, 17, |x, y| image::Rgb([(x * 10) as u8, (y * 15) as u8, (x * y) as u8]));
    let grey = GrayImage::from_fn(17, 24, |x, y| Luma([(x * 15 + y) as u8]));
    let deep = ImageBuffer::from_fn(16, 8, |x, y| Luma([(x * 4000 + y) as u16]));
    let pictures = [
        ("rgb", DynamicImage::from(rgb)),
        ("grey", DynamicImage::from(grey.clone())),
        ("deep", DynamicImage::from(deep)),
    ];
    for (name, picture) in &pictures {
        for format in [
            ImageFormat::Png,
            ImageFormat::Jpeg,
            ImageFormat::Tiff,
            ImageFormat::Bmp,
            ImageFormat::WebP,
            ImageFormat::Pnm,
        ] {
            let mut bytes = Cursor::new(Vec::new());
            // Not every format has 16 bits.
            if picture.write_to(&mut bytes, format).is_ok() {
                let name = format!("{name}.{}", format.extensions_str()[0]);
                seeds.push(Seed::new("image", &name, bytes.into_inner()));
            }
        }
    }
    for name in
        ["adobe_cmyk.jpg", "palette.png", "lossy.webp", "lzw.tif", "palette.bmp", "progressive_exif.jpg"]
    {
        seeds.push(Seed::new("image", name, golden(&format!("pictures/{name}"))));
    }
    let mask: Vec<u8> = grey.as_raw().iter().map(|v| v % 3).collect();
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(&mask, 17, 24, ExtendedColorType::L8)
        .unwrap();
    seeds.push(Seed::new("label_map", "grey.png", bytes));
    seeds.push(Seed::new("label_map", "palette.png", golden("pictures/palette.png")));
    // Files one after the other.
    let files = ["adobe_cmyk.jpg", "palette.png", "progressive_exif.jpg", "palette.png"];
    let stream = files.map(|name| golden(&format!("pictures/{name}"))).concat();
    seeds.push(Seed::new("frames", "files", stream));
    // Deep ones have two bytes a sample.
    for (name, colour, samples) in [
        ("mono", " Ip Cmono", 9 * 10),
        ("420", "", 9 * 10 + 2 * 25),
        ("444", " C444", 3 * 90),
        ("interlaced", " C420mpeg2 It", 9 * 10 + 2 * 25),
        ("411", " C411", 9 * 10 + 2 * 30),
        ("mono16", " Cmono16", 2 * 9 * 10),
        ("420p16", " C420p16", 2 * (9 * 10 + 2 * 25)),
    ] {
        let mut bytes = format!("YUV4MPEG2 W9 H10 F25:1 A1:1{colour} XCOLORRANGE=FULL\n").into_bytes();
        for frame in 0..2 {
            bytes.extend(b"FRAME\n");
            bytes.extend((0..samples).map(|i| (i * 3 + frame) as u8));
        }
        seeds.push(Seed::new("y4m", name, bytes));
    }
}
