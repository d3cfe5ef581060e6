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
    // 16-bit white.
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
    // A disc with a smoothed edge.
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

/// PNG (section 12.4 of the specification, third edition) says how decoders scale up low-bit greys; in a mask they are
/// class numbers.
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
        // Only black and white.
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
    // Ten columns of 2 bits take three bytes per row; half of the last byte is unused.
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

/// Netpbm's maxval defines white, not the meaning of the samples (`pnm(5)` of Netpbm 11); Pillow scales them.
#[test]
fn numbers_of_a_pgm_are_those_that_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, head: &str, row: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, [head.as_bytes(), &row.repeat(8)].concat()).unwrap();
        LabelMap::open(&path, None).map(|map| map.labels[56..].to_vec()).map_err(|error| error.to_string())
    };
    let row = [0, 1, 2, 3, 0, 0, 0, 2];
    assert_eq!(open("a.pgm", "P5 8 8 3\n", &row), Ok(row.to_vec()));
    assert_eq!(open("a.pgm", "P5\n# by hand\n8 8 100\n", &row), Ok(row.to_vec()));
    assert_eq!(open("a.pgm", "P2 8 8 7\n", b"0 1 2 3 0 0 0 2\n"), Ok(row.to_vec()));
    // Only the background and the last class.
    assert_eq!(open("a.pgm", "P5 8 8 2\n", &[0, 2, 0, 0, 0, 0, 0, 0]), Ok(vec![0, 2, 0, 0, 0, 0, 0, 0]));
    assert_eq!(open("a.pgm", "P5 8 8 255\n", &[0, 255, 0, 0, 0, 0, 0, 0]), Ok(vec![0, 1, 0, 0, 0, 0, 0, 0]));
    let deep: Vec<u8> = row.iter().flat_map(|&v| [0, v]).collect();
    assert_eq!(open("a.pgm", "P5 8 8 4095\n", &deep), Ok(row.to_vec()));
    let white: Vec<u8> = [0u16, 4095, 0, 0, 0, 0, 0, 0].iter().flat_map(|v| v.to_be_bytes()).collect();
    assert_eq!(open("a.pgm", "P5 8 8 4095\n", &white), Ok(vec![0, 1, 0, 0, 0, 0, 0, 0]));
    let pam = "P7\nWIDTH 8\nHEIGHT 8\nDEPTH 1\nMAXVAL 5\nTUPLTYPE GRAYSCALE\nENDHDR\n";
    assert_eq!(open("a.pam", pam, &row), Ok(row.to_vec()));
    // In a bitmap, 1 is black.
    assert_eq!(open("a.pbm", "P1 8 8\n", b"1 0 1 1 1 1 1 1\n"), Ok(vec![0, 1, 0, 0, 0, 0, 0, 0]));
    assert!(open("a.pgm", "P5 8 8 1\n", &row).unwrap_err().contains("a sample 3 above 1"));
    assert!(open("a.ppm", "P6 8 8 3\n", &[[1, 2, 3]; 8].concat()).unwrap_err().contains("in colour"));
}

/// A TIFF file of 8 x 8 px with one sample per pixel; its single strip is `row` repeated eight times.
fn tiff_file(path: &Path, bits: u16, photometric: u16, row: &[u8]) {
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    let palette: Vec<u8> = (0..3u16 << bits).flat_map(|n| (n % 251 * 256).to_le_bytes()).collect();
    let has_palette = photometric == 3;
    let strip = row.repeat(8);
    let after = 8 + 2 + 12 * (8 + u32::from(has_palette)) + 4;
    let mut entries: Vec<(u16, u16, u32, u32)> = vec![
        (256, 3, 1, 8),
        (257, 3, 1, 8),
        (258, 3, 1, bits.into()),
        (259, 3, 1, 1),
        (262, 3, 1, photometric.into()),
        (273, 4, 1, after),
        (278, 3, 1, 8),
        (279, 4, 1, strip.len() as u32),
    ];
    if has_palette {
        entries.push((320, 3, 3 << bits, after + strip.len() as u32));
    }
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        file.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        file.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    file.extend([0; 4]);
    file.extend(strip);
    if has_palette {
        file.extend(palette);
    }
    std::fs::write(path, file).unwrap();
}

