use std::io::Cursor;

use image::DynamicImage;

use super::*;

fn y4m(header: &str, frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("YUV4MPEG2 {header}\n").into_bytes();
    for frame in frames {
        bytes.extend(b"FRAME\n");
        bytes.extend(*frame);
    }
    bytes
}

fn read(bytes: Vec<u8>, format: StreamFormat) -> Result<Vec<Image>, InputError> {
    Scan::from_reader("-", Cursor::new(bytes), format)?.collect()
}

fn rgb_at(image: &Image, x: u32, y: u32) -> [u8; 3] {
    let DynamicImage::ImageRgb8(pixels) = image.pixels() else { panic!("{image:?}") };
    pixels.get_pixel(x, y).0
}

#[test]
fn grey_frames_span_the_limited_range() {
    let mut plane = vec![16; 64];
    plane[1] = 235;
    plane[2] = 126;
    let frames = read(y4m("W8 H8 F25:1 Cmono", &[&plane, &[255; 64]]), StreamFormat::Y4m).unwrap();
    let greys = |image: &Image| image.pixels().as_luma8().unwrap().as_raw().clone();
    assert_eq!(greys(&frames[0])[..3], [0, 255, 128]);
    assert_eq!(greys(&frames[1]), [255; 64]);
    let full = read(y4m("W8 H8 F25:1 Cmono XCOLORRANGE=FULL", &[&plane]), StreamFormat::Y4m).unwrap();
    assert_eq!(greys(&full[0])[..3], [16, 235, 126]);
}

#[test]
fn colours_are_those_of_bt601() {
    // 100% bars in limited range (ITU-R BT.601): red, green and blue.
    let bars = [([81, 90, 240], [254, 0, 0]), ([145, 54, 34], [0, 255, 1]), ([41, 240, 110], [0, 0, 255])];
    for ([y, u, v], expected) in bars {
        for (name, chroma) in [("420jpeg", 16), ("422", 32), ("444", 64)] {
            let frame = [vec![y; 64], vec![u; chroma], vec![v; chroma]].concat();
            let frames = read(y4m(&format!("W8 H8 F25:1 C{name}"), &[&frame]), StreamFormat::Y4m).unwrap();
            assert_eq!(rgb_at(&frames[0], 7, 7), expected, "{name}");
        }
        let frame = [vec![y; 64], vec![u; 16], vec![v; 16]].concat();
        let format = StreamFormat::Raw { width: 8, height: 8, pixel: RawPixel::Yuv420p };
        assert_eq!(rgb_at(&read(frame, format).unwrap()[0], 0, 0), expected);
    }
}

#[test]
fn chroma_planes_of_odd_sizes_are_rounded_up() {
    let mut frame = vec![128; 9 * 9];
    frame.extend([128; 25]);
    frame.extend([128; 24]);
    frame.push(240);
    let frames = read(y4m("W9 H9 F25:1 C420", &[&frame]), StreamFormat::Y4m).unwrap();
    assert_eq!(rgb_at(&frames[0], 8, 8)[0], 255);
    assert_eq!(rgb_at(&frames[0], 7, 8), [130, 130, 130]);
}

#[test]
fn raw_frames_follow_each_other() {
    let bytes: Vec<u8> = (0..2 * 64).map(|v| v as u8).collect();
    let format = StreamFormat::Raw { width: 8, height: 8, pixel: RawPixel::Grey8 };
    let frames = read(bytes, format).unwrap();
    assert_eq!((frames.len(), frames[1].pixels().as_luma8().unwrap().as_raw()[0]), (2, 64));
    let rgb = StreamFormat::Raw { width: 8, height: 8, pixel: RawPixel::Rgb8 };
    assert_eq!(rgb_at(&read((0..192).collect(), rgb).unwrap()[0], 1, 0), [3, 4, 5]);
}

#[test]
fn streams_that_are_wrong_say_how() {
    let message = |bytes: Vec<u8>, format| {
        let message = read(bytes, format).unwrap_err().to_string();
        assert!(message.starts_with("-: ") && !message.contains('\n'), "{message}");
        message
    };
    let raw = StreamFormat::Raw { width: 8, height: 8, pixel: RawPixel::Grey8 };
    assert!(message(vec![0; 100], raw).contains("ends 36 bytes into frame 2, which has 64"));
    assert!(message(vec![], raw).contains("frame 1"));
    let huge = StreamFormat::Raw { width: usize::MAX, height: usize::MAX, pixel: RawPixel::Yuv420p };
    assert!(message(vec![], huge).contains("are refused"));
    assert!(message(b"RIFF....".to_vec(), StreamFormat::Y4m).contains("no YUV4MPEG2 stream"));
    assert!(message(vec![b'Y'; 5000], StreamFormat::Y4m).contains("no YUV4MPEG2 stream"));
    for huge in ["W9999999999999 H9999999999999", "W18446744073709551615 H2", "W100000 H100000"] {
        let message = message(y4m(huge, &[]), StreamFormat::Y4m);
        assert!(message.contains("are refused") || message.contains("leave nothing to see"), "{message}");
    }
    assert!(message(y4m("W8 H8 F25:1 C420p10", &[]), StreamFormat::Y4m).contains("colour space"));
    assert!(message(y4m("W8 H8 F25:1 Cnew", &[]), StreamFormat::Y4m).contains("colour space"));
    assert!(message(y4m("W8 H8 F25:1 Cmono", &[]), StreamFormat::Y4m).contains("within frame 1"));
    assert!(
        message(y4m("W8 H8 F25:1 Cmono", &[&[0; 64], &[0; 63]]), StreamFormat::Y4m)
            .contains("within frame 2")
    );
    let mut damaged = y4m("W8 H8 F25:1 Cmono", &[&[0; 64]]);
    damaged.extend(b"NOISE, not a frame\n");
    assert!(message(damaged, StreamFormat::Y4m).contains("frame 2 has no header"));
    let small = read(y4m("W4 H8 F25:1 Cmono", &[]), StreamFormat::Y4m).unwrap_err();
    assert!(matches!(small, InputError::TooSmall { .. }));
}
