use std::io::Cursor;

use image::DynamicImage;

use super::*;
use crate::input::Matrix;

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
    // 100% colour bars in limited range (ITU-R BT.601): red, green and blue.
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

/// ITU-R BT.709-6, 3.4 and BT.2020-2, table 5: black and white of n bits are 16 and 235 times 2^(n - 8).
#[test]
fn deep_greys_span_the_limited_range() {
    for bits in [9, 10, 12, 14, 16] {
        let plane: Vec<u8> = [16u16, 235, 126, 0]
            .map(|code| code << (bits - 8))
            .repeat(16)
            .into_iter()
            .flat_map(u16::to_le_bytes)
            .collect();
        let frames = read(y4m(&format!("W8 H8 F25:1 Cmono{bits}"), &[&plane]), StreamFormat::Y4m).unwrap();
        let greys = frames[0].pixels().as_luma16().unwrap().as_raw();
        // 110 / 219 of white, rounded.
        assert_eq!(greys[..4], [0, 65535, 32917, 0], "{bits} bits");
    }
}

#[test]
fn matrix_and_range_are_those_asked_for_unless_the_stream_says_its_own() {
    let read = |header: &str, matrix, range| {
        let options = ReadOptions { matrix, range, ..ReadOptions::default() };
        let frame = [vec![173; 64], vec![42; 64], vec![26; 64]].concat();
        let scan = Scan::from_stream("-", Cursor::new(y4m(header, &[&frame])), StreamFormat::Y4m, &options);
        rgb_at(&scan.unwrap().next().unwrap().unwrap(), 0, 0)
    };
    // 100% green in the limited range: BT.709-6 gives 0.7152 of 219 plus 16 for luma, and -0.3854 and -0.4542 of 224
    // for chroma.
    assert_eq!(read("W8 H8 C444", Some(Matrix::Bt709), None), [0, 255, 1]);
    assert_ne!(read("W8 H8 C444", None, None), [0, 255, 1]);
    let full = read("W8 H8 C444 XCOLORRANGE=FULL", None, None);
    assert_eq!(read("W8 H8 C444", None, Some(Range::Full)), full);
    assert_eq!(read("W8 H8 C444 XCOLORRANGE=FULL", None, Some(Range::Limited)), full);
    // A comment does not set the range.
    assert_eq!(read("W8 H8 C444 XNOTE=XCOLORRANGE=FULL", None, None), read("W8 H8 C444", None, None));
    // Raw luma and chroma use both options too.
    let frame = [vec![173; 64], vec![42; 16], vec![26; 16]].concat();
    let format = StreamFormat::Raw { width: 8, height: 8, pixel: RawPixel::Yuv420p };
    let options = ReadOptions { matrix: Some(Matrix::Bt709), ..ReadOptions::default() };
    let mut scan = Scan::from_stream("-", Cursor::new(frame), format, &options).unwrap();
    assert_eq!(rgb_at(&scan.next().unwrap().unwrap(), 0, 0), [0, 255, 1]);
}

/// H.262 (MPEG-2), 6.1.1.8: the rows of 4:2:0 chroma belong alternately to the two fields.
#[test]
fn rows_of_interlaced_frames_take_the_chroma_of_their_field() {
    let frame = |rows: [u8; 4]| {
        let chroma = |row: u8| vec![row; 4];
        [vec![128; 64], rows.map(chroma).concat(), vec![128; 16]].concat()
    };
    let blue = |header: &str| {
        let frames = read(y4m(header, &[&frame([100, 120, 140, 160])]), StreamFormat::Y4m).unwrap();
        (0..8).map(|row| rgb_at(&frames[0], 0, row)[2]).collect::<Vec<u8>>()
    };
    let [a, b, c, d] = [blue("W8 H8 Ip"), blue("W8 H8")].map(|rows| {
        assert!(rows.chunks(2).all(|pair| pair[0] == pair[1]), "{rows:?}");
        rows
    })[0]
        .chunks(2)
        .map(|pair| pair[0])
        .collect::<Vec<u8>>()[..]
    else {
        panic!()
    };
    assert_eq!(blue("W8 H8 It"), [a, b, a, b, c, d, c, d]);
    // In 4:2:2 every row has its own chroma.
    let header = "W8 H8 C422";
    let frame = [vec![128; 64], (0..8).flat_map(|row| [100 + 5 * row; 4]).collect(), vec![128; 32]].concat();
    let row = |header: &str| rgb_at(&read(y4m(header, &[&frame]), StreamFormat::Y4m).unwrap()[0], 0, 5);
    assert_eq!(row(header), row(&format!("{header} Ib")));
}

#[test]
fn other_samplings_are_read() {
    // Two columns of chroma, 4 px wide each.
    let frame = [vec![128; 64], [100, 160].repeat(8), vec![128; 16]].concat();
    let frames = read(y4m("W8 H8 C411", &[&frame]), StreamFormat::Y4m).unwrap();
    assert_eq!(rgb_at(&frames[0], 3, 7), rgb_at(&frames[0], 0, 0));
    assert_ne!(rgb_at(&frames[0], 4, 0), rgb_at(&frames[0], 3, 0));
    let frame = [vec![128; 64], [vec![100; 8], vec![160; 8]].concat().repeat(2), vec![128; 32]].concat();
    let frames = read(y4m("W8 H8 C440", &[&frame]), StreamFormat::Y4m).unwrap();
    assert_eq!(rgb_at(&frames[0], 7, 1), rgb_at(&frames[0], 0, 0));
    assert_ne!(rgb_at(&frames[0], 0, 2), rgb_at(&frames[0], 0, 1));
}

/// FRAME may be followed by parameters of that frame.
#[test]
fn frames_may_have_parameters() {
    let mut bytes = b"YUV4MPEG2 W8 H8 Cmono XCOLORRANGE=FULL\n".to_vec();
    bytes.extend(b"FRAME Ippp Xnote\n");
    bytes.extend([7; 64]);
    assert_eq!(read(bytes.clone(), StreamFormat::Y4m).unwrap().len(), 1);
    bytes.extend(b"FRAMED\n");
    assert!(read(bytes, StreamFormat::Y4m).unwrap_err().to_string().contains("frame 2 has no header"));
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
    assert!(message(y4m("W8 H8 F25:1 C444alpha", &[]), StreamFormat::Y4m).contains("colour space"));
    assert!(message(y4m("W8 H8 F25:1 Cnew", &[]), StreamFormat::Y4m).contains("colour space"));
    // 1024 needs eleven bits.
    let beyond = [&[0; 126][..], &[0, 4]].concat();
    assert!(
        message(y4m("W8 H8 F25:1 Cmono10", &[&beyond]), StreamFormat::Y4m)
            .contains("frame 1 holds the sample 1024, which is beyond 10 bits")
    );
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
