//! The results of a profile, compared with themselves.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::profile::{Comparison, Recorded, Tolerance};
use microraptor_fuzz::on_file;

fuzz_target!(|data: &[u8]| on_file("results.json", data, 4 << 20, |path| {
    Recorded::load(path).map(|found| Comparison::new(&found, &found, Tolerance::default()))
}));
