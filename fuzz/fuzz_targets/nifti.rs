//! A NIfTI volume, gzipped or not: all slices, and as a label map.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::input::{LabelMap, ReadOptions, Scan};
use microraptor_fuzz::{bounded, folder, on_file};

/// Deflate's largest ratio, for voxels and what is made of them.
const INFLATED: usize = 8 * 1032;

fuzz_target!(|data: &[u8]| {
    let fixed = (4 << 20) + INFLATED * data.len();
    on_file("volume.nii", data, fixed, |path| {
        Scan::open(path, &ReadOptions::default())?.try_for_each(|frame| frame.map(|_| ()))
    });
    bounded(data.len(), fixed, || LabelMap::open(folder().join("volume.nii"), None));
});
