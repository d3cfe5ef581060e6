use super::*;
use crate::input::Axis;
use crate::input::nifti::geometry::Cut;

/// A NIfTI-1 header with this shape and type, in one file.
fn first(dims: [i16; 8], kind: i16) -> Vec<u8> {
    let mut raw = vec![0; FIRST];
    raw[..4].copy_from_slice(&348i32.to_le_bytes());
    for (n, d) in dims.iter().enumerate() {
        raw[40 + 2 * n..42 + 2 * n].copy_from_slice(&d.to_le_bytes());
    }
    raw[70..72].copy_from_slice(&kind.to_le_bytes());
    raw[344..348].copy_from_slice(b"n+1\0");
    raw
}

/// The header of an int16 volume with `value` at byte `at`.
fn with(at: usize, value: &[u8]) -> Result<Header, String> {
    let mut raw = first([3, 20, 30, 40, 1, 1, 1, 1], 4);
    raw[at..at + value.len()].copy_from_slice(value);
    Header::of(&raw)
}

#[test]
fn dimensions_of_one_are_left_out() {
    let header = Header::of(&first([5, 20, 30, 40, 1, 1, 0, 0], 4)).unwrap();
    assert_eq!((header.dims, header.volumes, header.offset, header.slope), ([20, 30, 40], 1, 352, 1.0));
    assert_eq!(Header::of(&first([2, 20, 30, 0, 0, 0, 0, 0], 4)).unwrap().dims, [20, 30, 1]);
    assert_eq!(Header::of(&first([4, 20, 30, 40, 7, 0, 0, 0], 4)).unwrap().volumes, 7);
    let wrong = |dims| Header::of(&first(dims, 4)).unwrap_err();
    assert!(wrong([5, 20, 30, 40, 1, 3, 0, 0]).contains("a voxel is several numbers"));
    assert!(wrong([3, 20, 0, 40, 0, 0, 0, 0]).contains("[20, 0, 40]"));
    assert!(wrong([3, 20, -30, 40, 0, 0, 0, 0]).contains("[20, -30, 40]"));
    assert!(wrong([8, 20, 30, 40, 1, 1, 1, 1]).contains("8 dimensions"));
}

#[test]
fn formats_of_the_family_are_told_apart() {
    let mut raw = first([3, 9, 9, 9, 0, 0, 0, 0], 4);
    assert_eq!(Family::of(&raw), Some(Family::Single));
    raw[344..348].copy_from_slice(b"ni1\0");
    assert_eq!(Family::of(&raw), Some(Family::Pair));
    raw[344..348].fill(0);
    assert_eq!(Family::of(&raw), Some(Family::Analyze));
    assert!(Header::of(&raw).unwrap_err().contains("is Analyze 7.5"));
    raw[..2].reverse();
    assert_eq!(Family::of(&raw), None);
    let mut second = vec![0; SECOND];
    second[..4].copy_from_slice(&540i32.to_be_bytes());
    second[4..8].copy_from_slice(b"n+2\0");
    assert_eq!(Family::of(&second), Some(Family::Single));
    // The result of copying "\r\n" as text.
    second[8..12].copy_from_slice(b"\n\x1a\n\0");
    assert!(Header::of(&second).unwrap_err().contains("copied as text"));
    assert!(Header::of(&second[..400]).unwrap_err().contains("400 of the 540 bytes"));
    assert_eq!(Family::of(b"GIF89a"), None);
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    let wrong = |at, value: &[u8]| with(at, value).unwrap_err();
    assert!(wrong(72, &32i16.to_le_bytes()).contains("32 bits"));
    assert!(with(72, &16i16.to_le_bytes()).is_ok());
    assert!(wrong(108, &100f32.to_le_bytes()).contains("at byte 100, within its header"));
    assert!(wrong(108, &352.5f32.to_le_bytes()).contains("at byte 352.5"));
    assert!(wrong(108, &f32::NAN.to_le_bytes()).contains("at byte NaN"));
    assert!(wrong(123, &[6]).contains("unit of length 6"));
    for (kind, name) in
        [(32i16, "complex"), (1536, "float128"), (1792, "complex"), (1, "1 bit"), (3, "type 3")]
    {
        assert!(wrong(70, &kind.to_le_bytes()).contains(name), "{kind}");
    }
}

