use super::*;

fn layout() -> Layout {
    Layout {
        rows: 16,
        columns: 8,
        frames: 1,
        samples: 1,
        allocated: 8,
        stored: 8,
        high: 7,
        signed: false,
        planar: false,
        photometric: Photometric::Monochrome2,
    }
}

#[test]
fn a_jpeg_header_is_read_up_to_its_scan() {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 7];
    bytes.extend(b"JFIF\0");
    bytes.extend([0xFF, 0xFF, 0xC3, 0, 11, 12, 0, 16, 0, 8, 1, 1, 0x11, 0]);
    bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 2, 0]);
    let header = JpegHeader::of(&bytes).unwrap();
    let expected = JpegHeader {
        lossless: true,
        precision: 12,
        rows: 16,
        columns: 8,
        components: 1,
        jfif: true,
        adobe: None,
        interleave: 2,
    };
    assert_eq!(header, expected);
    assert_eq!(header.check(&layout()), Ok(()));
    let other = Layout { rows: 17, ..layout() };
    assert!(
        header.check(&other).unwrap_err().contains("8x17 px of 1 samples but its compressed pixels are 8x16")
    );
    for cut in 0..bytes.len() {
        assert_eq!(JpegHeader::of(&bytes[..cut]), None);
    }
}

#[test]
fn an_rle_header_must_fit_its_frame() {
    let mut bytes = vec![0; 80];
    bytes[0] = 1;
    bytes[4] = 64;
    assert_eq!(check_rle(&layout(), &bytes), Ok(()));
    assert!(check_rle(&Layout { samples: 3, ..layout() }, &bytes).is_err());
    assert!(check_rle(&layout(), &bytes[..63]).is_err());
    bytes[4] = 81;
    assert!(check_rle(&layout(), &bytes).is_err());
    // Four billion segments, for which the codec would allocate.
    bytes[..4].fill(0xFF);
    assert!(check_rle(&layout(), &bytes).is_err());
}

#[test]
fn a_jpeg2000_header_must_fit_its_frame() {
    let mut bytes = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
    for number in [8u32, 16, 0, 0, 8, 16, 0, 0] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend([0, 1, 7, 1, 1]);
    assert_eq!(check_j2k(&layout(), &bytes), Ok(()));
    for cut in 0..bytes.len() {
        assert!(check_j2k(&layout(), &bytes[..cut]).is_err());
    }
    assert!(check_j2k(&Layout { columns: 9, ..layout() }, &bytes).unwrap_err().contains("9x16 px"));
    let last = bytes.len() - 1;
    bytes[last] = 2;
    assert!(check_j2k(&layout(), &bytes).unwrap_err().contains("different sizes"));
}
