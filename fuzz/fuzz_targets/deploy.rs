//! A deployment file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::profile::Deploy;
use microraptor_fuzz::on_file;

fuzz_target!(|data: &[u8]| on_file("deploy.toml", data, 4 << 20, |path| Deploy::load(path)));
