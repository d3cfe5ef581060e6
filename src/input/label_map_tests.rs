use super::*;

fn save(image: impl Into<DynamicImage>, path: &Path) {
    image.into().save(path).unwrap();
}

#[test]
fn black_and_white_is_one_class_and_greys_are_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    let open = || {
        LabelMap::open(&path, None).map(|map| (map.depth, map.height, map.width, map.labels[..3].to_vec()))
    };
    let mut grey = image::GrayImage::new(10, 8);
    grey.put_pixel(1, 0, image::Luma([255]));
    save(grey.clone(), &path);
    assert_eq!(open(), Ok((1, 8, 10, vec![0, 1, 0])));
    grey.put_pixel(2, 0, image::Luma([7]));
    save(grey.clone(), &path);
    assert_eq!(open(), Ok((1, 8, 10, vec![0, 255, 7])));
    let rgb = DynamicImage::ImageLuma8(grey).to_rgb8();
    save(rgb, &path);
    assert_eq!(open(), Ok((1, 8, 10, vec![0, 255, 7])));
}

#[test]
fn a_palette_gives_its_indices() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    // Ten columns of 2 bits take three bytes a row, the last half empty.
    for (depth, row, expected) in [
        (
            png::BitDepth::Two,
            vec![0b00_01_10_11, 0b11_00_00_00, 0b10_01_00_00],
            [0, 1, 2, 3, 3, 0, 0, 0, 2, 1],
        ),
        (png::BitDepth::Four, vec![0x01, 0x23, 0x00, 0x00, 0x12], [0, 1, 2, 3, 0, 0, 0, 0, 1, 2]),
        (png::BitDepth::Eight, vec![0, 1, 2, 3, 0, 0, 0, 0, 0, 3], [0, 1, 2, 3, 0, 0, 0, 0, 0, 3]),
    ] {
        let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), 10, 8);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(depth);
        encoder.set_palette(vec![0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200]);
        encoder.write_header().unwrap().write_image_data(&row.repeat(8)).unwrap();
        let map = LabelMap::open(&path, None).unwrap();
        assert_eq!((map.height, map.width), (8, 10));
        assert_eq!(map.slice(0)[70..], expected);
    }
}

#[test]
fn grey_of_few_bits_is_not_scaled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    for (row, expected) in [([0x01, 0x2F, 0, 0], [0, 1, 2, 15]), ([0x0F, 0xF0, 0, 0], [0, 1, 1, 0])] {
        let mut encoder = png::Encoder::new(File::create(&path).unwrap(), 8, 8);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Four);
        encoder.write_header().unwrap().write_image_data(&row.repeat(8)).unwrap();
        assert_eq!(LabelMap::open(&path, None).unwrap().labels[..4], expected);
    }
}

#[test]
fn is_placed_where_it_was_cropped() {
    let map = LabelMap::new(2, 1, 2, vec![1, 2, 3, 4]).unwrap();
    assert_eq!(map.placed((1, 1), (2, 3)).labels, [0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 3, 4]);
    assert_eq!(map.placed((0, 2), (1, 3)).labels, [0, 0, 1, 0, 0, 3]);
    let region = Region { top: 1, left: 1, height: 1, width: 2 };
    assert_eq!(map.placed((1, 1), (2, 3)).cropped(region), map);
    assert_eq!(map.placed((5, 5), (1, 1)).labels, [0, 0]);
    assert!(LabelMap::new(2, 2, 2, vec![0; 7]).is_err());
}
