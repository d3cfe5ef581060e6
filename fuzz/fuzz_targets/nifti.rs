//! A NIfTI volume, of version 1 or 2, gzipped or not: all slices of its first volume, and as a label map.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::input::{LabelMap, ReadOptions, Scan};
use microraptor_fuzz::{bounded, folder, on_file};

/// Deflate's largest ratio, for voxels and what is made of them (values in f64 for the percentiles).
const INFLATED: usize = 16 * 1032;

fuzz_target!(|data: &[u8]| {
    let fixed = (4 << 20) + INFLATED * data.len();
    on_file("volume.nii", data, fixed, |path| {
        // A file of one volume has it too.
        let options = ReadOptions { volume: Some(0), ..ReadOptions::default() };
        Scan::open(path, &options)?.try_for_each(|frame| frame.map(|_| ()))
    });
    bounded(data.len(), fixed, || LabelMap::open(folder().join("volume.nii"), None));
});
