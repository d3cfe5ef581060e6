//! Pictures of every kind: the values that other decoders find (`reference/make_kinds.py`), the selected page, and
//! damage that is detected.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat};
use microraptor::input::Image;
use serde_json::Value;

use super::common::{GOLDEN, hex, shared};

/// A file in the golden folder.
fn kind(name: &str) -> PathBuf {
    Path::new(GOLDEN).join("kinds").join(name)
}

/// Each file and its known properties.
fn kinds() -> Vec<(String, Value)> {
    let text = fs::read_to_string(format!("{GOLDEN}/kinds.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap().as_object().unwrap().clone().into_iter().collect()
}

/// The samples as bytes; floating point in the machine's byte order, which is little-endian on the tested machines.
fn bytes(image: &Image) -> Vec<u8> {
    image.pixels().as_bytes().to_vec()
}

/// Samples as 8-bit or 12-bit numbers.
fn values(image: &DynamicImage, twelve: bool) -> Vec<i32> {
    let deep = |v: u16| if twelve { (u32::from(v) * 4095 + 32767) / 65535 } else { u32::from(v) };
    match image {
        DynamicImage::ImageLuma16(p) => p.as_raw().iter().map(|&v| deep(v) as i32).collect(),
        DynamicImage::ImageRgb16(p) => p.as_raw().iter().map(|&v| deep(v) as i32).collect(),
        DynamicImage::ImageLuma8(p) => p.as_raw().iter().map(|&v| v.into()).collect(),
        other => other.to_rgb8().as_raw().iter().map(|&v| v.into()).collect(),
    }
}

#[test]
fn every_kind_has_the_values_of_other_decoders() {
    let kinds = kinds();
    assert!(kinds.len() > 45);
    for (name, known) in kinds {
        // `frames.png.2` is the second picture of `frames.png`.
        let (file, page) = match name.strip_suffix(".2") {
            Some(file) => (file, Some(2)),
            None => (name.as_str(), None),
        };
        let read = Image::open_page(kind(file), page);
        if let Some(reason) = known["refused"].as_str() {
            let message = read.unwrap_err().to_string();
            assert!(message.contains(reason), "{name}: {message}");
            continue;
        }
        let image = read.unwrap();
        assert_eq!(known["size"], serde_json::json!([image.width(), image.height()]), "{name}");
        if let Some(digest) = known["sha256"].as_str() {
            assert_eq!(hex(&bytes(&image)), digest, "{name}: {:?}", image.pixels().color());
        } else {
            let reference = image::open(kind(&format!("{name}.png"))).unwrap();
            let twelve = name.ends_with("12.jpg");
            let (found, expected) = (values(image.pixels(), twelve), values(&reference, false));
            assert_eq!(found.len(), expected.len(), "{name}");
            let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).max().unwrap();
            assert!(i64::from(off) <= known["within"].as_i64().unwrap(), "{name}: off by {off}");
        }
    }
}

#[test]
fn a_page_is_named_or_there_is_one() {
    for name in ["pages.tif", "frames.png", "frames.webp", "frames.gif"] {
        let page = |n| Image::open_page(kind(name), Some(n));
        let pages: Vec<_> = (1..=3).map(|n| bytes(&page(n).unwrap())).collect();
        assert!(pages[0] != pages[1] && pages[1] != pages[2], "{name}");
        for none in [0, 4] {
            let message = page(none).unwrap_err().to_string();
            assert!(message.contains(&format!("has no page {none}: it holds 3")), "{message}");
        }
    }
    // Several pictures in one file, as in a Multi-Picture file (CIPA DC-007) and in PNM.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let grey = |value: u8| DynamicImage::ImageLuma8(image::GrayImage::from_pixel(8, 8, image::Luma([value])));
    for format in [ImageFormat::Jpeg, ImageFormat::Pnm] {
        fs::write(&path, [encode(&grey(10), format), encode(&grey(90), format)].concat()).unwrap();
        assert!(Image::open(&path).unwrap_err().to_string().contains("holds 2 pictures"), "{format:?}");
        let second = Image::open_page(&path, Some(2)).unwrap();
        assert_eq!(bytes(&second)[0], 90, "{format:?}");
    }
    assert_eq!(
        bytes(&Image::open_page(kind("bit1.png"), Some(1)).unwrap()),
        bytes(&Image::open(kind("bit1.png")).unwrap())
    );
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Speckle-like noise over a gradient, 64 x 48 px, in colour.
fn picture() -> DynamicImage {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 28) as u8
    };
    image::RgbImage::from_fn(64, 48, |x, y| {
        image::Rgb([x as u8 * 3 + noise(), y as u8 * 4 + noise(), 90 + noise()])
    })
    .into()
}

