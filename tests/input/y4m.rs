//! YUV4MPEG2 of more than 8 bits and of other matrices, compared pixel by pixel with ffmpeg using zimg
//! (`tests/reference/make_y4m.py`).

use std::path::Path;

use image::DynamicImage;
use microraptor::input::{ReadOptions, Scan};

use super::common::{GOLDEN, expected};

/// Allowed difference: each side rounds to an integer. zimg computes in f32, and of its 24 significant bits, products
/// with factors near 2 cost a few.
const APART: f64 = 1.0;

#[test]
fn colours_are_those_of_zimg() {
    let files = expected("y4m.json", "golden");
    assert_eq!(files.len(), 7);
    for (name, expected) in files {
        let matrix = expected["matrix"].as_str().map(|matrix| matrix.parse().unwrap());
        let path = Path::new(GOLDEN).join("y4m").join(&name);
        let options = ReadOptions { matrix, ..ReadOptions::default() };
        let frames: Vec<_> = Scan::open(&path, &options).unwrap().map(|frame| frame.unwrap()).collect();
        assert_eq!(frames.len(), 1, "{name}");
        let (values, step): (Vec<f64>, f64) = match frames[0].pixels() {
            DynamicImage::ImageRgb8(pixels) => {
                (pixels.as_raw().iter().map(|&v| 257.0 * f64::from(v)).collect(), 257.0)
            }
            DynamicImage::ImageRgb16(pixels) => (pixels.as_raw().iter().map(|&v| v.into()).collect(), 1.0),
            other => panic!("{name}: {:?}", other.color()),
        };
        let theirs = expected["pixels"].as_array().unwrap();
        assert_eq!(values.len(), theirs.len(), "{name}");
        for (value, theirs) in values.iter().zip(theirs) {
            let apart = (value - theirs.as_f64().unwrap()).abs();
            assert!(apart <= step / 2.0 + APART, "{name}: {value} for {theirs}");
        }
    }
}
