//! A mask as a picture.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::input::LabelMap;
use microraptor_fuzz::{PIXELS, on_file};

fuzz_target!(|data: &[u8]| on_file("mask", data, PIXELS, |path| LabelMap::open(path, None)));