/// Undamaged files of every format and of its variants.
fn whole() -> Vec<(String, Vec<u8>)> {
    let picture = picture();
    let formats = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Tiff,
        ImageFormat::Bmp,
        ImageFormat::WebP,
        ImageFormat::Pnm,
    ];
    let mut files: Vec<_> = formats.iter().map(|&f| (format!("{f:?}"), encode(&picture, f))).collect();
    for (name, known) in kinds() {
        if known["refused"].is_null() && !name.ends_with(".2") {
            files.push((name.clone(), fs::read(kind(&name)).unwrap()));
        }
    }
    for name in ["lossy.webp", "palette.png", "palette.bmp", "adobe_cmyk.jpg", "lzw.tif"] {
        files.push((name.into(), fs::read(format!("{GOLDEN}/pictures/{name}")).unwrap()));
    }
    files
}

/// Reads bytes as a file.
struct Reader(tempfile::TempDir);

impl Reader {
    fn read(&self, bytes: &[u8]) -> Result<(usize, usize, Vec<u8>), String> {
        let path = self.0.path().join("file");
        fs::write(&path, bytes).unwrap();
        let image = Image::open(&path).map_err(|e| e.to_string())?;
        Ok((image.width(), image.height(), self::bytes(&image)))
    }
}

#[test]
fn a_file_that_is_cut_is_an_error_at_every_place() {
    let reader = Reader(tempfile::tempdir().unwrap());
    for (name, file) in whole() {
        let all = reader.read(&file).unwrap();
        for at in (1..=20).map(|k| file.len() * k / 21) {
            match reader.read(&file[..at]) {
                Err(message) => assert!(!message.contains('\n'), "{message}"),
                // In TIFF, the tags may come after all pixels, and some of them are not needed to decode the picture.
                Ok(found) => assert_eq!(found, all, "{name} cut to {at} of {}", file.len()),
            }
            if file.starts_with(&[0xFF, 0xD8]) {
                let closed = [&file[..at], &[0xFF, 0xD9]].concat();
                assert!(reader.read(&closed).is_err(), "{name} cut to {at} and closed");
            }
        }
    }
}

/// PNM has no mark at its end, so what follows could be a part of the picture.
#[test]
fn data_after_the_end_is_an_error_where_nothing_marks_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let pixels = image::RgbImage::from_fn(24, 16, |x, y| image::Rgb([(x * y) as u8; 3]));
    let picture = DynamicImage::ImageRgb8(pixels);
    for (format, name, marked) in [
        (ImageFormat::Png, "picture.png", true),
        (ImageFormat::Jpeg, "picture.jpg", true),
        (ImageFormat::Gif, "picture.gif", true),
        (ImageFormat::Tiff, "picture.tif", true),
        (ImageFormat::Bmp, "picture.bmp", true),
        (ImageFormat::Pnm, "picture.ppm", false),
    ] {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        let path = folder.path().join(name);
        fs::write(&path, [&bytes.into_inner()[..], b"more"].concat()).unwrap();
        let read = Image::open_page(path, None);
        assert_eq!(read.is_ok(), marked, "{name}: {:?}", read.err());
    }
}

#[test]
fn a_changed_byte_changes_nothing_in_silence_where_the_format_has_checksums() {
    let reader = Reader(tempfile::tempdir().unwrap());
    let deflated = ["Png", "palette.png", "bit1.png", "turned.png"];
    for (name, file) in whole().into_iter().filter(|(name, _)| deflated.contains(&name.as_str())) {
        let all = reader.read(&file).unwrap();
        for at in 0..file.len() {
            let mut bytes = file.clone();
            bytes[at] ^= 1 << (at % 8);
            if let Ok(found) = reader.read(&bytes) {
                assert_eq!(found, all, "{name}: byte {at}");
            }
        }
    }
}

/// docs/formats.md lists the damage that leaves a file readable. Here it must neither panic nor give a message of
/// several lines.
#[test]
fn changed_and_zeroed_bytes_are_an_error_or_a_picture() {
    let reader = Reader(tempfile::tempdir().unwrap());
    for (name, file) in whole() {
        for k in 0..50 {
            let at = file.len() * k / 50;
            let mut flipped = file.clone();
            flipped[at] ^= 1 << (k % 8);
            let mut zeroed = file.clone();
            let end = file.len().min(at + 64);
            zeroed[at..end].fill(0);
            for bytes in [flipped, zeroed] {
                if let Err(message) = reader.read(&bytes) {
                    assert!(!message.contains('\n') && message.len() < 600, "{name}: {message}");
                }
            }
        }
    }
}

/// The reason for which a JPEG of these bytes is refused.
fn jpeg_error(bytes: &[u8]) -> String {
    Reader(tempfile::tempdir().unwrap()).read(bytes).unwrap_err()
}

