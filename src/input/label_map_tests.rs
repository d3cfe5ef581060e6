use std::fs::File;

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
    grey.put_pixel(1, 0, image::Luma([254]));
    grey.put_pixel(2, 0, image::Luma([7]));
    save(grey.clone(), &path);
    assert_eq!(open(), Ok((1, 8, 10, vec![0, 254, 7])));
    let rgb = DynamicImage::ImageLuma8(grey).to_rgb8();
    save(rgb, &path);
    assert_eq!(open(), Ok((1, 8, 10, vec![0, 254, 7])));
    // White of 16 bits.
    let mut deep = image::ImageBuffer::<image::Luma<u16>, Vec<u16>>::new(10, 8);
    deep.put_pixel(1, 0, image::Luma([65535]));
    save(deep.clone(), &path);
    assert_eq!(open(), Ok((1, 8, 10, vec![0, 1, 0])));
    deep.put_pixel(1, 0, image::Luma([300]));
    save(deep, &path);
    assert!(open().unwrap_err().to_string().contains("classes above 255"));
}

#[test]
fn masks_that_do_not_say_their_classes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, image: DynamicImage| {
        let path = folder.path().join(name);
        save(image, &path);
        LabelMap::open(&path, None).map(|map| map.labels)
    };
    let refusal = |name: &str, image: DynamicImage| open(name, image).unwrap_err().to_string();
    // A disc whose edge was smoothed.
    let disc = image::GrayImage::from_fn(32, 32, |x, y| {
        let distance = (f64::from(x) - 16.0).hypot(f64::from(y) - 16.0);
        image::Luma([((10.0 - distance) * 128.0).clamp(0.0, 255.0) as u8])
    });
    assert!(refusal("smooth.png", disc.clone().into()).contains("smoothed edges"));
    let hard = image::GrayImage::from_fn(32, 32, |x, y| image::Luma([255 * u8::from(x * y % 7 > 2)]));
    assert!(open("hard.png", hard.clone().into()).is_ok());
    assert!(refusal("hard.jpg", hard.clone().into()).contains("changes values"));
    assert_eq!(open("flat.jpg", image::GrayImage::new(32, 32).into()), Ok(vec![0; 1024]));
    let mut clear = DynamicImage::from(hard).to_rgba8();
    assert!(open("opaque.png", clear.clone().into()).is_ok());
    clear.get_pixel_mut(3, 3).0[3] = 0;
    assert!(refusal("clear.png", clear.into()).contains("see-through"));
    let colour = image::RgbImage::from_pixel(32, 32, image::Rgb([1, 2, 3]));
    assert!(refusal("colour.png", colour.into()).contains("in colour"));
}

/// PNG (section 12.4 of the specification, third edition) says how decoders scale greys of few bits up; a mask's are numbers.
#[test]
fn greys_of_few_bits_are_the_numbers_that_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    for (depth, row, expected) in [
        (png::BitDepth::One, vec![0b0100_0001, 0b0100_0000], [0, 1, 0, 0, 0, 0, 0, 1, 0, 1]),
        (
            png::BitDepth::Two,
            vec![0b00_01_10_11, 0b11_00_00_00, 0b10_01_00_00],
            [0, 1, 2, 3, 3, 0, 0, 0, 2, 1],
        ),
        // Black and white alone.
        (
            png::BitDepth::Two,
            vec![0b00_11_00_11, 0b11_00_00_00, 0b00_00_00_00],
            [0, 1, 0, 1, 1, 0, 0, 0, 0, 0],
        ),
        (png::BitDepth::Four, vec![0x01, 0x2F, 0x00, 0x00, 0x12], [0, 1, 2, 15, 0, 0, 0, 0, 1, 2]),
    ] {
        let mut encoder = png::Encoder::new(File::create(&path).unwrap(), 10, 8);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(&row.repeat(8)).unwrap();
        assert_eq!(LabelMap::open(&path, None).unwrap().slice(0)[70..], expected, "{depth:?}");
    }
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

/// A mask whose axes run the other way has the right size, and lies on other tissue if only its voxels are taken.
#[cfg(feature = "nifti")]
#[test]
fn a_mask_must_lie_where_its_image_does() {
    let folder = tempfile::tempdir().unwrap();
    // 8 x 9 x 10 voxels of uint8, the first of each row set, with the affine's first row.
    let write = |name: &str, x: [f32; 4]| {
        let mut bytes = vec![0; 352];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &348i32.to_le_bytes());
        for (n, side) in [3i16, 8, 9, 10].into_iter().enumerate() {
            put(40 + 2 * n, &side.to_le_bytes());
        }
        put(70, &2i16.to_le_bytes());
        put(254, &1i16.to_le_bytes());
        let rows = [x, [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]];
        for (n, value) in rows.into_iter().flatten().enumerate() {
            put(280 + 4 * n, &value.to_le_bytes());
        }
        put(344, b"n+1\0");
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0].repeat(90));
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let image = write("image.nii", [1.0, 0.0, 0.0, 0.0]);
    let options = ReadOptions::default();
    let open = |mask: &Path| LabelMap::open_for(mask, &image, &options).map(|map| map.labels[..8].to_vec());
    // Columns run to the patient's left, where the file's first voxel is.
    assert_eq!(open(&image), Ok(vec![0, 0, 0, 0, 0, 0, 0, 1]));
    // The same places stored from the other side: the set voxels are now at the other end of each row.
    let turned = write("turned.nii", [-1.0, 0.0, 0.0, 7.0]);
    assert_eq!(open(&turned), Ok(vec![1, 0, 0, 0, 0, 0, 0, 0]));
    // The left said to be the right, and the same volume 3 mm away.
    let flipped = open(&write("flipped.nii", [-1.0, 0.0, 0.0, 0.0])).unwrap_err().to_string();
    assert!(flipped.contains("flipped.nii: lies up to 7.0 mm away from"), "{flipped}");
    let moved = open(&write("moved.nii", [1.0, 0.0, 0.0, 3.0])).unwrap_err().to_string();
    assert!(moved.contains("3.0 mm away") && !moved.contains('\n'), "{moved}");
    // A third of a voxel is no other place.
    assert!(open(&write("close.nii", [1.0, 0.0, 0.0, 0.3])).is_ok());
}
