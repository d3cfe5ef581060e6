use super::*;
use crate::input::dicom::samples::check_precision;

#[test]
fn samples_must_fit_the_bits_that_are_announced() {
    let deep = |stored, signed| Layout { allocated: 16, stored, high: stored - 1, signed, ..Layout::grey() };
    let bytes = |values: &[i16]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(check_stored(&deep(12, false), &bytes(&[0, 4095])), Ok(()));
    assert!(
        check_stored(&deep(12, false), &bytes(&[0, 4096])).unwrap_err().contains("more than the 12 bits")
    );
    assert!(check_stored(&deep(12, false), &bytes(&[-1])).is_err());
    assert_eq!(check_stored(&deep(12, true), &bytes(&[-2048, 2047, 0xFFF])), Ok(()));
    assert!(check_stored(&deep(12, true), &bytes(&[-2049])).is_err());
    assert_eq!(check_stored(&deep(16, true), &bytes(&[i16::MIN])), Ok(()));
    assert!(check_stored(&Layout { stored: 7, high: 6, ..Layout::grey() }, &[128]).is_err());

    assert_eq!(check_precision(&deep(12, false), 16, None), Ok(()));
    assert_eq!(check_precision(&deep(12, true), 12, Some(false)), Ok(()));
    assert!(check_precision(&deep(16, true), 12, Some(false)).unwrap_err().contains("16 signed bits"));
    assert!(check_precision(&Layout::grey(), 12, None).is_err());
}