/// TIFF 6.0 defines by PhotometricInterpretation whether 0 is black or white, and that palette samples are indices.
#[test]
fn numbers_of_a_tiff_are_those_that_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.tif");
    let open = |bits: u16, photometric: u16, row: &[u8]| {
        tiff_file(&path, bits, photometric, row);
        LabelMap::open(&path, None).map(|map| map.labels[56..].to_vec()).map_err(|error| error.to_string())
    };
    let (zero_is_white, zero_is_black, palette) = (0, 1, 3);
    let row = vec![0, 1, 2, 3, 0, 0, 0, 2];
    assert_eq!(open(2, zero_is_black, &[0b00_01_10_11, 0b00_00_00_10]), Ok(row.clone()));
    assert_eq!(open(4, zero_is_black, &[0x01, 0x23, 0x00, 0x02]), Ok(row.clone()));
    assert_eq!(open(8, zero_is_black, &row), Ok(row.clone()));
    assert_eq!(open(12, zero_is_black, &[0, 0, 1, 0, 0x20, 3, 0, 0, 0, 0, 0, 2]), Ok(row.clone()));
    assert_eq!(open(1, zero_is_black, &[0b0100_0001]), Ok(vec![0, 1, 0, 0, 0, 0, 0, 1]));
    assert_eq!(open(2, zero_is_black, &[0b00_11_00_00, 0]), Ok(vec![0, 1, 0, 0, 0, 0, 0, 0]));
    assert_eq!(open(1, zero_is_white, &[0b1011_1110]), Ok(vec![0, 1, 0, 0, 0, 0, 0, 1]));
    assert!(open(4, zero_is_white, &[0x01, 0x23, 0x00, 0x02]).unwrap_err().contains("0 is white"));
    assert_eq!(open(4, palette, &[0x01, 0x23, 0x00, 0x02]), Ok(row.clone()));
    assert_eq!(open(8, palette, &row), Ok(row));
}

/// Writes a NIfTI file of uint8 in which the first voxel of each row along the first axis is set; `rows` is the sform.
#[cfg(feature = "nifti")]
fn volume(path: &Path, dims: [i16; 3], rows: [[f32; 4]; 3], sform_code: i16) {
    let mut bytes = vec![0; 352];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &348i32.to_le_bytes());
    for (n, side) in [3].into_iter().chain(dims).enumerate() {
        put(40 + 2 * n, &side.to_le_bytes());
    }
    put(70, &2i16.to_le_bytes());
    for n in 1..4 {
        put(76 + 4 * n, &1f32.to_le_bytes());
    }
    put(254, &sform_code.to_le_bytes());
    for (n, value) in rows.into_iter().flatten().enumerate() {
        put(280 + 4 * n, &value.to_le_bytes());
    }
    put(344, b"n+1\0");
    let mut row = vec![0; dims[0] as usize];
    row[0] = 1;
    bytes.extend(row.repeat(dims[1] as usize * dims[2] as usize));
    std::fs::write(path, bytes).unwrap();
}

/// A mask whose axes are reversed has the right size, but would lie on other tissue if only its voxels were used.
#[cfg(feature = "nifti")]
#[test]
fn a_mask_must_lie_where_its_image_does() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, x: [f32; 4]| {
        let path = folder.path().join(name);
        volume(&path, [8, 9, 10], [x, [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]], 1);
        path
    };
    let image = write("image.nii", [1.0, 0.0, 0.0, 0.0]);
    let options = ReadOptions::default();
    let open = |mask: &Path| LabelMap::open_for(mask, &image, &options).map(|map| map.labels[..8].to_vec());
    // Columns run to the patient's left; the file's first voxel is at the left.
    assert_eq!(open(&image), Ok(vec![0, 0, 0, 0, 0, 0, 0, 1]));
    // The same positions stored from the other side: the set voxels are now at the other end of each row.
    let turned = write("turned.nii", [-1.0, 0.0, 0.0, 7.0]);
    assert_eq!(open(&turned), Ok(vec![1, 0, 0, 0, 0, 0, 0, 0]));
    // Left and right exchanged, and the same volume shifted by 3 mm.
    let flipped = open(&write("flipped.nii", [-1.0, 0.0, 0.0, 0.0])).unwrap_err().to_string();
    assert!(flipped.contains("flipped.nii: lies up to 7.0 mm away from"), "{flipped}");
    let moved = open(&write("moved.nii", [1.0, 0.0, 0.0, 3.0])).unwrap_err().to_string();
    assert!(moved.contains("3.0 mm away") && !moved.contains('\n'), "{moved}");
    // A shift of a third of a voxel is accepted.
    assert!(open(&write("close.nii", [1.0, 0.0, 0.0, 0.3])).is_ok());
}

/// 5000 slices exceed the default limit, for a mask as for its image.
#[cfg(feature = "nifti")]
#[test]
fn the_frames_that_are_asked_for_bind_masks_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.nii");
    volume(&path, [8, 8, 5000], [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]], 1);
    let open =
        |max_frames| LabelMap::open_for(&path, &path, &ReadOptions { max_frames, ..ReadOptions::default() });
    assert!(open(None).unwrap_err().to_string().contains("5000 frames or slices, of at most 4096"));
    assert!(open(Some(10)).unwrap_err().to_string().contains("of at most 10"));
    assert_eq!(open(Some(5000)).map(|map| map.depth), Ok(5000));
}
