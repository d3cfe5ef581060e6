//! Image files become the same tensors as with transformers' DINOv3 image processor (`reference/make_pixels.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use microraptor::input::Image;
use microraptor::vit::{Preprocess, Size};
use safetensors::SafeTensors;

/// Guaranteed agreement, in units of the normalised value.
const TOLERANCE: f32 = 1e-4;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    tensors.iter().map(|(name, t)| (name.to_owned(), (t.shape().to_vec(), values(t.data())))).collect()
}

/// Largest difference between our tensor of `image` and the expected one.
fn distance(image: &Path, shape: &[usize], expected: &[f32]) -> f32 {
    let size = Size { height: shape[1], width: shape[2] };
    let ours = Image::open(image).unwrap().tensor(size, &Preprocess::IMAGENET);
    assert_eq!((shape[0], ours.len()), (3, expected.len()));
    ours.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn agrees_with_the_image_processor_of_transformers() {
    let tensors = read(&golden("pixels.safetensors"));
    assert_eq!(tensors.len(), 6);
    for (name, (shape, expected)) in &tensors {
        let (image, _) = name.split_once('.').unwrap();
        let distance = distance(&golden(&format!("{image}.png")), shape, expected);
        assert!(distance <= TOLERANCE, "{name}: off by {distance:e}");
    }
}

/// A larger trial: `MICRORAPTOR_PIXELS` names a file written by `make_pixels.py --size HxW OUT IMAGES...`.
#[test]
#[ignore = "needs a file that make_pixels.py wrote of your own images: MICRORAPTOR_PIXELS"]
fn agrees_on_files_of_your_own() {
    let path = std::env::var_os("MICRORAPTOR_PIXELS").expect("MICRORAPTOR_PIXELS names a file");
    let tensors = read(Path::new(&path));
    assert!(!tensors.is_empty());
    let mut worst = 0.0_f32;
    for (image, (shape, expected)) in &tensors {
        let distance = distance(Path::new(image), shape, expected);
        assert!(distance <= TOLERANCE, "{image}: off by {distance:e}");
        worst = worst.max(distance);
    }
    println!("{} images, worst {worst:e}", tensors.len());
}