/// Offset of the `nth` occurrence of the marker `code`.
fn marker(bytes: &[u8], code: u8, nth: usize) -> usize {
    bytes.windows(2).enumerate().filter(|(_, w)| *w == [0xFF, code]).nth(nth).unwrap().0
}

#[test]
fn a_jpeg_holds_each_mcu_once() {
    let file = fs::read(kind("restart.jpg")).unwrap();
    let mut without = file.clone();
    without.drain(marker(&file, 0xD1, 0)..marker(&file, 0xD1, 0) + 2);
    assert!(jpeg_error(&without).contains("coded data remains"), "{}", jpeg_error(&without));
    let mut swapped = file.clone();
    swapped[marker(&file, 0xD1, 0) + 1] = 0xD3;
    assert!(jpeg_error(&swapped).contains("restart marker 3 after MCU 2"), "{}", jpeg_error(&swapped));
    // An interval is missing together with its marker.
    let mut shorter = file.clone();
    shorter.drain(marker(&file, 0xD0, 0)..marker(&file, 0xD1, 0));
    assert!(jpeg_error(&shorter).contains("restart marker 1 after MCU 1"), "{}", jpeg_error(&shorter));
    // The header declares fewer and more rows than are coded.
    let file = encode(&picture(), ImageFormat::Jpeg);
    for (rows, reason) in [(40, "coded data remains"), (56, "the coded data ends in MCU")] {
        let mut other = file.clone();
        other[marker(&file, 0xC0, 0) + 6] = rows;
        assert!(jpeg_error(&other).contains(reason), "{}", jpeg_error(&other));
    }
    let mut arithmetic = file.clone();
    arithmetic[marker(&file, 0xC0, 0) + 1] = 0xC9;
    assert!(jpeg_error(&arithmetic).contains("arithmetic coding"));
}

#[test]
fn a_progressive_jpeg_holds_each_bit_once() {
    let file = fs::read(kind("progressive.jpg")).unwrap();
    let (last, end) = (marker(&file, 0xDA, 9), file.len() - 2);
    let missing = [&file[..last], &file[end..]].concat();
    assert!(jpeg_error(&missing).contains("is not coded to its last bit"), "{}", jpeg_error(&missing));
    let twice = [&file[..end], &file[last..]].concat();
    assert!(jpeg_error(&twice).contains("out of order"), "{}", jpeg_error(&twice));
}

/// A grey 8 x 8 block in the maximum number of scans, one for each coefficient and bit: 14 of DC and 63 x 14 of AC.
#[test]
fn a_jpeg_of_thousands_of_scans_is_refused() {
    let mut file = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0];
    file.extend([1; 64]);
    file.extend([0xFF, 0xC2, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
    for class in [0x00, 0x10] {
        file.extend([0xFF, 0xC4, 0, 20, class, 1]);
        file.extend([0; 16]);
    }
    for low in (0..=13).rev() {
        for k in 0..64 {
            let high = if low == 13 { 0 } else { low + 1 };
            // One bit for a block without a coefficient, then padding.
            file.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, k, k, high << 4 | low, 0x7F]);
        }
    }
    file.extend([0xFF, 0xD9]);
    assert!(jpeg_error(&file).contains("more than 500 scans"), "{}", jpeg_error(&file));
}

#[test]
fn a_fax_ends_where_its_code_says() {
    let reader = Reader(tempfile::tempdir().unwrap());
    let file = fs::read(kind("group4.tif")).unwrap();
    // Ones only: each bit codes a row equal to the one above, and no end code follows.
    let strip = 8..file.len().min(200);
    let mut ones = file.clone();
    ones[strip].fill(0xFF);
    assert!(reader.read(&ones).is_err());
}

#[test]
fn real_jpegs_with_zeros_in_them_are_refused_and_whole_ones_are_not() {
    let Some(data) = shared("data/busi/images") else { return };
    let reader = Reader(tempfile::tempdir().unwrap());
    let mut files: Vec<_> = ["benign", "malignant", "normal"]
        .iter()
        .flat_map(|class| fs::read_dir(data.join(class)).unwrap().map(|entry| entry.unwrap().path()))
        .collect();
    files.sort();
    let chosen: Vec<_> = files.iter().step_by(files.len() / 31).take(31).collect();
    assert_eq!(chosen.len(), 31);
    for path in chosen {
        let mut file = Vec::new();
        image::open(path)
            .unwrap()
            .to_rgb8()
            .write_with_encoder(JpegEncoder::new_with_quality(&mut file, 90))
            .unwrap();
        reader.read(&file).unwrap();
        let third = file.len() / 3;
        file[third..third + 512].fill(0);
        assert!(reader.read(&file).is_err(), "{}", path.display());
    }
}
