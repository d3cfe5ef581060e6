use super::*;

/// Writes a file with one fragment per item after an offset table of `offsets`, and reads its fragments.
fn fragments(offsets: &[u32], items: &[&[u8]]) -> (tempfile::TempDir, Bytes, Fragments) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut bytes = b"\xfe\xff\0\xe0".to_vec();
    bytes.extend((4 * offsets.len() as u32).to_le_bytes());
    bytes.extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
    for item in items {
        bytes.extend(b"\xfe\xff\0\xe0");
        bytes.extend((item.len() as u32).to_le_bytes());
        bytes.extend(*item);
    }
    bytes.extend(b"\xfe\xff\xdd\xe0\0\0\0\0");
    std::fs::write(&path, bytes).unwrap();
    let bytes = Bytes::File(path);
    let found = Fragments::read(&bytes, 0).unwrap();
    (folder, bytes, found)
}

/// The bytes of each frame.
fn frames(
    offsets: &[u32],
    items: &[&[u8]],
    syntax: &str,
    announced: Option<usize>,
) -> Result<Vec<Vec<u8>>, String> {
    let (_folder, bytes, mut found) = fragments(offsets, items);
    found.find_frames(&bytes, syntax, announced)?;
    (0..found.frames()).map(|n| found.frame(&bytes, n)).collect()
}

const A: &[u8] = b"\xff\xd8\xff\xe0";
const REST: &[u8] = b"1\xff\xd9\0";
const B: &[u8] = b"\xff\xd8\xff\xdb";
const JPEG: &str = uids::JPEG_BASELINE8_BIT;

#[test]
fn streams_tell_where_frames_begin() {
    let two = Ok(vec![[A, REST].concat(), [B, REST].concat()]);
    for announced in [Some(2), None] {
        assert_eq!(frames(&[], &[A, REST, B, REST], JPEG, announced), two);
        // Empty fragments belong to no frame.
        assert_eq!(frames(&[], &[A, b"", REST, B, REST, b""], JPEG, announced), two);
        assert_eq!(frames(&[0, 24], &[A, REST, B, REST], JPEG, announced), two);
    }
    assert_eq!(frames(&[], &[A, REST], JPEG, Some(1)), Ok(vec![[A, REST].concat()]));
    assert_eq!(frames(&[], &[A, B], JPEG, Some(2)), Ok(vec![A.to_vec(), B.to_vec()]));
}

#[test]
fn frames_that_are_not_announced_are_not_dropped() {
    for announced in [1, 3, 4] {
        let message = frames(&[], &[A, REST, B, REST, b"x"], JPEG, Some(announced)).unwrap_err();
        assert!(message.contains(&format!("announces {announced} frames")), "{message}");
    }
    assert_eq!(frames(&[], &[A, B, B], JPEG, None).map(|f| f.len()), Ok(3));
    assert!(
        frames(&[], &[A, B, B], JPEG, Some(2))
            .unwrap_err()
            .contains("announces 2 frames (NumberOfFrames) but holds 3")
    );
    assert!(frames(&[], &[REST, A], JPEG, None).unwrap_err().contains("no whole frame"));
    assert!(frames(&[], &[], JPEG, None).is_err());
    // RLE has no start marker: each fragment is a frame.
    assert_eq!(frames(&[], &[REST, REST], uids::RLE_LOSSLESS, None).map(|f| f.len()), Ok(2));
    assert!(frames(&[], &[REST, REST], uids::RLE_LOSSLESS, Some(3)).is_err());
}

#[test]
fn an_offset_table_that_lies_is_refused() {
    for offsets in [&[0, 12][..], &[0, 23], &[24, 0], &[0, 0], &[0, 12, 24], &[12, 24], &[0, 400]] {
        let message = frames(offsets, &[A, REST, B, REST], JPEG, None).unwrap_err();
        assert!(message.contains("offset table"), "{offsets:?}: {message}");
    }
}

#[test]
fn the_extended_table_says_how_long_frames_are() {
    let (_folder, bytes, mut found) = fragments(&[], &[A, B]);
    (found.offsets, found.lengths) = (vec![0, 12], vec![4, 3]);
    found.find_frames(&bytes, JPEG, Some(2)).unwrap();
    assert_eq!(found.frame(&bytes, 1), Ok(B[..3].to_vec()));
    found.lengths = vec![4, 2];
    assert!(found.find_frames(&bytes, JPEG, Some(2)).unwrap_err().contains("offset table"));
}
