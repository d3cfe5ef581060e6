use super::*;
use crate::input::content_digest;

fn picture(path: &Path, width: u32, shade: u8) {
    image::GrayImage::from_pixel(width, 16, image::Luma([shade])).save(path).unwrap();
}

fn shades(scan: Scan) -> Vec<u8> {
    scan.map(|frame| frame.unwrap().pixels().as_luma8().unwrap().as_raw()[0]).collect()
}

#[test]
fn a_folder_of_pictures_is_a_clip_in_natural_order() {
    let folder = tempfile::tempdir().unwrap();
    for (name, shade) in [("f10.png", 3), ("f2.png", 2), ("f1.png", 1)] {
        picture(&folder.path().join(name), 16, shade);
    }
    std::fs::write(folder.path().join("notes.txt"), "notes").unwrap();
    let scan = Scan::open(folder.path(), &ReadOptions::default()).unwrap();
    assert_eq!(
        (scan.info().kind, scan.info().frames, scan.info().size),
        (ScanKind::Clip, Some(3), Some((16, 16)))
    );
    assert_eq!(scan.info().files.len(), 3);
    assert_eq!(shades(scan), [1, 2, 3]);
}

#[test]
fn frames_of_another_size_end_a_clip() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("1.png"), 16, 0);
    picture(&folder.path().join("2.png"), 20, 0);
    picture(&folder.path().join("3.png"), 16, 0);
    let mut scan = Scan::open(folder.path(), &ReadOptions::default()).unwrap();
    assert!(scan.next().unwrap().is_ok());
    let message = scan.next().unwrap().unwrap_err().to_string();
    assert!(message.contains("frame 2 has 20x16 px but the first 16x16"), "{message}");
    assert!(scan.next().is_none());
}

#[test]
fn the_content_decides_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    image::GrayImage::new(16, 16).save_with_format(&path, image::ImageFormat::Png).unwrap();
    assert_eq!(Content::of(&path, true), Ok(Content::Picture));
    std::fs::write(&path, [b"YUV4MPEG2 W8 H8 Cmono\nFRAME\n".as_slice(), &[16; 64]].concat()).unwrap();
    assert_eq!(Content::of(&path, true), Ok(Content::Y4m));
    assert_eq!(shades(Scan::open(&path, &ReadOptions::default()).unwrap()), [0]);
    std::fs::write(&path, [[0; 128].as_slice(), b"DICM"].concat()).unwrap();
    assert_eq!(Content::of(&path, true), Ok(Content::Dicom));
    let mut header = [0; 352];
    header[344..348].copy_from_slice(b"n+1\0");
    std::fs::write(&path, header).unwrap();
    assert_eq!(Content::of(&path, true), Ok(Content::Nifti));
}

#[test]
fn empty_and_mixed_folders_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let message = || Scan::open(folder.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(message().contains("holds no images"), "{}", message());
    std::fs::write(folder.path().join("a.y4m"), "YUV4MPEG2 ").unwrap();
    assert!(message().contains("a.y4m: give that file itself"), "{}", message());
}

#[test]
fn only_dicom_can_be_cropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    picture(&path, 16, 0);
    let options = ReadOptions { crop_us: true, ..ReadOptions::default() };
    let message = Scan::open(&path, &options).unwrap_err().to_string();
    assert!(message.contains("leave the option `crop_us` out"), "{message}");
}

#[test]
fn the_digest_follows_content_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.png");
    picture(&path, 16, 0);
    let options = ReadOptions::default();
    let digest = |options: &ReadOptions| content_digest(folder.path(), options).unwrap();
    let one = digest(&options);
    assert_eq!((one.len(), &one), (64, &digest(&options)));
    assert_ne!(one, digest(&ReadOptions { axis: Some(crate::input::Axis::Coronal), ..options.clone() }));
    // The digest does not depend on names, but an additional file changes it.
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::copy(&path, elsewhere.path().join("2.png")).unwrap();
    assert_eq!(content_digest(elsewhere.path(), &options), Ok(one.clone()));
    std::fs::copy(&path, folder.path().join("2.png")).unwrap();
    assert_ne!(one, digest(&options));
    assert!(content_digest(folder.path().join("absent"), &options).is_err());
}
