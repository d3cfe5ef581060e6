//! A picture: PNG, JPEG, TIFF, BMP, GIF, WebP or PNM.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::input::Image;
use microraptor_fuzz::{PIXELS, on_file};

fuzz_target!(|data: &[u8]| on_file("image", data, PIXELS, |path| Image::open(path)));
