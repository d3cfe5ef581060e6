//! A DICOM file, all its frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::input::{ReadOptions, Scan};
use microraptor_fuzz::{PIXELS, on_file};

fuzz_target!(|data: &[u8]| {
    let options = ReadOptions { allow_unsupported_modality: true, ..ReadOptions::default() };
    on_file("scan.dcm", data, PIXELS, |path| {
        Scan::open(path, &options)?.try_for_each(|frame| frame.map(|_| ()))
    });
});
