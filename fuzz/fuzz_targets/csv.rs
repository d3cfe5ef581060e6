//! A data set in CSV, with images there to be named.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::input::Dataset;
use microraptor_fuzz::{folder, on_file};

fuzz_target!(
    init: for name in ["a", "b", "c", "d"] {
        std::fs::write(folder().join(name), "").expect("the folder is ours");
    },
    |data: &[u8]| on_file("data.csv", data, 4 << 20, |path| Dataset::from_csv(path))
);
