use super::*;

fn header(dims: [i16; 8], kind: i16) -> Vec<u8> {
    let mut raw = vec![0; NIFTI_HEADER_BYTES];
    raw[..4].copy_from_slice(&348i32.to_le_bytes());
    for (n, d) in dims.iter().enumerate() {
        raw[40 + 2 * n..42 + 2 * n].copy_from_slice(&d.to_le_bytes());
    }
    raw[70..72].copy_from_slice(&kind.to_le_bytes());
    raw[344..348].copy_from_slice(b"n+1\0");
    raw
}

#[test]
fn dimensions_of_one_are_left_out() {
    let layout = Layout::of(&header([5, 20, 30, 40, 1, 1, 0, 0], 4)).unwrap();
    assert_eq!((layout.dims, layout.offset, layout.slope), ([20, 30, 40], 352, 1.0));
    let layout = Layout::of(&header([2, 20, 30, 0, 0, 0, 0, 0], 4)).unwrap();
    assert_eq!(layout.dims, [20, 30, 1]);
    let wrong = |dims| Layout::of(&header(dims, 4)).err().unwrap();
    assert!(wrong([4, 20, 30, 40, 2, 0, 0, 0]).contains("three dimensions"));
    assert!(wrong([3, 20, 0, 40, 0, 0, 0, 0]).contains("[20, 0, 40]"));
}

#[test]
fn other_formats_of_the_family_are_named() {
    let mut pair = header([3, 9, 9, 9, 0, 0, 0, 0], 4);
    pair[344..348].copy_from_slice(b"ni1\0");
    assert!(is_nifti(&pair) && Layout::of(&pair).err().unwrap().contains("pair of .hdr and .img"));
    let mut second = vec![0; NIFTI_HEADER_BYTES];
    second[4..8].copy_from_slice(b"n+2\0");
    assert!(is_nifti(&second) && Layout::of(&second).err().unwrap().contains("NIfTI-2"));
    assert!(!is_nifti(b"GIF89a") && !is_nifti(&[0x1f, 0x8b, 8, 0]));
}
