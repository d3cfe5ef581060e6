use super::*;

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
        named_rgb: false,
        subsampled: false,
        interleave: 2,
    };
    assert_eq!(header, expected);
    assert_eq!(header.check(&Layout::grey()), Ok(()));
    let other = Layout { rows: 17, ..Layout::grey() };
    assert!(
        header.check(&other).unwrap_err().contains("8x17 px of 1 samples but its compressed pixels are 8x16")
    );
    for cut in 0..bytes.len() {
        assert_eq!(JpegHeader::of(&bytes[..cut]), None);
    }
}

/// Whether a stream is YCbCr, given its Adobe transform, JFIF marker, component names and subsampling.
fn said(adobe: Option<u8>, jfif: bool, named_rgb: bool, subsampled: bool) -> Result<Option<bool>, String> {
    ycc(&JpegHeader { adobe, jfif, named_rgb, subsampled, ..JpegHeader::default() })
}

#[test]
fn a_stream_that_contradicts_itself_is_refused() {
    assert_eq!(said(None, false, false, false), Ok(None));
    assert_eq!(said(None, true, false, true), Ok(Some(true)));
    assert_eq!(said(Some(1), true, false, false), Ok(Some(true)));
    assert_eq!(said(Some(0), false, true, false), Ok(Some(false)));
    // pydicom 3.0 `_conform_jpg_colorspace`: components named RGB are RGB, whatever the DICOM header says.
    assert_eq!(said(None, false, true, false), Ok(Some(false)));
    for contradiction in [
        said(Some(0), true, false, false),
        said(None, true, true, false),
        said(Some(1), false, true, false),
        said(Some(0), false, false, true),
    ] {
        assert!(contradiction.unwrap_err().contains("both RGB and YCbCr"));
    }
    assert!(said(Some(2), false, false, false).unwrap_err().contains("colour transform 2"));
}