/// As nibabel's `get_slope_inter`.
#[test]
fn scales_are_those_of_nibabel() {
    let scaled = |slope: f32, intercept: f32| {
        let value = [slope.to_le_bytes(), intercept.to_le_bytes()].concat();
        with(112, &value).map(|header| (header.slope, header.intercept))
    };
    assert_eq!(scaled(0.0, 7.0), Ok((1.0, 0.0)));
    assert_eq!(scaled(f32::NAN, f32::NAN), Ok((1.0, 0.0)));
    assert_eq!(scaled(2.0, 3.0), Ok((2.0, 3.0)));
    assert!(scaled(2.0, f32::INFINITY).unwrap_err().contains("adds inf"));
}

/// `nifti1.h`: cal_min is displayed as black, cal_max as white, if they are set.
#[test]
fn a_display_range_counts_where_it_is_one() {
    let display =
        |max: f32, min: f32| with(124, &[max.to_le_bytes(), min.to_le_bytes()].concat()).unwrap().display;
    assert_eq!(display(0.0, 0.0), None);
    assert_eq!(display(100.0, -50.0), Some([-50.0, 100.0]));
    assert_eq!(display(-50.0, 100.0), None);
    assert_eq!(display(f32::NAN, 0.0), None);
}

#[test]
fn places_that_disagree_are_told() {
    let put = |changes: &[(usize, Vec<u8>)]| {
        let mut raw = first([3, 20, 30, 40, 1, 1, 1, 1], 4);
        for (at, value) in changes {
            raw[*at..at + value.len()].copy_from_slice(value);
        }
        Header::of(&raw).unwrap().contradiction()
    };
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let sizes = (76, floats(&[1.0, 1.0, 1.0, 2.0]));
    let codes = (252, [1i16.to_le_bytes(), 1i16.to_le_bytes()].concat());
    let sform = |x: f32| (280, floats(&[x, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0]));
    // The quaternion of zeros is the identity rotation: right, anterior, superior.
    assert_eq!(put(&[sizes.clone(), codes.clone(), sform(1.0)]), None);
    let turned = put(&[sizes.clone(), codes.clone(), sform(-1.0)]).unwrap();
    assert!(turned.contains("turned otherwise by its qform"), "{turned}");
    let larger = put(&[sizes, codes, sform(3.0)]).unwrap();
    assert!(larger.contains("[1.0, 1.0, 2.0] by pixdim and of [3.0, 1.0, 2.0]"), "{larger}");
}

/// If the sform of a single slice lacks the third direction, it is perpendicular to the slice.
#[test]
fn a_slice_needs_no_third_direction() {
    let mut raw = first([2, 20, 30, 0, 0, 0, 0, 0], 4);
    raw[254..256].copy_from_slice(&1i16.to_le_bytes());
    for (at, value) in [(280, 0.5f32), (300, 0.75)] {
        raw[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    let info = Header::of(&raw).unwrap().geometry(Cut::Axis(Axis::Axial)).unwrap();
    assert_eq!((info.spacing, info.shape()), ([0.5, 0.75, 1.0], [1, 30, 20]));
    // Without sform and qform, the size of an absent axis has no meaning; here only two entries of pixdim are set.
    let mut raw = first([2, 20, 30, 0, 0, 0, 0, 0], 4);
    for (at, value) in [(80, 0.5f32), (84, 0.75)] {
        raw[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    assert_eq!(Header::of(&raw).unwrap().geometry(Cut::Axis(Axis::Axial)).unwrap().spacing, [0.5, 0.75, 1.0]);
}
