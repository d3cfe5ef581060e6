//! A DICOM file as the source that a segmentation or report refers to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::output::dicom::Sources;
use microraptor_fuzz::on_file;

fuzz_target!(|data: &[u8]| on_file("source.dcm", data, 4 << 20, |path| Sources::open(&[path.to_owned()])));
